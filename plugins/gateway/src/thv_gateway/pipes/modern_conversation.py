"""A conversation in the stateless era: every request carries its envelope, and a server asks nothing.

Source: MCP 2026-07-28. Whose a message is follows from its progress token, from the subscription that it names, or from
the answer stream on which it came. On pipes a log message says nothing of that: it goes to the only client that asked
for logs, or to nobody.
"""

from __future__ import annotations

from collections.abc import Callable

from msgspec.structs import replace

from thv_core.model.message import Kind, Message
from thv_gateway.messages.assembly import with_members
from thv_gateway.messages.envelope import SUBSCRIPTION_ID, Envelope, enveloped
from thv_gateway.messages.parsing import members
from thv_gateway.messages.versions import Era
from thv_gateway.pipes.call import Call
from thv_gateway.pipes.mailbox import Mailbox
from thv_gateway.pipes.talk import Talk
from thv_gateway.sessions.sessions import Session

__all__ = ["LISTEN", "Ear", "ModernConversation"]

LISTEN = "subscriptions/listen"

_NOT_ASKED = frozenset({b"", b"null"})


class Ear(Mailbox):
    """A mailbox that keeps nothing: who owns the call is told at once.

    :param heard: called with each message for the call, and not after its response.
    """

    __slots__ = ("_heard",)

    def __init__(self, heard: Callable[[Message], None]) -> None:
        super().__init__()
        self._heard = heard

    def put(self, message: Message) -> bool:
        """Tell the owner."""
        if self.closed:
            return False
        self.closed = message.kind is Kind.RESPONSE
        self._heard(message)
        return True


class ModernConversation(Talk):
    """One conversation in the stateless era."""

    era = Era.MODERN

    @property
    def at_work(self) -> bool:
        """Whether a call of a client is in flight; whoever only listens can do so elsewhere."""
        return any(call.session is not None and call.method != LISTEN for call in self.calls)

    def begin(self, message: Message, session: Session | None) -> tuple[Call, Message]:
        """Register a call that says of its client nothing but that it is the gateway."""
        return self.open(message, session, Envelope())

    def open(
        self, message: Message, session: Session | None, envelope: Envelope, listener: object = None
    ) -> tuple[Call, Message]:
        """Register a call and return it with the message for the server: our envelope, id and progress token in it.

        :param listener: to whom the logs of this call go, if the envelope asks for any.
        """
        params = enveloped(message.params, envelope)
        call, outgoing = self.calls.begin(replace(message, params=params, has_params=True), session)
        if envelope.level not in _NOT_ASKED:
            call.listener = listener
        return call, outgoing

    def take(self, message: Message, about: bytes = b"") -> bool:
        """Take what the server said; ``False`` when it was for nobody.

        :param about: the key of the call on whose answer stream it came; empty when the wire does not say.
        """
        lost = self._lost
        self.heard = self._clock()
        if message.kind is Kind.RESPONSE:
            self._lost += self.calls.answered(message) is None and not self.calls.is_late(message.id)
        elif message.kind is Kind.REQUEST:
            self._lose(f"{message.method}, which a server of this era may not ask")
        elif message.method == "notifications/cancelled":
            self._cancelled(message)
        else:
            self._notification(message, about)
        return lost == self._lost

    def listens(self) -> list[Call]:
        """Return the calls of clients that only listen."""
        return [call for call in self.calls if call.session is not None and call.method == LISTEN]

    def end_listens(self) -> None:
        """End what clients listen to, as a server does that goes: they listen again, to whoever is there then."""
        for call in self.listens():
            self.tell_cancelled(call)
            self.calls.answered(_graceful(call))

    def _notification(self, message: Message, about: bytes) -> None:
        if message.method == "notifications/progress":
            call, message = self._progress(message)
        elif subscription := members(message.params.get("_meta", b"")).get(SUBSCRIPTION_ID, b""):
            call = self.calls.find(subscription)
        else:
            call = self.calls.find(about) if about else self._listening()
        if call is None or not call.mailbox.put(message):
            self._lose(message.method)

    def _progress(self, message: Message) -> tuple[Call | None, Message]:
        call = self.calls.find(message.params.get("progressToken", b""))
        if call is None or not call.token:
            return None, message
        self.calls.stir(call)
        return call, replace(message, params={**message.params, "progressToken": call.token})

    def _listening(self) -> Call | None:
        wanting = [call for call in self.calls if call.listener is not None]
        listeners = {id(call.listener) for call in wanting}
        return wanting[-1] if len(listeners) == 1 else None

    def _cancelled(self, message: Message) -> None:
        """Take note that the server ends a subscription; it may end nothing else so (MCP 2026-07-28, cancellation)."""
        call = self.calls.find(message.params.get("requestId", b""))
        if call is None or call.method != LISTEN:
            self._lose(message.method)
        else:
            self.calls.answered(_graceful(call))


def _graceful(call: Call) -> Message:
    meta = with_members({SUBSCRIPTION_ID: call.key})
    return Message(kind=Kind.RESPONSE, id=call.key, result=b'{"resultType":"complete","_meta":' + meta + b"}")
