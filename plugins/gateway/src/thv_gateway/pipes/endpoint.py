"""What happens at ``/mcp`` when the server speaks over pipes: its sessions and streams are the gateway's own."""

from __future__ import annotations

import asyncio
import math
from collections.abc import Awaitable, Callable
from typing import Protocol

import msgspec

from thv_core.model.message import Kind, Message
from thv_core.model.route import RouteState
from thv_core.spi.middleware import Reply
from thv_gateway.messages.answers import INTERNAL_ERROR, INVALID_REQUEST, JSON, SESSION_NOT_FOUND, accepted, refusal
from thv_gateway.messages.assembly import assemble, quoted
from thv_gateway.messages.parsing import members, text_of
from thv_gateway.pipes.call import Call
from thv_gateway.pipes.conversation import Conversation
from thv_gateway.pipes.event_stream import EventStream, Forgotten, Replay, is_resumable, resumable
from thv_gateway.pipes.mailbox import Mailbox
from thv_gateway.pipes.subscriptions import MAX_URI
from thv_gateway.servers.handshake import initialize_result
from thv_gateway.servers.upstream import Estate, Flow, Upstream
from thv_gateway.sessions.memory import ANONYMOUS
from thv_gateway.sessions.sessions import Session, abilities
from thv_gateway.sessions.tapes import is_of_call
from thv_gateway.stages.chain import Arrival, Chain
from thv_gateway.web.reception import RETRY

__all__ = ["EventStream", "PipeEndpoint", "Piped"]

_OWN = frozenset({"notifications/initialized", "notifications/cancelled"})
"""Notifications that the gateway takes whatever state the server is in."""

OPEN_SECONDS = 15.0
"""After so long a call that said nothing becomes a stream, so that its client can come back for the answer."""


_Handler = Callable[[Arrival, Message, Session], Awaitable[Reply]]


class Piped(Upstream, Protocol):
    """A server as its endpoint sees it: an incarnation on pipes, or one conversation with one."""

    @property
    def conversation(self) -> Conversation:
        """What is said with it."""
        ...

    def take_over(self) -> None:
        """Hear the server from now on."""
        ...


