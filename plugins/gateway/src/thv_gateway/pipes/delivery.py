"""Deliver what a server says of its own accord to the one session that it concerns, and never to another.

A shared pipe does not say whom a message is for. What carries a progress token or follows from a subscription is
certain; anything else goes to the only session with calls in flight, or is refused or dropped, and counted. It never
goes to one principal while it may be about a call of another. Over HTTP
the stream on which a message came tells which call it is about, and there is nothing to guess.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

from thv_core.model.message import Kind, Message
from thv_gateway.messages.answers import INTERNAL_ERROR, METHOD_NOT_FOUND, failure
from thv_gateway.messages.parsing import text_of
from thv_gateway.pipes.call import Call
from thv_gateway.pipes.correlation import Calls
from thv_gateway.pipes.mailbox import Mailbox
from thv_gateway.pipes.subscriptions import Subscriptions
from thv_gateway.sessions.sessions import Abilities, Session, Sessions

__all__ = ["MAX_ASKED", "Delivery", "Listener"]

MAX_ASKED = 1024

_SEVERAL = "several clients may be meant; --stdio-sessions per-client gives each a process of its own"

_NEEDED = {
    "sampling/createMessage": Abilities.SAMPLING,
    "elicitation/create": Abilities.ELICITATION,
    "roots/list": Abilities.ROOTS,
}


@dataclass(frozen=True)
class _Asked:
    """A request of the server that waits for a client: which session may answer, and the server's own id.

    ``about`` is the key of the call on whose stream it was asked; empty for a stream of the session itself.
    """

    session: Session
    identifier: bytes
    mailbox: Mailbox
    about: bytes


class Stream(Protocol):
    """Where notifications are put: the stream of a session, or whoever listens without one (MCP 2026-07-28)."""

    def put(self, message: Message) -> bool:
        """Take a notification; ``False`` when it is none of its concerns."""
        ...


class Listener(Stream, Protocol):
    """Who listens for changes without a session (MCP 2026-07-28)."""

    def lost(self) -> None:
        """Take note that nothing more comes from this server."""
        ...


class Delivery:
    """The way from one server to its clients.

    ``is_heard`` is false as long as the server is no client's: whoever listens, listens to another life of it. What a
    server says that is there for one session ``only`` is for that one, whatever it is. ``listeners`` hear, beside
    sessions, which lists and resources have changed.

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
        self.only: Session | None = None
        self.listeners: dict[Listener, None] = {}

    def request(self, message: Message, about: bytes = b"") -> None:
        """Pass a request of the server to the client that it concerns, or answer it with an error.

        :param about: the key of the call on whose stream it came; empty when the wire does not say.
        """
        if message.method == "ping":
            self._send(Message(kind=Kind.RESPONSE, id=message.id, result=b"{}"))
            return
        if message.method not in _NEEDED:
            self._refuse(message, METHOD_NOT_FOUND, "Method not found")
            return
        owners = self._concerned(about)
        if len(owners) != 1:
            nobody = "its call has ended" if about else "no client is listening"
            what = _SEVERAL if owners else nobody
            self._refuse(message, INTERNAL_ERROR, f"The request cannot be assigned to one client: {what}")
        elif _needed(message) not in owners[0].abilities:
            self._refuse(message, METHOD_NOT_FOUND, "The client did not declare this capability")
        else:
            self._ask(message, owners[0], about)

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
        self._stir(session, asked.about)
        self._send(Message(kind=Kind.RESPONSE, id=asked.identifier, result=message.result, error=message.error))
        return True

    def notification(self, message: Message, subscriptions: Subscriptions, about: bytes = b"") -> None:
        """Pass a notification of the server to the streams that it concerns; ``about`` as in :meth:`request`."""
        if message.method == "notifications/progress":
            self._progress(message)
        elif message.method == "notifications/cancelled":
            self._cancelled(message)
        elif message.method == "notifications/resources/updated":
            self._updated(message, subscriptions)
        elif message.method.endswith("/list_changed"):
            self._put(message, [*[each.stream for each in self._listening()], *self.listeners])
        else:
            owners = self._concerned(about)
            self._put(message, [self._stream_of(owners[0], about)] if len(owners) == 1 else [])

    def expire(self) -> None:
        """Answer for clients what they were asked about calls that have ended."""
        for identifier, asked in list(self._asked.items()):
            if asked.about and self._calls.find(asked.about) is None:
                del self._asked[identifier]
                self._send(failure(asked.identifier, INTERNAL_ERROR, "The call that this is about has ended"))

    def abandon(self, mailbox: Mailbox) -> None:
        """Answer for a client that will not come back what it was asked on a stream."""
        for identifier, asked in list(self._asked.items()):
            if asked.mailbox is mailbox:
                del self._asked[identifier]
                self._send(failure(asked.identifier, INTERNAL_ERROR, "The client went away"))

    def forget(self) -> None:
        """Drop the requests that wait for clients: the server that asked is gone."""
        self._asked.clear()
        for listener in list(self.listeners):
            listener.lost()

    def _listening(self) -> list[Session]:
        if self.only is not None:
            return [self.only]
        return self._sessions.listening() if self.is_heard else []

    def _concerned(self, about: bytes) -> list[Session]:
        if self.only is not None:
            return [self.only]
        if not about:
            return self._calls.owners() or self._audience()
        call = self._calls.find(about)
        return [call.session] if call is not None and call.session is not None else []

    def _audience(self) -> list[Session]:
        """Return who listens, as long as the server has never worked for a principal that they are not."""
        listening = self._listening()
        return [] if any(self._calls.has_served_another(each.owner) for each in listening) else listening

    def _ask(self, message: Message, session: Session, about: bytes) -> None:
        call = self._call_of(session, about)
        mailbox = call.mailbox if call is not None else session.stream
        identifier = self._calls.fresh_id()
        if len(self._asked) >= MAX_ASKED:
            self._refuse(message, INTERNAL_ERROR, "Too many requests wait for clients")
        elif mailbox is None or not mailbox.put(_renamed(message, identifier, message.params)):
            self._refuse(message, INTERNAL_ERROR, "The client's stream is closed")
        else:
            self._asked[identifier] = _Asked(session, message.id, mailbox, call.key if call is not None else b"")
            self._stir(session, about)

    def _call_of(self, session: Session, about: bytes) -> Call | None:
        return self._calls.find(about) or self._calls.latest(session)

    def _stream_of(self, session: Session, about: bytes) -> Mailbox | None:
        call = self._call_of(session, about)
        return call.mailbox if call is not None else session.stream

    def _stir(self, session: Session, about: bytes) -> None:
        # A person may be thinking: what the server waits for is not its own silence.
        call = self._call_of(session, about)
        if call is not None:
            self._calls.stir(call)

    def _progress(self, message: Message) -> None:
        token = message.params.get("progressToken", b"")
        call = self._calls.find(token)
        if self._calls.is_late(token):
            return
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
        if self.only is not None:
            self._put(message, [self.only.stream, *self.listeners])
            return
        uri = text_of(message.params.get("uri", b""))
        sessions = [self._sessions.live(identifier) for identifier in subscriptions.subscribers(uri)]
        self._put(message, [*[session.stream for session in sessions if session is not None], *self.listeners])

    def _put(self, message: Message, streams: Sequence[Stream | None]) -> None:
        delivered = [stream.put(message) for stream in streams if stream is not None]
        if not any(delivered):
            self._lost(message.method)

    def _refuse(self, message: Message, code: int, text: str) -> None:
        self._send(failure(message.id, code, text))


def _needed(message: Message) -> Abilities:
    """Return what a client has to be able to do for a request (MCP 2025-11-25, elicitation and sampling)."""
    needed, params = _NEEDED[message.method], message.params
    if needed is Abilities.ELICITATION and text_of(params.get("mode", b"")) == "url":
        return needed | Abilities.ELICITATION_URL
    if needed is Abilities.SAMPLING and not params.keys().isdisjoint(("tools", "toolChoice")):
        return needed | Abilities.SAMPLING_TOOLS
    return needed


def _renamed(message: Message, identifier: bytes, params: Mapping[str, bytes]) -> Message:
    return Message(kind=message.kind, id=identifier, method=message.method, params=params, has_params=True)
