"""What happens at ``/mcp`` when the server speaks over pipes: its sessions and streams are the gateway's own."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass

from thv_core.model.message import Kind, Message
from thv_core.model.route import Route, RouteState
from thv_core.spi.middleware import Reply
from thv_gateway.answers import INTERNAL_ERROR, JSON, accepted, refusal
from thv_gateway.assembly import assemble
from thv_gateway.chain import Arrival, Chain, Send
from thv_gateway.handshake import initialize_result
from thv_gateway.link import Link
from thv_gateway.mailbox import Mailbox
from thv_gateway.parsing import members, text_of
from thv_gateway.sessions import Session, abilities
from thv_gateway.streams import EVENT_HEADERS, on_disconnect, pump
from thv_gateway.upstream import Estate

__all__ = ["HOLD_SECONDS", "RETRY", "EventStream", "PipeEndpoint"]

HOLD_SECONDS = 10.0
"""How long a request waits for a server that is starting, or for a gateway that has just come back."""

RETRY = ((b"retry-after", b"1"),)


@dataclass(frozen=True)
class EventStream:
    """An answer as server-sent events: ``first`` if there is one already, then what comes into the mailbox.

    ``finished`` is called once when the stream ends, however it ends.
    """

    mailbox: Mailbox
    finished: Callable[[], None]
    first: Message | None = None

    async def flow(self, arrival: Arrival, chain: Chain, send: Send) -> None:
        """Send events until the response was sent or the mailbox is closed."""
        watcher: asyncio.Task[None] | None = None
        if arrival.message is None:
            # Only a session's own stream ends with its client; a call goes on (MCP 2025-11-25, transports).
            watcher = asyncio.create_task(on_disconnect(arrival.receive, self.mailbox.close))
        try:
            await send({"type": "http.response.start", "status": 200, "headers": EVENT_HEADERS})
            identifier = arrival.message.id if arrival.message else b""
            await pump(self.mailbox, self.first, lambda each: chain.outward(arrival, each), send, identifier)
        finally:
            self.finished()
            if watcher is not None:
                watcher.cancel()


_Handler = Callable[[Arrival, Message, Session], Awaitable[Reply | EventStream]]


class PipeEndpoint:
    """Answers requests of a workload on pipes; ``link`` is its current incarnation, replaced when a new one starts."""

    def __init__(self, route: Route, estate: Estate, chain: Chain, changed: Callable[[], None]) -> None:
        self.chain = chain
        self.link = Link(route, estate, changed)
        self._estate = estate
        self._changed = changed
        self._sessions = estate.sessions
        self._by_kind: dict[Kind, _Handler] = {
            Kind.REQUEST: self._request,
            Kind.NOTIFICATION: self._notification,
            Kind.RESPONSE: self._response,
        }

    def follow(self, route: Route) -> None:
        """Switch to another incarnation of the server; the sessions stay."""
        self.link.close(f"{route.workload} was started anew")
        self.link = Link(route, self._estate, self._changed, self.link)

    async def answer(self, arrival: Arrival) -> Reply | EventStream:
        """Answer a request that passed every stage."""
        message, session = arrival.message, arrival.live
        if message is not None and message.method == "initialize" and message.kind is Kind.REQUEST:
            return await self._initialize(arrival, message)
        if session is None:
            return accepted
        if message is None:
            return self._listen(session) if arrival.method == "GET" else self._leave(session)
        return await self._by_kind[message.kind](arrival, message, session)

    async def _initialize(self, arrival: Arrival, message: Message) -> Reply:
        unready = await self._unready(arrival, message)
        if unready is not None:
            return unready
        asked = text_of(message.params.get("protocolVersion", b""))
        result, version = initialize_result(self.link.handshake, asked)
        session = self._sessions.open(version, abilities(members(message.params.get("capabilities", b""))))
        if session is None:
            return refusal(503, INTERNAL_ERROR, "Too many sessions", message.id, RETRY)
        response = Message(kind=Kind.RESPONSE, id=message.id, result=result)
        body = assemble(await self.chain.outward(arrival, response) or response)
        return Reply(200, body, (JSON, (b"mcp-session-id", session.id.encode())))

    async def _request(self, arrival: Arrival, message: Message, session: Session) -> Reply | EventStream:
        unready = await self._unready(arrival, message) or self._unsubscribed(message, session)
        if unready is not None:
            return unready
        link = self.link
        call, outgoing = link.calls.begin(message, session)
        call.user = arrival.identity.subject if arrival.identity else ""
        link.send(outgoing)
        first = await call.mailbox.take()
        if first is not None and first.kind is Kind.RESPONSE:
            arrival.fault = call.fault
            answer = await self.chain.outward(arrival, first) or first
            return Reply(call.status, assemble(answer))

        def finished() -> None:
            arrival.fault = call.fault
            if link.calls.find(call.key) is call:
                link.calls.end(call)
                link.tell_cancelled(call)

        return EventStream(call.mailbox, finished, first)

    async def _notification(self, arrival: Arrival, message: Message, session: Session) -> Reply:
        if message.method == "notifications/initialized":
            return accepted
        if message.method == "notifications/cancelled":
            self._cancel(message, session)
            return accepted
        unready = await self._unready(arrival, message)
        if unready is None:
            self.link.send(message)
        return unready or accepted

    async def _response(self, arrival: Arrival, message: Message, session: Session) -> Reply:
        self.link.delivery.client_answered(session, message)
        return accepted

    def _cancel(self, message: Message, session: Session) -> None:
        call = self.link.calls.of_client(session, message.params.get("requestId", b""))
        if call is not None:
            self.link.calls.cancel(call)
            self.link.tell_cancelled(call, message.params.get("reason", b""))

    def _listen(self, session: Session) -> EventStream:
        if session.stream is not None:
            session.stream.close()
        mailbox = session.stream = Mailbox()

        def finished() -> None:
            if session.stream is mailbox:
                session.stream = None

        return EventStream(mailbox, finished)

    def _leave(self, session: Session) -> Reply:
        self._sessions.end(session)
        self.link.end_session(session.id)
        return Reply(204, b"", ())

    def _unsubscribed(self, message: Message, session: Session) -> Reply | None:
        """Answer for the server when others stay subscribed, or when there are too many subscriptions."""
        subscriptions = self.link.subscriptions
        if message.method == "resources/unsubscribe" and set(subscriptions.subscribers(message.name)) - {session.id}:
            subscriptions.remove(session.id, message.name)
            return Reply(200, assemble(Message(kind=Kind.RESPONSE, id=message.id, result=b"{}")))
        if message.method == "resources/subscribe" and subscriptions.full:
            return refusal(503, INTERNAL_ERROR, "Too many subscriptions", message.id, RETRY)
        return None

    async def _unready(self, arrival: Arrival, message: Message) -> Reply | None:
        if self.link.state is RouteState.STARTING:
            await self.link.settled(HOLD_SECONDS)
        link = self.link
        if link.state is not RouteState.READY:
            arrival.fault = "unavailable"
            text = link.reason or f"{link.route.workload} is starting"
            return refusal(503, INTERNAL_ERROR, text, message.id, RETRY)
        if link.congested:
            arrival.fault = "busy"
            return refusal(503, INTERNAL_ERROR, "Too many calls in flight", message.id, RETRY)
        return None
