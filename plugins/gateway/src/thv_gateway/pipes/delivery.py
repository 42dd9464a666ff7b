"""Deliver what a server says of its own accord to the one session that it concerns, and never to another.

A shared pipe does not say whom a message is for. What carries a progress token or follows from a subscription is
certain; anything else goes to the only session with calls in flight, or is refused or dropped, and counted.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

from thv_core.model.message import Kind, Message
from thv_gateway.messages.answers import INTERNAL_ERROR, METHOD_NOT_FOUND, failure
from thv_gateway.messages.parsing import text_of
from thv_gateway.pipes.correlation import Calls
from thv_gateway.pipes.mailbox import Mailbox
from thv_gateway.pipes.subscriptions import Subscriptions
from thv_gateway.sessions.sessions import Abilities, Session, Sessions

__all__ = ["MAX_ASKED", "Delivery"]

MAX_ASKED = 1024

_NEEDED = {
    "sampling/createMessage": Abilities.SAMPLING,
    "elicitation/create": Abilities.ELICITATION,
    "roots/list": Abilities.ROOTS,
}


@dataclass(frozen=True)
class _Asked:
    """A request of the server that waits for a client: which session may answer, and the server's own id."""

    session: Session
    identifier: bytes
    mailbox: Mailbox


class Delivery:
    """The way from one server to its clients.

    ``is_heard`` is false as long as the server is no client's: whoever listens, listens to another life of it.

    :param send: sends a message to the server.
    :param lost: called with a word for each message that could not be delivered.
    """

    def __init__(
        self, calls: Calls, sessions: Sessions, send: Callable[[Message], None], lost: Callable[[str], None]
    ) -> None:
        self._calls = calls
        self._sessions = sessions
        self._send = send
        self._lost = lost
        self._asked: dict[bytes, _Asked] = {}
        self.is_heard = False

    def request(self, message: Message) -> None:
        """Pass a request of the server to the client that it concerns, or answer it with an error."""
        if message.method == "ping":
            self._send(Message(kind=Kind.RESPONSE, id=message.id, result=b"{}"))
            return
        if message.method not in _NEEDED:
            self._refuse(message, METHOD_NOT_FOUND, "Method not found")
            return
        owners = self._calls.owners() or self._listening()
        if len(owners) != 1:
            what = "several clients have calls in flight" if owners else "no client is listening"
            self._refuse(message, INTERNAL_ERROR, f"The request cannot be assigned to one client: {what}")
        elif _NEEDED[message.method] not in owners[0].abilities:
            self._refuse(message, METHOD_NOT_FOUND, "The client did not declare this capability")
        else:
            self._ask(message, owners[0])

    def has_asked(self, session: Session, identifier: bytes) -> bool:
        """Tell whether the server waits for this answer of a session."""
        asked = self._asked.get(identifier)
        return asked is not None and asked.session is session

    def client_answered(self, session: Session, message: Message) -> bool:
        """Pass a client's response to the server; ``False`` when this session was not asked."""
        asked = self._asked.get(message.id)
        if asked is None or asked.session is not session:
            return False
        del self._asked[message.id]
        self._stir(session)
        self._send(Message(kind=Kind.RESPONSE, id=asked.identifier, result=message.result, error=message.error))
        return True

    def notification(self, message: Message, subscriptions: Subscriptions) -> None:
        """Pass a notification of the server to the streams that it concerns."""
        if message.method == "notifications/progress":
            self._progress(message)
        elif message.method == "notifications/cancelled":
            self._cancelled(message)
        elif message.method == "notifications/resources/updated":
            self._updated(message, subscriptions)
        elif message.method.endswith("/list_changed"):
            self._put(message, [each.stream for each in self._listening()])
        else:
            owners = self._calls.owners() or self._listening()
            self._put(message, [self._stream_of(owners[0])] if len(owners) == 1 else [])

    def forget(self) -> None:
        """Drop the requests that wait for clients: the server that asked is gone."""
        self._asked.clear()

    def _listening(self) -> list[Session]:
        return self._sessions.listening() if self.is_heard else []

    def _ask(self, message: Message, session: Session) -> None:
        mailbox = self._stream_of(session)
        identifier = self._calls.fresh_id()
        if len(self._asked) >= MAX_ASKED:
            self._refuse(message, INTERNAL_ERROR, "Too many requests wait for clients")
        elif mailbox is None or not mailbox.put(_renamed(message, identifier, message.params)):
            self._refuse(message, INTERNAL_ERROR, "The client's stream is closed")
        else:
            self._asked[identifier] = _Asked(session, message.id, mailbox)
            self._stir(session)

    def _stream_of(self, session: Session) -> Mailbox | None:
        call = self._calls.latest(session)
        return call.mailbox if call is not None else session.stream

    def _stir(self, session: Session) -> None:
        # A person may be thinking: what the server waits for is not its own silence.
        call = self._calls.latest(session)
        if call is not None:
            self._calls.stir(call)

    def _progress(self, message: Message) -> None:
        call = self._calls.find(message.params.get("progressToken", b""))
        if call is None or not call.token:
            self._lost("progress")
            return
        self._calls.stir(call)
        call.mailbox.put(_renamed(message, b"", {**message.params, "progressToken": call.token}))

    def _cancelled(self, message: Message) -> None:
        theirs = message.params.get("requestId", b"")
        for identifier, asked in list(self._asked.items()):
            if asked.identifier == theirs:
                del self._asked[identifier]
                asked.mailbox.put(_renamed(message, b"", {**message.params, "requestId": identifier}))
                return
        self._lost("cancelled")

    def _updated(self, message: Message, subscriptions: Subscriptions) -> None:
        uri = text_of(message.params.get("uri", b""))
        sessions = [self._sessions.find(identifier) for identifier in subscriptions.subscribers(uri)]
        self._put(message, [session.stream for session in sessions if session is not None])

    def _put(self, message: Message, mailboxes: list[Mailbox | None]) -> None:
        delivered = [mailbox.put(message) for mailbox in mailboxes if mailbox is not None]
        if not any(delivered):
            self._lost(message.method)

    def _refuse(self, message: Message, code: int, text: str) -> None:
        self._send(failure(message.id, code, text))


def _renamed(message: Message, identifier: bytes, params: Mapping[str, bytes]) -> Message:
    return Message(kind=message.kind, id=identifier, method=message.method, params=params, has_params=True)
