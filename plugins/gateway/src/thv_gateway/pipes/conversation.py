"""What is said with one server over one duplex: calls in flight, requests of its own, and who is told what."""

from __future__ import annotations

from thv_core.model.message import Kind, Message
from thv_gateway.messages.assembly import quoted
from thv_gateway.messages.versions import Era
from thv_gateway.pipes.call import Call
from thv_gateway.pipes.delivery import Delivery
from thv_gateway.pipes.subscriptions import Subscriptions
from thv_gateway.pipes.talk import Talk, Wire
from thv_gateway.servers.upstream import Estate

__all__ = ["Conversation", "Wire"]


class Conversation(Talk):
    """One conversation in the era of handshakes.

    ``handshake`` is what the server said of itself, ``heard`` when it last said anything, on the clock of the event
    loop.

    :param prefix: begins every id of ours; nobody else uses it toward this server.
    :param timeout: seconds of silence after which a client's call is overdue.
    """

    era = Era.LEGACY

    def __init__(self, wire: Wire, estate: Estate, prefix: str, timeout: float) -> None:
        super().__init__(wire, estate, prefix, timeout)
        self.delivery = Delivery(self.calls, estate.sessions, wire.send, self._lose)
        self.subscriptions = Subscriptions(estate.recollection.subscriptions, estate.remember)

    def mention(self, method: str, params: dict[str, bytes]) -> None:
        """Send a request whose answer nobody waits for."""
        self._mention(self._disregarded(), method, params)

    def tell_cancelled(self, call: Call, reason: bytes = b"") -> None:
        """Tell the server that nobody waits for the answer to a call any more.

        It reads one message after the other: what it says once it has answered a ping is taken to be about other calls.
        A server that is there for one session alone, or that reads nothing, need not be asked.
        """
        super().tell_cancelled(call, reason)
        if call.session is not None and self.delivery.only is None and not self.congested:
            identifier = self._disregarded()
            self.calls.settle_with(identifier, call)
            self._mention(identifier, "ping", {})

    def cancel_overdue(self) -> None:
        """End the calls that are overdue, and what the server asked about calls that have ended."""
        super().cancel_overdue()
        self.delivery.expire()

    def repeat(self) -> None:
        """Tell the server what sessions, or the one that it is there for, asked of a former life of it."""
        recollection, only = self._estate.recollection, self.delivery.only
        asked, level = recollection.subscriptions, recollection.most_verbose()
        if only is not None:
            asked, level = {only.id: asked.get(only.id, [])}, recollection.levels.get(only.id, "")
        if level and self.handshake.offers("logging"):
            self.mention("logging/setLevel", {"level": quoted(level)})
        for uri in {uri for uris in asked.values() for uri in uris} | self.subscriptions.held:
            self.mention("resources/subscribe", {"uri": quoted(uri)})

    def end_session(self, session: str) -> None:
        """Unsubscribe from what only this session had subscribed to, and log no more than the others want."""
        if self.delivery.only is not None:
            # The server goes with its session.
            self.subscriptions.end(session)
            return
        for uri in self.subscriptions.end(session):
            self.mention("resources/unsubscribe", {"uri": quoted(uri)})
        recollection = self._estate.recollection
        level, before = recollection.most_verbose(besides=session), recollection.most_verbose()
        if level and level != before:
            self.mention("logging/setLevel", {"level": quoted(level)})

    def fail(self, reason: str) -> None:
        """End every call in flight with an error, and forget what the server asked."""
        self.delivery.forget()
        super().fail(reason)

    def take(self, message: Message, about: bytes = b"") -> bool:
        """Take what the server said; ``False`` when it was for nobody.

        :param about: the key of the call on whose answer stream it came; empty when the wire does not say.
        """
        lost = self._lost
        self.heard = self._clock()
        if message.kind is Kind.RESPONSE:
            self._response(message)
        elif message.kind is Kind.REQUEST:
            self.delivery.request(message, about)
        else:
            self.delivery.notification(message, self.subscriptions, about)
            if message.method == "notifications/tools/list_changed":
                self.on_tools_changed()
        return lost == self._lost or self.heard < self._excused

    def _disregarded(self) -> bytes:
        identifier = self.calls.fresh_id()
        self.calls.disregard(identifier)
        return identifier

    def _mention(self, identifier: bytes, method: str, params: dict[str, bytes]) -> None:
        self.send(Message(kind=Kind.REQUEST, id=identifier, method=method, params=params, has_params=True))

    @property
    def _is_alone(self) -> bool:
        listening = {id(session) for session in self._estate.sessions.listening()}
        return self.delivery.only is not None or len(self._sessions | listening) <= 1

    def _response(self, message: Message) -> None:
        call = self.calls.answered(message)
        if call is None and not self.calls.is_late(message.id):
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
