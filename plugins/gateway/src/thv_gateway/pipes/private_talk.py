"""One conversation with a server that is there for one client alone, or for those who are the same to the server."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Protocol

import msgspec

from thv_core.model.egress import CallInFlight
from thv_core.model.message import Kind, Message
from thv_core.model.route import RouteState
from thv_gateway.messages.versions import Era
from thv_gateway.pipes.conversation import Conversation
from thv_gateway.pipes.greeting import INITIALIZED
from thv_gateway.pipes.pipe import ServerAbsent
from thv_gateway.servers.check import Check
from thv_gateway.servers.handshake import Handshake, handshake_of
from thv_gateway.servers.upstream import Estate
from thv_gateway.sessions.sessions import Session, capabilities
from thv_gateway.wires.way import Fields, Take

__all__ = ["Opening", "Party", "PrivateTalk", "PrivateWire", "introduction"]

_NAMELESS = msgspec.json.encode({"name": "thv", "version": "1"})


class PrivateWire(Protocol):
    """A wire that was opened for one conversation.

    ``take`` takes what the server says, ``rest`` tells for how many seconds nothing more should be read, and ``on_end``
    is told once why the wire cannot go on. ``incarnation`` names the process at its other end, if that is there for
    this conversation alone: it is initialised once in its life.
    """

    incarnation: str
    take: Take
    rest: Callable[[], float]
    on_end: Callable[[str], None]

    @property
    def congested(self) -> bool:
        """Whether a new call has to be refused."""
        ...

    def send(self, message: Message) -> None:
        """Send one message."""
        ...

    async def leave(self) -> None:
        """End the session of the server, as far as it keeps one, and close."""
        ...

    def close(self) -> None:
        """Let go of the server without telling it; nobody is told either."""
        ...


@dataclass
class Party:
    """Who a conversation is for: a text that names it, raw parameters of ``initialize``, and its one session if any.

    ``fields`` are header fields with which it comes to a server of HTTP; they are those of its last request.
    """

    name: str
    params: Mapping[str, bytes]
    session: Session | None = None
    fields: Fields = field(default=(), repr=False)


Opening = Callable[[Party], Awaitable[PrivateWire]]
"""Opens a wire for a party.

It raises ``Refused``, ``Broken``, ``Busy``, ``ServerAbsent``, ``OSError`` or ``TimeoutError``.
"""


class PrivateTalk:
    """A conversation over a wire of its own, ready until the wire ends; see :class:`thv_gateway.pipes.endpoint.Piped`.

    ``ended`` is set when it is over. ``is_resumed`` tells that the server was initialised before, by a
    former gateway. ``party`` is who it is for, unless that is the gateway. ``used`` is when it was last asked for, on
    the clock of the event loop.

    :param prefix: begins every id of ours; nobody else uses it toward clients or this server.
    :param timeout: seconds of silence after which a client's call is overdue.
    :param only: the session that everything is for which the server says; none for clients without sessions.
    """

    def __init__(
        self, wire: PrivateWire, estate: Estate, prefix: str, timeout: float, only: Session | None = None
    ) -> None:
        self._clock = asyncio.get_running_loop().time
        self.state = RouteState.READY
        self.ended = asyncio.Event()
        self.reason = ""
        self.tools: tuple[str, ...] = ()
        self.notes: tuple[str, ...] = ()
        self.checked: Check | None = None
        self.used = self._clock()
        self.conversation = Conversation(wire, estate, prefix, timeout)
        self.conversation.delivery.only = only
        self.is_resumed = False
        self.party: Party | None = None
        self._estate = estate
        self._wire = wire
        self._only = only
        wire.take = self.conversation.take
        wire.rest = self.conversation.rest
        wire.on_end = self._end

    @property
    def handshake(self) -> Handshake:
        """What the server said of itself."""
        return self.conversation.handshake

    @property
    def eras(self) -> frozenset[Era]:
        """The one era in which it is held."""
        return frozenset({self.conversation.era})

    @property
    def at_work(self) -> bool:
        """Whether a call of a client is in flight."""
        return self.conversation.at_work

    def in_flight(self) -> Sequence[CallInFlight]:
        """Return the first calls that were not answered."""
        return self.conversation.calls.named()

    def end_streams(self) -> None:
        """End the stream of its session."""
        if self._only is not None and self._only.stream is not None:
            self._only.stream.close()

    @property
    def idle(self) -> bool:
        """Whether nobody waits for anything of it."""
        listens = self._only is not None and self._only.stream is not None
        return not (listens or self.conversation.delivery.listeners or len(self.conversation.calls))

    def touch(self, fields: Fields | None = None) -> None:
        """Take note that it is in use, and with which header fields its client comes now."""
        self.used = self._clock()
        if fields is not None and self.party is not None:
            self.party.fields = fields

    def take_over(self) -> None:
        """Do nothing: whoever it is there for hears it from the beginning."""

    async def introduce(self, params: Mapping[str, bytes]) -> Message:
        """Send ``initialize`` with the parameters of a client, and return the response, which may be an error.

        A process that was initialised before is not asked again.

        :raises Refused: when its result is none.
        :raises ServerAbsent: when the wire ends meanwhile.
        """
        handshakes, name = self._estate.handshakes, self._wire.incarnation
        stored = handshakes.of(name) if name else None
        if stored is not None:
            self.is_resumed = True
            self.conversation.handshake = stored
            return Message(kind=Kind.RESPONSE, result=bytes(stored.result))
        request = Message(kind=Kind.REQUEST, id=b"0", method="initialize", params=params, has_params=True)
        call, outgoing = self.conversation.begin(request, None)
        response = await self.conversation.exchange(call, outgoing)
        if self.state is not RouteState.READY:
            raise ServerAbsent("ended the session at once")
        if response.result:
            self.conversation.handshake = handshake_of(response)
            if name:
                handshakes.keep(name, self.conversation.handshake)
        return response

    def go_on(self) -> None:
        """Tell the server that the client is ready, and what it asked of a former conversation."""
        if not self.is_resumed:
            self.conversation.send(INITIALIZED)
            self.conversation.repeat()

    async def leave(self, reason: str) -> None:
        """End it: calls in flight end with an error, and the server is told as far as that is possible."""
        self._end(reason)
        await self._wire.leave()

    def close(self, reason: str) -> None:
        """End it at once, and tell the server nothing."""
        self._end(reason)
        self._wire.close()

    def _end(self, reason: str) -> None:
        self.state, self.reason = RouteState.GONE, reason
        self.ended.set()
        self.conversation.fail(reason)


def introduction(estate: Estate, session: Session) -> dict[str, bytes]:
    """Return the parameters with which a session introduced itself, as far as they are remembered."""
    visitor = estate.recollection.visitors.get(session.id)
    known = {name: bytes(raw) for name, raw in visitor.params.items()} if visitor is not None else {}
    return {
        "protocolVersion": msgspec.json.encode(session.version),
        "capabilities": capabilities(session.abilities),
        "clientInfo": _NAMELESS,
        **known,
    }
