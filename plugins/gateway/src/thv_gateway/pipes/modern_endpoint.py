"""What happens at ``/mcp`` between a client and a server on pipes that are both of the stateless era.

Results pass verbatim, also those that ask for input: their state is the server's, and the retry is a request like any
other. A client that goes away has cancelled its request (MCP 2026-07-28, transports).
"""

from __future__ import annotations

import asyncio
import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

import msgspec
from msgspec.structs import replace

from thv_core.model.message import Kind, Message
from thv_core.model.route import RouteState
from thv_core.spi.middleware import Reply
from thv_gateway.eras.mirrored_params import MirroredParams
from thv_gateway.messages.answers import (
    HEADER_MISMATCH,
    INTERNAL_ERROR,
    LEGACY_ERROR,
    METHOD_NOT_FOUND,
    MISSING_CAPABILITY,
    UNSUPPORTED_VERSION,
    accepted,
    refusal,
)
from thv_gateway.messages.assembly import assemble, with_members
from thv_gateway.messages.envelope import Envelope, with_subscription
from thv_gateway.messages.parsing import members
from thv_gateway.messages.versions import MODERN_VERSIONS
from thv_gateway.pipes.call import Call
from thv_gateway.pipes.mailbox import Mailbox
from thv_gateway.pipes.modern_conversation import LISTEN, ModernConversation
from thv_gateway.pipes.pressure import Pressure
from thv_gateway.servers.upstream import Upstream
from thv_gateway.sessions.sessions import Abilities, Session
from thv_gateway.stages.chain import Arrival, Chain
from thv_gateway.web.reception import RETRY
from thv_gateway.web.streams import EVENT_HEADERS, pump

__all__ = ["MAX_LISTENS", "ModernEndpoint", "Spoken"]

MAX_LISTENS = 512
"""So many subscriptions of clients are open at once: half of the calls that a server may have in flight."""

OPEN_SECONDS = 15.0
"""After so long an answer of which nothing has come becomes a stream, so that the way to the client stays open."""

_STATUS = {METHOD_NOT_FOUND: 404, HEADER_MISMATCH: 400, MISSING_CAPABILITY: 400, UNSUPPORTED_VERSION: 400}
"""The HTTP status of errors of a server; of any other it is 200 (MCP 2026-07-28, transports)."""

_POST = ((b"allow", b"POST"),)


class Spoken(Upstream, Protocol):
    """An incarnation that is spoken to in the stateless era as soon as it is ready."""

    @property
    def modern(self) -> ModernConversation | None:
        """What is said with it in that era; ``None`` as long as it is not known to speak it."""
        ...


class _Code(msgspec.Struct):
    code: int = 0


_code = msgspec.json.Decoder(_Code)


class _Subscribed(Mailbox):
    """The mailbox of a subscription, in which it has the name that the client knows."""

    __slots__ = ("_identifier",)

    def __init__(self, identifier: bytes, pressure: Pressure) -> None:
        super().__init__(pressure)
        self._identifier = identifier

    def put(self, message: Message) -> bool:
        """Add a message under the client's name of the subscription."""
        if message.kind is Kind.NOTIFICATION:
            named = replace(message, params=with_subscription(message.params, self._identifier))
        elif message.result:
            result = with_members(with_subscription(members(message.result), self._identifier))
            named = replace(message, result=result)
        else:
            named = message
        return super().put(named)


@dataclass(frozen=True)
class _Stream:
    """The answer to one request as server-sent events, as long as its client reads them."""

    call: Call
    first: Message | None
    finished: Callable[[], None]

    async def flow(self, arrival: Arrival, chain: Chain) -> None:
        """Send events until the response was sent, or the client went away."""
        try:
            arrival.peer.begin(200, EVENT_HEADERS)
            mailbox, identifier = self.call.mailbox, self.call.identifier
            await pump(mailbox, self.first, lambda each: chain.outward(arrival, each), arrival.peer, identifier)
        finally:
            arrival.fault = self.call.fault
            self.finished()