class PipeEndpoint:
    """Answers requests with one incarnation on pipes; see :class:`thv_gateway.servers.upstream.Endpoint`."""

    def __init__(self, link: Piped, estate: Estate) -> None:
        self.link = link
        self._sessions = estate.sessions
        self._recollection = estate.recollection
        self._remember = estate.remember
        self._clock = asyncio.get_running_loop().time
        self._by_kind: dict[Kind, _Handler] = {
            Kind.NOTIFICATION: self._notification,
            Kind.RESPONSE: self._response,
        }

    def owns(self, arrival: Arrival) -> bool:
        """Tell whether this is about a call in flight here."""
        message, session = arrival.message, self._session(arrival)
        if message is None or session is None or message.kind is Kind.REQUEST:
            return False
        if message.kind is Kind.RESPONSE:
            return self.link.conversation.delivery.has_asked(session, message.id)
        return message.method == "notifications/cancelled" and self._cancelled(message, session) is not None

    def needs_server(self, arrival: Arrival) -> bool:
        """Tell whether the server has to be ready: not for streams and ends of sessions, which are the gateway's."""
        message = arrival.message
        return message is not None and message.kind is not Kind.RESPONSE and message.method not in _OWN

    def knows(self, arrival: Arrival) -> bool:
        """Say so of every session: the gateway itself keeps them."""
        return True

    async def introduce(self, arrival: Arrival) -> Reply | None:
        """Do nothing."""
        return None

    def begin(self, former: Upstream) -> None:
        """Take over from a former life, and tell who listens when the tools are others."""
        self.link.take_over()
        if self.link.state is RouteState.READY and former.tools != self.link.tools:
            changed = Message(kind=Kind.NOTIFICATION, method="notifications/tools/list_changed")
            self.link.conversation.delivery.notification(changed, self.link.conversation.subscriptions)

    def recede(self) -> None:
        """Do nothing: the streams of sessions are the gateway's own."""

    async def answer(self, arrival: Arrival, chain: Chain) -> Reply | Flow:
        """Answer a request that passed every stage."""
        message = arrival.message
        if message is not None and message.method == "initialize" and message.kind is Kind.REQUEST:
            return await self._initialize(arrival, message, chain)
        session = self._session(arrival)
        if session is None:
            # It came in by the stages of a life that kept its sessions itself.
            return refusal(404, SESSION_NOT_FOUND, "Session not found", arrival.identifier)
        if message is None:
            return self._resume(arrival, session) if arrival.method == "GET" else self._leave(session)
        if message.kind is Kind.REQUEST:
            return await self._request(arrival, message, session, chain)
        return await self._by_kind[message.kind](arrival, message, session)

    def _session(self, arrival: Arrival) -> Session | None:
        return arrival.live or (self._sessions.find(arrival.session) if arrival.session else self._sessions.anonymous())

    async def _initialize(self, arrival: Arrival, message: Message, chain: Chain) -> Reply:
        asked = text_of(message.params.get("protocolVersion", b""))
        declared = message.params.get("capabilities", b"")
        result, version = initialize_result(self.link.handshake, asked)
        session = self._sessions.open(
            version, abilities(members(declared)), self._sessions.owner_of(arrival.identity), declared
        )
        if session is None:
            return refusal(503, INTERNAL_ERROR, "Too many sessions", message.id, RETRY)
        response = Message(kind=Kind.RESPONSE, id=message.id, result=result)
        body = assemble(await chain.outward(arrival, response) or response)
        return Reply(200, body, (JSON, (b"mcp-session-id", session.id.encode())))

    async def _request(self, arrival: Arrival, message: Message, session: Session, chain: Chain) -> Reply | EventStream:
        """Carry a request to the server and its answer back; the answer alone is no stream."""
        talk = self.link.conversation
        unready = self._congested(arrival, message) or self._unsubscribed(message, session)
        if unready is not None:
            return unready
        if message.method == "logging/setLevel":
            message = self._for_everyone(message, session)
        call, outgoing = talk.calls.begin(message, session)
        call.user = arrival.identity.subject if arrival.identity else ""
        if is_resumable(session):
            call.impatient = self._clock() + OPEN_SECONDS
        talk.send(outgoing)
        first = await call.mailbox.take()
        call.impatient = math.inf
        if first is not None and first.kind is Kind.RESPONSE:
            arrival.fault = call.fault
            answer = await chain.outward(arrival, first) or first
            return Reply(call.status, assemble(answer))
        tape = resumable(self._sessions.tapes, session, of_call=True)
        return EventStream(call.mailbox, lambda: self._streamed(arrival, call), first, tape)

    def _streamed(self, arrival: Arrival, call: Call) -> None:
        """Take note that the stream of a call has ended; the call itself goes on (MCP 2025-11-25, transports)."""
        arrival.fault = call.fault
        if call.session is not None:
            self._sessions.touch(call.session)
        call.mailbox.close()

    async def _notification(self, arrival: Arrival, message: Message, session: Session) -> Reply:
        if message.method == "notifications/initialized":
            return accepted
        if message.method == "notifications/cancelled":
            self._cancel(message, session)
            return accepted
        congested = self._congested(arrival, message)
        if congested is None:
            self.link.conversation.send(message)
        return congested or accepted

    async def _response(self, arrival: Arrival, message: Message, session: Session) -> Reply:
        self.link.conversation.delivery.client_answered(session, message)
        return accepted

    def _cancel(self, message: Message, session: Session) -> None:
        call = self._cancelled(message, session)
        if call is not None and not call.cancelled:
            self.link.conversation.calls.cancel(call)
            self.link.conversation.tell_cancelled(call, message.params.get("reason", b""))

    def _cancelled(self, message: Message, session: Session) -> Call | None:
        return self.link.conversation.calls.of_client(session, message.params.get("requestId", b""))

    def _resume(self, arrival: Arrival, session: Session) -> Flow:
        """Go on with the stream that a client names; for that of the session a new one will do."""
        event = arrival.fields.get(b"last-event-id", b"")
        found = self._sessions.tapes.find(session, event)
        if found is not None:
            return Replay(*found)
        return Forgotten() if is_of_call(event) else self._listen(session)

    def _listen(self, session: Session) -> EventStream:
        if session.stream is not None:
            session.stream.close()
        tape = resumable(self._sessions.tapes, session, of_call=False)
        mailbox = session.stream = Mailbox(self.link.conversation.calls.pressure)

        def finished() -> None:
            self.link.conversation.delivery.abandon(mailbox)
            self._sessions.touch(session)
            if session.stream is mailbox:
                session.stream = None

        return EventStream(mailbox, finished, None, tape)

    def _leave(self, session: Session) -> Reply:
        if session.id != ANONYMOUS:
            self.link.conversation.end_session(session.id)
            self._sessions.end(session)
            self._remember()
        return Reply(204, b"", ())

    def _unsubscribed(self, message: Message, session: Session) -> Reply | None:
        """Answer for the server when others stay subscribed, or when there are too many subscriptions."""
        subscriptions = self.link.conversation.subscriptions
        others = set(subscriptions.subscribers(message.name)) - {session.id} or message.name in subscriptions.held
        if message.method == "resources/unsubscribe" and others and self.link.conversation.delivery.only is None:
            subscriptions.remove(session.id, message.name)
            return Reply(200, assemble(Message(kind=Kind.RESPONSE, id=message.id, result=b"{}")))
        if message.method != "resources/subscribe":
            return None
        if len(message.name) > MAX_URI:
            return refusal(400, INVALID_REQUEST, f"The URI is longer than {MAX_URI} characters", message.id)
        full = refusal(503, INTERNAL_ERROR, "Too many subscriptions", message.id, RETRY)
        return full if subscriptions.full else None

    def _for_everyone(self, message: Message, session: Session) -> Message:
        """Ask for the level that serves every session; the name of the call says what this one asked for."""
        asked = text_of(message.params.get("level", b""))
        level = self._recollection.most_verbose(asked, session.id)
        if self.link.conversation.delivery.only is not None:
            return msgspec.structs.replace(message, name=asked)
        if not level:
            return message
        return msgspec.structs.replace(message, params={**message.params, "level": quoted(level)}, name=asked)

    def _congested(self, arrival: Arrival, message: Message) -> Reply | None:
        if self.link.conversation.congested:
            arrival.fault = "busy"
            return refusal(503, INTERNAL_ERROR, "Too many calls in flight", message.id, RETRY)
        return None
