"""What a conversation is in either era: calls in flight over a wire, requests of the gateway's own, and their ends."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Protocol

import msgspec

from thv_core.model.message import Kind, Message
from thv_gateway.pipes.call import Call
from thv_gateway.pipes.correlation import Calls
from thv_gateway.pipes.owners import LINGER_SECONDS
from thv_gateway.pipes.pipe import ServerAbsent
from thv_gateway.servers.handshake import Handshake
from thv_gateway.servers.upstream import Estate
from thv_gateway.sessions.sessions import Session

__all__ = ["Talk", "Wire"]


class Wire(Protocol):
    """The way to one server, message by message; what comes back is handed to ``take`` of the conversation."""

    @property
    def congested(self) -> bool:
        """Whether so much waits for the server already that a new call has to be refused."""
        ...

    def send(self, message: Message) -> None:
        """Send one message to the server; one that cannot be sent is dropped, and the end of the wire is told."""
        ...


class Talk:
    """What is said with one server, whatever the era.

    ``handshake`` is what the server said of itself, ``heard`` when it last said anything, on the clock of the event
    loop. ``on_tools_changed`` is called when it says that its tools are others.

    :param prefix: begins every id of ours; nobody else uses it toward this server.
    :param timeout: seconds of silence after which a client's call is overdue.
    """

    def __init__(self, wire: Wire, estate: Estate, prefix: str, timeout: float) -> None:
        self.handshake = Handshake(result=msgspec.Raw(b"{}"))
        self.heard = 0.0
        self.on_tools_changed: Callable[[], None] = _nobody
        self._clock = asyncio.get_running_loop().time
        self.calls = Calls(prefix, timeout, self._clock)
        self._wire = wire
        self._estate = estate
        self._lost: int = 0
        self._excused = 0.0

    @property
    def congested(self) -> bool:
        """Whether a new call has to be refused for now."""
        return self.calls.full or self._wire.congested

    @property
    def at_work(self) -> bool:
        """Whether a call of a client is in flight."""
        return any(call.session is not None for call in self.calls)

    def send(self, message: Message) -> None:
        """Send one message to the server."""
        self._wire.send(message)

    def begin(self, message: Message, session: Session | None) -> tuple[Call, Message]:
        """Register a call, the gateway's own without a session; return it with the message for the server."""
        return self.calls.begin(message, session)

    async def ask(self, method: str, params: dict[str, bytes]) -> Message:
        """Send a request of the gateway's own and return the response."""
        request = Message(kind=Kind.REQUEST, id=b"0", method=method, params=params, has_params=bool(params))
        call, outgoing = self.begin(request, None)
        return await self.exchange(call, outgoing)

    async def exchange(self, call: Call, outgoing: Message) -> Message:
        """Send the request of a call of the gateway's own and return the response.

        :raises ServerAbsent: when the conversation ends meanwhile.
        """
        self.send(outgoing)
        try:
            response = await call.mailbox.take()
        finally:
            self.calls.end(call)
        if response is None:
            raise ServerAbsent
        return response

    def tell_cancelled(self, call: Call, reason: bytes = b"") -> None:
        """Tell the server that nobody waits for the answer to a call any more, and excuse what it says meanwhile."""
        self._excused = self._clock() + LINGER_SECONDS
        params = {"requestId": call.key, **({"reason": reason} if reason else {})}
        self.send(Message(kind=Kind.NOTIFICATION, method="notifications/cancelled", params=params, has_params=True))

    def cancel_overdue(self) -> None:
        """End the calls that are overdue, tell the server, and let those be streams that take long."""
        for call in self.calls.overdue():
            self._estate.log.write("timeout", f"no answer to {call.method} in time")
            self.tell_cancelled(call)
        self._give_up()
        self.calls.nudge()

    def rest(self) -> float:
        """Return for how many seconds nothing more should be read from the server, because clients read more slowly.

        Who reads the server asks for it after each piece, and again after that time.
        """
        if not self.calls.pressure.of:
            return 0.0
        seconds = self.calls.pressure.rest(alone=self._is_alone)
        self._give_up()
        if seconds:
            # Nobody hears what it says: its silence is ours.
            self.heard = self._clock()
            self.calls.stir_all()
        return seconds

    def _give_up(self) -> None:
        """Cancel the calls of clients that read too slowly."""
        for call in [call for call in self.calls if call.mailbox.overflowed]:
            self.calls.end(call)
            self.tell_cancelled(call)

    def fail(self, reason: str) -> None:
        """End every call in flight with an error."""
        self.calls.fail_all(502, reason, "gone")

    @property
    def _sessions(self) -> set[int]:
        return {id(call.session) for call in self.calls if call.session is not None}

    @property
    def _is_alone(self) -> bool:
        """Whether nobody waits for the server beside one client."""
        return len(self._sessions) <= 1

    def _lose(self, what: str) -> None:
        self._lost += 1
        self._estate.log.write("undelivered", what)


def _nobody() -> None:
    """Tell nobody."""
