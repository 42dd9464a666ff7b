"""Answers clients of the modern era with a server that is spoken to in the era of handshakes.

What the one has and the other has not is the gateway's own: ``server/discover``, ``subscriptions/listen``, and calls
that wait until their client has answered what the server asks.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping

import msgspec

from thv_core.model.message import Kind, Message
from thv_core.spi.middleware import Reply
from thv_gateway.eras.levels import Levels
from thv_gateway.eras.listening import Listening
from thv_gateway.eras.mirrored_params import MirroredParams
from thv_gateway.eras.parking import Binding, Parking
from thv_gateway.eras.results import discovered
from thv_gateway.eras.rounds import Round
from thv_gateway.eras.work import ROUNDS, Work
from thv_gateway.messages.answers import INTERNAL_ERROR, INVALID_PARAMS, METHOD_NOT_FOUND, accepted, refusal
from thv_gateway.messages.assembly import assemble, with_members
from thv_gateway.messages.envelope import Envelope, unreserved
from thv_gateway.messages.parsing import members, text_of
from thv_gateway.messages.versions import MODERN_VERSIONS
from thv_gateway.pipes.conversation import Conversation
from thv_gateway.servers.handshake import UNREADABLE
from thv_gateway.servers.talks import Talks
from thv_gateway.servers.upstream import Estate, Flow, Upstream
from thv_gateway.sessions.sessions import Abilities, Session
from thv_gateway.stages.chain import Arrival, Chain
from thv_gateway.web.reception import RETRY

__all__ = ["ModernClients"]

_GONE = frozenset({"initialize", "ping", "logging/setLevel", "resources/subscribe", "resources/unsubscribe"})
"""Requests of the era of handshakes that the modern one has no more; tasks are an extension now, and another one."""

_OF_ROUNDS = frozenset({"inputResponses", "requestState"})
_EVERYTHING = ~Abilities.NONE

_Handler = Callable[[Arrival, Message, Chain], Awaitable[Reply | Flow]]


class ModernClients:
    """See :class:`thv_gateway.servers.upstream.Endpoint`.

    :param talks: the conversations with the server.
    :param patience: seconds for which a call waits for its client.
    """

    def __init__(self, link: Upstream, talks: Talks, estate: Estate, patience: float) -> None:
        self.link = link
        self._talks = talks
        self._sessions = estate.sessions
        self._parking = Parking(estate.sessions, patience)
        self._levels = Levels(estate.recollection)
        self._listening = Listening(link, talks, estate.listens)
        self._mirrored = MirroredParams()
        self._own: dict[str, _Handler] = {
            "server/discover": self._discover,
            "subscriptions/listen": self._listen,
        }

    def owns(self, arrival: Arrival) -> bool:
        """Tell whether this goes on with a call that waits here for its client."""
        message = arrival.message
        return message is not None and self._parking.has(_state(message))

    def needs_server(self, arrival: Arrival) -> bool:
        """Say so of every request."""
        return arrival.message is not None and arrival.message.kind is Kind.REQUEST

    def knows(self, arrival: Arrival) -> bool:
        """Say so of everyone: there are no sessions."""
        return True

    async def introduce(self, arrival: Arrival) -> Reply | None:
        """Do nothing."""
        return None

    def begin(self, former: Upstream) -> None:
        """Take over the streams of who listens, and tell them when the tools are others."""
        self._listening.take_over(former.tools)

    def recede(self) -> None:
        """Do nothing: the streams of who listens are the gateway's own."""

    async def answer(self, arrival: Arrival, chain: Chain) -> Reply | Flow:
        """Answer a request that passed every stage."""
        message = arrival.message
        if message is None or message.kind is not Kind.REQUEST:
            # There is no notification of a client that would mean anything to a server (MCP 2026-07-28, transports).
            return accepted
        if message.method in _GONE or message.method.startswith("tasks/"):
            return refusal(404, METHOD_NOT_FOUND, "Method not found", message.id)
        own = self._own.get(message.method)
        if own is not None:
            return await own(arrival, message, chain)
        if "requestState" in message.params and message.method in ROUNDS:
            return await self._resume(arrival, message, chain)
        return await self._call(arrival, message, chain)

    async def _discover(self, arrival: Arrival, message: Message, chain: Chain) -> Reply:
        result = discovered(self.link.handshake)
        response = Message(kind=Kind.RESPONSE, id=message.id, result=result)
        return Reply(200, assemble(await chain.outward(arrival, response) or response))

    async def _listen(self, arrival: Arrival, message: Message, chain: Chain) -> Reply | Flow:
        return await self._listening.listen(arrival, message)

    async def _call(self, arrival: Arrival, message: Message, chain: Chain) -> Reply | Flow:
        """Carry a request to the server and its answer back."""
        talk = await self._talks.of(arrival)
        if isinstance(talk, Reply):
            return talk
        refused = await self._mirrored.judged(talk, message, arrival.headers)
        if refused is not None:
            return refused
        envelope = Envelope.of(message.params)
        await self._levels.want(talk, text_of(envelope.level))
        if talk.congested:
            self._levels.leave(talk, text_of(envelope.level))
            arrival.fault = "busy"
            return refusal(503, INTERNAL_ERROR, "Too many calls in flight", message.id, RETRY)
        work = self._begun(talk, arrival, message)
        return await self._round(work, arrival, chain)

    def _begun(self, talk: Conversation, arrival: Arrival, message: Message) -> Work:
        """Send a request to the server, as the first round of its call."""
        # Whatever a server asks of it comes here, and is judged by what the client declares in each request.
        session = Session("", MODERN_VERSIONS[-1], _EVERYTHING, self._sessions.owner_of(arrival.identity))
        call, outgoing = talk.begin(_for_server(message), session)
        call.user = arrival.identity.subject if arrival.identity else ""
        envelope = Envelope.of(message.params)
        work = Work(talk, call, envelope, self._parking, self._binding(arrival, message))
        talk.send(outgoing)
        return work

    async def _resume(self, arrival: Arrival, message: Message, chain: Chain) -> Reply | Flow:
        """Go on with the call that a request is a retry of."""
        state, answers = _state(message), _answers(message)
        work = self._parking.find(state, self._binding(arrival, message))
        if work is None:
            return refusal(400, INVALID_PARAMS, "requestState is unknown or has expired", message.id)
        if answers is None:
            return refusal(400, INVALID_PARAMS, "inputResponses must be an object of objects", message.id)
        self._parking.leave(state)
        work.resume(message, answers)
        await self._levels.want(work.talk, text_of(work.envelope.level))
        return await self._round(work, arrival, chain)

    async def _round(self, work: Work, arrival: Arrival, chain: Chain) -> Reply | Flow:
        level = text_of(work.envelope.level)
        return await Round(work, arrival, lambda: self._levels.leave(work.talk, level)).answer(arrival, chain)

    def _binding(self, arrival: Arrival, message: Message) -> Binding:
        return self._sessions.owner_of(arrival.identity), message.method, message.name


def _for_server(message: Message) -> Message:
    """Return a request without what is of the modern era only."""
    params = {name: raw for name, raw in message.params.items() if name not in _OF_ROUNDS}
    meta = unreserved(members(params.pop("_meta", b"")))
    if meta:
        params["_meta"] = with_members(meta)
    return msgspec.structs.replace(message, params=params)


def _state(message: Message) -> str:
    return text_of(message.params.get("requestState", b""))


def _answers(message: Message) -> Mapping[str, bytes] | None:
    """Return what a client answers to the questions of the server, ``None`` when it is malformed."""
    raw = message.params.get("inputResponses", b"{}")
    try:
        answers = members(raw)
    except UNREADABLE:
        return None
    is_sound = raw[:1] == b"{" and all(answer[:1] == b"{" for answer in answers.values())
    return answers if is_sound else None
