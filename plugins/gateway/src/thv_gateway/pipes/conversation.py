"""What is said with one server over one duplex: calls in flight, requests of its own, and who is told what."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Protocol

import msgspec

from thv_core.model.message import Kind, Message
from thv_gateway.messages.assembly import quoted
from thv_gateway.messages.versions import Era
from thv_gateway.pipes.correlation import Call, Calls
from thv_gateway.pipes.delivery import Delivery
from thv_gateway.pipes.pipe import ServerAbsent
from thv_gateway.pipes.subscriptions import Subscriptions
from thv_gateway.servers.handshake import Handshake
from thv_gateway.servers.upstream import Estate

__all__ = ["Conversation", "Wire"]


class Wire(Protocol):
    """The way to one server, message by message; what comes back is handed to :meth:`Conversation.take`."""

    @property
    def congested(self) -> bool:
        """Whether so much waits for the server already that a new call has to be refused."""
        ...

    def send(self, message: Message) -> None:
        """Send one message to the server; one that cannot be sent is dropped, and the end of the wire is told."""
        ...


class Conversation:
    """One conversation in the era of handshakes.

    ``handshake`` is what the server said of itself, ``heard`` when it last said anything, on the clock of the event
    loop.

    :param prefix: begins every id of ours; nobody else uses it toward this server.
    :param timeout: seconds of silence after which a client's call is overdue.
    """

    era = Era.LEGACY

    def __init__(self, wire: Wire, estate: Estate, prefix: str, timeout: float) -> None:
        self.handshake = Handshake(result=msgspec.Raw(b"{}"))
        self.heard = 0.0
        self.on_tools_changed: Callable[[], None] = _nobody
        self._clock = asyncio.get_running_loop().time
        self.calls = Calls(prefix, timeout, self._clock)
        self.delivery = Delivery(self.calls, estate.sessions, wire.send, self._lose)
        self.subscriptions = Subscriptions(estate.recollection.subscriptions, estate.remember)
        self._wire = wire
        self._estate = estate
        self._lost = 0

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

    async def ask(self, method: str, params: dict[str, bytes]) -> Message:
        """Send a request of the gateway's own and return the response."""
        request = Message(kind=Kind.REQUEST, id=b"0", method=method, params=params, has_params=bool(params))
        call, outgoing = self.calls.begin(request, None)
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

    def mention(self, method: str, params: dict[str, bytes]) -> None:
        """Send a request whose answer nobody waits for: it is dropped with its id."""
        identifier = self.calls.fresh_id()
        self.send(Message(kind=Kind.REQUEST, id=identifier, method=method, params=params, has_params=True))

    def tell_cancelled(self, call: Call, reason: bytes = b"") -> None:
        """Tell the server that nobody waits for the answer to a call any more."""
        params = {"requestId": call.key, **({"reason": reason} if reason else {})}
        self.send(Message(kind=Kind.NOTIFICATION, method="notifications/cancelled", params=params, has_params=True))

    def cancel_overdue(self) -> None:
        """End the calls that are overdue, and tell the server."""
        for call in self.calls.overdue():
            self._estate.log.write("timeout", f"no answer to {call.method} in time")
            self.tell_cancelled(call)

    def repeat(self) -> None:
        """Tell the server what sessions asked of a former life of it."""
        recollection = self._estate.recollection
        level = recollection.most_verbose()
        if level and self.handshake.offers("logging"):
            self.mention("logging/setLevel", {"level": quoted(level)})
        for uri in {uri for uris in recollection.subscriptions.values() for uri in uris}:
            self.mention("resources/subscribe", {"uri": quoted(uri)})

    def end_session(self, session: str) -> None:
        """Unsubscribe from what only this session had subscribed to, and log no more than the others want."""
        for uri in self.subscriptions.end(session):
            self.mention("resources/unsubscribe", {"uri": quoted(uri)})
        recollection = self._estate.recollection
        level, before = recollection.most_verbose(besides=session), recollection.most_verbose()
        if level and level != before:
            self.mention("logging/setLevel", {"level": quoted(level)})

    def fail(self, reason: str) -> None:
        """End every call in flight with an error, and forget what the server asked."""
        self.delivery.forget()
        self.calls.fail_all(502, reason, "gone")

    def take(self, message: Message) -> bool:
        """Take what the server said; ``False`` when it was for nobody."""
        lost = self._lost
        self.heard = self._clock()
        if message.kind is Kind.RESPONSE:
            self._response(message)
        elif message.kind is Kind.REQUEST:
            self.delivery.request(message)
        else:
            self.delivery.notification(message, self.subscriptions)
            if message.method == "notifications/tools/list_changed":
                self.on_tools_changed()
        return lost == self._lost

    def _response(self, message: Message) -> None:
        call = self.calls.answered(message)
        if call is None:
            self._lost += 1
        if call is None or call.session is None or not message.result:
            return
        if call.method == "resources/subscribe":
            self.subscriptions.add(call.session.id, call.name)
        elif call.method == "resources/unsubscribe":
            self.subscriptions.remove(call.session.id, call.name)
        elif call.method == "logging/setLevel":
            self._estate.recollection.want_level(call.session.id, call.name)
            self._estate.remember()

    def _lose(self, what: str) -> None:
        self._lost += 1
        self._estate.log.write("undelivered", what)


def _nobody() -> None:
    """Tell nobody."""
