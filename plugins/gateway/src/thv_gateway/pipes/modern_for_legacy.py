"""A server of the stateless era in the guise of one of the era of handshakes, for clients of that era.

The guise is a wire: a :class:`Conversation` speaks to it as to any legacy server, and keeps sessions, ids and
subscriptions as ever. Whatever it sends is answered here, or carried to the server in an envelope of the session that
it is for; what the server has to ask or to tell comes back as if it had said so itself.
"""

from __future__ import annotations

from collections.abc import Callable

from msgspec.structs import replace

from thv_core.model.message import Kind, Message
from thv_gateway.messages.answers import CANCELLED, METHOD_NOT_FOUND, failure
from thv_gateway.messages.assembly import quoted, with_members
from thv_gateway.messages.envelope import Envelope
from thv_gateway.messages.parsing import members, text_of
from thv_gateway.pipes.conversation import Conversation
from thv_gateway.pipes.legacy_results import COMPLETE, INPUT_REQUIRED, kind_of, legacy_error, legacy_result
from thv_gateway.pipes.modern_conversation import Ear, ModernConversation
from thv_gateway.pipes.modern_listening import Listening
from thv_gateway.pipes.modern_rounds import Impossible, Question, Rounds
from thv_gateway.servers.handshake import Handshake
from thv_gateway.servers.upstream import Estate
from thv_gateway.sessions.sessions import Session, capabilities

__all__ = ["Guise"]

_KINDS = {"tools": "toolsListChanged", "prompts": "promptsListChanged", "resources": "resourcesListChanged"}

_UNASKED_LEVEL = b'"info"'
"""What a session is told of that never said which logs it wants: there the server decides (MCP 2025-11-25, logging)."""

_SHARED = ("sampling", "elicitation", "roots", "experimental", "extensions")
_TASKS = "io.modelcontextprotocol/tasks"
"""Results of that kind cannot be handed to a client of the era of handshakes."""

_DONE = b"{}"