class ModernEndpoint:
    """Answers requests with one incarnation; see :class:`thv_gateway.servers.upstream.Endpoint`."""

    def __init__(self, link: Spoken) -> None:
        self.link = link
        self._mirrored = MirroredParams()
        self._clock = asyncio.get_running_loop().time

    def owns(self, arrival: Arrival) -> bool:
        """Own nothing: a request stands for itself, and is cancelled on its own connection."""
        return False

    def needs_server(self, arrival: Arrival) -> bool:
        """Tell whether the server has to be ready: for every request."""
        return arrival.message is not None and arrival.message.kind is Kind.REQUEST

    def knows(self, arrival: Arrival) -> bool:
        """Say so of everyone: there are no sessions."""
        return True

    async def introduce(self, arrival: Arrival) -> Reply | None:
        """Do nothing."""
        return None

    def begin(self, former: Upstream) -> None:
        """Do nothing: the subscriptions to the former life have ended, and are begun anew by the clients."""

    def recede(self) -> None:
        """End what clients listen to, so that they listen to the next life."""
        if self.link.modern is not None:
            self.link.modern.end_listens()

    async def answer(self, arrival: Arrival, chain: Chain) -> Reply | _Stream:
        """Answer a request that passed every stage."""
        message = arrival.message
        if message is None:
            return refusal(405, LEGACY_ERROR, "Method not allowed", headers=_POST)
        if message.kind is not Kind.REQUEST:
            return accepted
        talk = self._ready(arrival, message)
        if isinstance(talk, Reply):
            return talk
        mismatch = await self._mirrored.judged(talk, message, arrival.headers)
        if mismatch is not None:
            arrival.fault = "refused"
            return mismatch
        # That may have taken a while.
        talk = self._ready(arrival, message)
        return talk if isinstance(talk, Reply) else await self._request(arrival, message, talk, chain)

    def _ready(self, arrival: Arrival, message: Message) -> ModernConversation | Reply:
        """Return the conversation; a reply says why a request cannot be carried now."""
        talk = self.link.modern
        if talk is None or self.link.state is not RouteState.READY:
            return self._refused(arrival, "unavailable", self.link.reason or "The server is not ready")
        full = message.method == LISTEN and len(talk.listens()) >= MAX_LISTENS
        return self._refused(arrival, "busy", "Too many calls in flight") if full or talk.congested else talk

    async def _request(
        self, arrival: Arrival, message: Message, talk: ModernConversation, chain: Chain
    ) -> Reply | _Stream:
        call, outgoing = _opened(arrival, message, talk)
        call.impatient = self._clock() + OPEN_SECONDS
        forget = arrival.peer.on_gone(lambda: _abandon(talk, call))

        def finished() -> None:
            forget()
            _abandon(talk, call)

        talk.send(outgoing)
        try:
            first = await call.mailbox.take()
        except BaseException:
            finished()
            raise
        call.impatient = math.inf
        if call.mailbox.closed if first is None else first.kind is Kind.RESPONSE:
            finished()
            return await self._whole(arrival, call, first, chain)
        return _Stream(call, first, finished)

    async def _whole(self, arrival: Arrival, call: Call, answer: Message | None, chain: Chain) -> Reply:
        """Answer with the response alone."""
        if answer is None:
            return self._refused(arrival, "cancelled", "The client went away")
        arrival.fault = call.fault
        answer = await chain.outward(arrival, answer) or answer
        return Reply(_status(call, answer), assemble(answer))

    def _refused(self, arrival: Arrival, fault: str, text: str) -> Reply:
        arrival.fault = fault
        return refusal(503, INTERNAL_ERROR, text, arrival.identifier, RETRY)


def _opened(arrival: Arrival, message: Message, talk: ModernConversation) -> tuple[Call, Message]:
    """Register the call of a client."""
    client = Session("", MODERN_VERSIONS[-1], Abilities.NONE)
    call, outgoing = talk.open(message, client, Envelope.of(message.params), client)
    call.user = arrival.identity.subject if arrival.identity else ""
    if message.method == LISTEN:
        call.mailbox = _Subscribed(message.id, talk.calls.pressure)
        call.deadline = math.inf
    return call, outgoing


def _abandon(talk: ModernConversation, call: Call) -> None:
    """Let a call end that its client waits for no more, unless it has ended."""
    call.mailbox.close()
    if talk.calls.find(call.key) is call:
        talk.calls.end(call)
        talk.tell_cancelled(call)


def _status(call: Call, answer: Message) -> int:
    if not answer.error or call.status != 200:
        return call.status
    try:
        return _STATUS.get(_code.decode(answer.error).code, 200)
    except msgspec.DecodeError:
        return 200