class Guise:
    """The wire between one legacy conversation and the modern one with the server; see :class:`Wire`.

    :param modern: the conversation with the server, shared with its clients of the stateless era.
    """

    def __init__(self, modern: ModernConversation, estate: Estate) -> None:
        self.conversation: Conversation
        self._modern = modern
        self._levels = estate.recollection.levels
        self._listening = Listening(modern, self._told)
        self._rounds: dict[bytes, Rounds] = {}
        self._asked: dict[bytes, Rounds] = {}
        self._own: dict[str, Callable[[Message], None]] = {
            "ping": self._done,
            "logging/setLevel": self._level,
            "resources/subscribe": self._subscribe,
            "resources/unsubscribe": self._unsubscribe,
        }

    @classmethod
    def put_on(cls, modern: ModernConversation, estate: Estate, prefix: str, timeout: float) -> Guise:
        """Return the guise of a server with the conversation that speaks to it; see :class:`Conversation`."""
        guise = cls(modern, estate)
        guise.conversation = Conversation(guise, estate, prefix, timeout)
        guise.conversation.on_tools_changed = lambda: modern.on_tools_changed()
        return guise

    @property
    def congested(self) -> bool:
        """Whether so much waits for the server already that a new call has to be refused."""
        return self._modern.congested

    def learn(self, handshake: Handshake) -> None:
        """Take what the server said of itself, and listen to the changes of its lists that it tells."""
        self.conversation.handshake = handshake
        offered = handshake.capabilities
        changing = (kind for name, kind in _KINDS.items() if _declares(offered.get(name, b""), "listChanged"))
        self._listening.want(changing)

    def send(self, message: Message) -> None:
        """Take one message of the legacy conversation; notifications mean nothing to a server without sessions."""
        if message.kind is Kind.REQUEST:
            self._own.get(message.method, self._carry)(message)
        elif message.kind is Kind.RESPONSE:
            self._answered(message)
        elif message.method == "notifications/cancelled":
            self._cancel(message.params.get("requestId", b""))

    def close(self) -> None:
        """Forget everything: the server is gone, or let go."""
        self._listening.close()
        self._rounds.clear()
        self._asked.clear()

    def _done(self, message: Message) -> None:
        self._reply(Message(kind=Kind.RESPONSE, id=message.id, result=_DONE))

    def _reply(self, response: Message) -> None:
        self.conversation.take(response)

    def _level(self, message: Message) -> None:
        if self.conversation.handshake.offers("logging"):
            self._done(message)
        else:
            self._reply(failure(message.id, METHOD_NOT_FOUND, "Method not found"))

    def _subscribe(self, message: Message) -> None:
        uri = text_of(message.params.get("uri", b""))

        def settled(error: bytes) -> None:
            self._reply(Message(kind=Kind.RESPONSE, id=message.id, result=b"" if error else _DONE, error=error))

        if _declares(self.conversation.handshake.capabilities.get("resources", b""), "subscribe"):
            self._listening.add(uri, settled)
        else:
            self._reply(failure(message.id, METHOD_NOT_FOUND, "Method not found"))

    def _unsubscribe(self, message: Message) -> None:
        self._listening.remove(text_of(message.params.get("uri", b"")))
        self._done(message)

    def _told(self, message: Message) -> None:
        self.conversation.take(message)

    def _carry(self, message: Message) -> None:
        rounds = Rounds(message)
        self._rounds[message.id] = rounds
        self._go(rounds)

    def _go(self, rounds: Rounds) -> None:
        """Begin the next round."""
        asked = self.conversation.calls.find(rounds.message.id)
        session = asked.session if asked is not None else None
        request = replace(rounds.message, params=rounds.params(), has_params=True)
        call, outgoing = self._modern.open(request, None, self._envelope(session), session)
        call.mailbox = Ear(lambda message: self._came(rounds, message))
        rounds.call = call
        self._modern.send(outgoing)

    def _envelope(self, session: Session | None) -> Envelope:
        if session is None:
            return Envelope()
        wanted = self._levels.get(session.id)
        # Servers of the SDK log without declaring it, to whoever asks.
        return Envelope(_declared(session), level=quoted(wanted) if wanted else _UNASKED_LEVEL)

    def _came(self, rounds: Rounds, message: Message) -> None:
        """Take what the server said about a call."""
        if message.kind is not Kind.RESPONSE:
            self.conversation.take(message, rounds.message.id)
            return
        rounds.call = None
        result = members(message.result)
        kind = kind_of(result)
        if message.error:
            self._end(rounds, rounds.failed(legacy_error(rounds.message.method, message.error)))
        elif kind == COMPLETE:
            self._end(rounds, Message(kind=Kind.RESPONSE, id=rounds.message.id, result=legacy_result(result)))
        elif kind == INPUT_REQUIRED:
            self._ask(rounds, result)
        else:
            self._end(rounds, rounds.broken("The server answered with a result of a type that is not known here"))

    def _ask(self, rounds: Rounds, result: dict[str, bytes]) -> None:
        try:
            questions = rounds.asked(result)
        except Impossible as impossible:
            self._end(rounds, rounds.broken(str(impossible)))
            return
        requests = [self._request(rounds, question) for question in questions]
        for request in requests:
            # A client that cannot be asked ends the call, and with it the other questions.
            if request.id in self._asked:
                self.conversation.take(request, rounds.message.id)
        if not requests:
            self._go(rounds)

    def _request(self, rounds: Rounds, question: Question) -> Message:
        identifier = self._modern.calls.fresh_id()
        rounds.open[identifier] = question.key
        self._asked[identifier] = rounds
        params = dict(question.params)
        if params.get("mode") == b'"url"':
            # That era tells the end of such a question by an id, which this one does without.
            params.setdefault("elicitationId", identifier)
        return Message(kind=Kind.REQUEST, id=identifier, method=question.method, params=params, has_params=bool(params))

    def _answered(self, message: Message) -> None:
        """Take the answer of a client, or why it cannot be asked."""
        rounds = self._asked.pop(message.id, None)
        if rounds is None:
            return
        if message.error:
            del rounds.open[message.id]
            self._end(rounds, rounds.failed(message.error))
        elif rounds.answered(message.id, message.result):
            self._go(rounds)

    def _cancel(self, key: bytes) -> None:
        rounds = self._rounds.get(key)
        if rounds is None:
            return
        call, rounds.call = rounds.call, None
        if call is not None:
            self._modern.calls.end(call)
            self._modern.tell_cancelled(call)
        self._end(rounds, failure(key, CANCELLED, "Request cancelled"))

    def _end(self, rounds: Rounds, response: Message) -> None:
        """Answer a call, and take back what the client was asked about it."""
        self._rounds.pop(rounds.message.id, None)
        for identifier in rounds.open:
            self._asked.pop(identifier, None)
            params = {"requestId": identifier}
            self._told(
                Message(kind=Kind.NOTIFICATION, method="notifications/cancelled", params=params, has_params=True)
            )
        rounds.open.clear()
        self._reply(response)


def _declared(session: Session) -> bytes:
    """Return what the client of a session can do, without what another era means by the same name."""
    told = members(session.declared or capabilities(session.abilities))
    kept = {name: told[name] for name in _SHARED if name in told}
    if "extensions" in kept:
        kept["extensions"] = with_members(
            {name: raw for name, raw in members(kept["extensions"]).items() if name != _TASKS}
        )
    return with_members(kept)


def _declares(capability: bytes, flag: str) -> bool:
    return members(capability).get(flag) == b"true"
