"""``/sse`` and ``/messages``: streams are opened here, and messages are taken for them (MCP 2024-11-05, transports)."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Awaitable, Callable
from functools import partial
from typing import Protocol
from urllib.parse import parse_qs

from thv_core.model.message import Kind
from thv_core.model.route import Terms
from thv_core.spi.middleware import Reply
from thv_gateway.messages.answers import INTERNAL_ERROR, INVALID_REQUEST, LEGACY_ERROR, SESSION_NOT_FOUND, refusal
from thv_gateway.servers.upstream import Flow
from thv_gateway.sse.addresses import posting_url
from thv_gateway.sse.event_peer import EventPeer
from thv_gateway.sse.line import Headers, SseLine
from thv_gateway.sse.lines import SseLines
from thv_gateway.stages.chain import Arrival, Chain
from thv_gateway.web.peer import NOBODY, Gone, Peer
from thv_gateway.web.reception import RETRY
from thv_gateway.web.streams import EVENT_HEADERS
from thv_gateway.wires.event_stream import Cursor

__all__ = ["SseDoor"]

MOST_RESUMED = 1000
_AGAIN_SECONDS = 1.0
_SESSION_PATH = "/mcp"
_DROPPED = frozenset({b"accept", b"mcp-session-id", b"mcp-protocol-version", b"last-event-id"})
_OF_SESSIONS = frozenset({b"mcp-session-id", b"mcp-protocol-version"})
_BODY = frozenset({b"content-length", b"content-type", b"transfer-encoding", b"expect"})
_BOTH = (b"accept", b"application/json, text/event-stream")
_EVENTS = (b"accept", b"text/event-stream")
_GET = ((b"allow", b"GET"),)
_POST = ((b"allow", b"POST"),)

Answer = Callable[[Arrival, Chain], Awaitable[Reply | Flow]]


class Served(Protocol):
    """The application whose face this is; ``faces`` are all of its faces, by path."""

    faces: dict[str, Callable[[Arrival], Awaitable[None]]]

    async def exchange(self, arrival: Arrival, answer: Answer | None = None) -> None:
        """Take a request through the whole chain."""
        ...

    async def answer(self, arrival: Arrival, chain: Chain) -> Reply | Flow:
        """Let the server answer."""
        ...


class SseDoor:
    """``/sse`` and ``/messages`` of one application.

    :param lines: the streams of the workload, those of its other applications as well.
    :param terms: say how the listener is reached.
    """

    def __init__(self, served: Served, lines: SseLines, terms: Callable[[], Terms]) -> None:
        self._served = served
        self._lines = lines
        self._terms = terms

    def show(self) -> None:
        """Be a face of the application, also below the prefix that the terms name now."""
        for prefix in ("", self._terms().endpoint_prefix.rstrip("/")):
            self._served.faces |= {f"{prefix}/sse": self.listen, f"{prefix}/messages": self.post}

    async def listen(self, arrival: Arrival) -> None:
        """Answer a request to ``/sse``."""
        if arrival.method == "GET":
            arrival.path = "/sse"
            await self._served.exchange(arrival, self._opened)
        else:
            arrival.peer.reply(refusal(405, LEGACY_ERROR, "Method not allowed", headers=_GET))

    async def post(self, arrival: Arrival) -> None:
        """Answer a request to ``/messages``; it is over once the message was accepted, or refused."""
        name = parse_qs(arrival.query.decode("latin-1"), max_num_fields=16).get("session_id", [""])[0]
        line = self._lines.find(name)
        if arrival.method != "POST":
            arrival.peer.reply(refusal(405, LEGACY_ERROR, "Method not allowed", headers=_POST))
        elif not name:
            await self._served.exchange(arrival, _nameless)
        elif line is None:
            await self._served.exchange(arrival, _unknown)
        else:
            await self._posted(arrival, line)

    async def _opened(self, arrival: Arrival, chain: Chain) -> Reply | Flow:
        line = self._lines.open(arrival.identity)
        if line is None:
            arrival.fault = "busy"
            return refusal(503, INTERNAL_ERROR, "Too many streams", headers=RETRY)
        line.headers = _without(arrival.headers, _DROPPED)
        return _Stream(line, posting_url(arrival, self._terms(), line.id), lambda: self._left(line, arrival))

    def _left(self, line: SseLine, arrival: Arrival) -> None:
        """Take note that a stream has ended, and end its session."""
        self._lines.forget(line)
        self._end_former(line, arrival)

    def _end_former(self, line: SseLine, arrival: Arrival) -> None:
        """End the sessions at the server that the client of a stream has left."""
        for session in line.left():
            self._lines.spawn(self._served.exchange(_ending(arrival, line, session)))

    async def _posted(self, arrival: Arrival, line: SseLine) -> None:
        peer = EventPeer(line, arrival.peer)
        inner = _inner(arrival, line, peer)
        task = self._lines.spawn(self._exchanged(inner, line, peer))
        task.add_done_callback(lambda _: peer.answered.set())
        await peer.answered.wait()

    async def _exchanged(self, arrival: Arrival, line: SseLine, peer: EventPeer) -> None:
        line.exchanges += 1
        try:
            with contextlib.suppress(Gone):
                await self._served.exchange(arrival, partial(self._admitted, line, peer))
                await self._resumed(arrival, line, peer)
        finally:
            line.exchanges -= 1
            self._lines.rest(line)
            self._end_former(line, arrival)
        if peer.is_ready and not line.is_heard:
            line.is_heard = True
            self._lines.spawn(self._heard(arrival, line))

    async def _admitted(self, line: SseLine, peer: EventPeer, arrival: Arrival, chain: Chain) -> Reply | Flow:
        """Let the server answer a message that passed every stage, if it is from the client of the stream."""
        message = arrival.message
        if arrival.identity != line.identity or line.is_closed:
            return _unknown_to(arrival)
        if line.is_full:
            arrival.fault = "busy"
            return refusal(503, INTERNAL_ERROR, "Too many messages are being answered", arrival.identifier, RETRY)
        line.headers = _without(arrival.headers, _DROPPED)
        if message is not None and message.method == "initialize":
            _begin_anew(arrival)
        peer.accept(message)
        return await self._served.answer(arrival, chain)

    async def _resumed(self, arrival: Arrival, line: SseLine, peer: EventPeer) -> None:
        """Ask for the rest of an answer that ended early (MCP 2025-11-25, polling)."""
        cursor = peer.cursor
        message = arrival.message
        if message is None or message.kind is not Kind.REQUEST or not cursor.last:
            return
        for _ in range(MOST_RESUMED):
            if cursor.answered or line.is_closed or self._lines.is_receding:
                break
            await asyncio.sleep(cursor.retry)
            more = EventPeer(line, NOBODY)
            more.go_on(cursor)
            await self._served.exchange(_resuming(arrival, line, more, cursor.last))
            if more.status != 200:
                break
        peer.give_up()

    async def _heard(self, arrival: Arrival, line: SseLine) -> None:
        """Keep the stream of the session open behind the client's, as long as the server offers one."""
        cursor, session = Cursor(), line.session
        while not (line.is_closed or self._lines.is_receding):
            if line.session != session:
                cursor, session = Cursor(), line.session
            peer = EventPeer(line, NOBODY)
            peer.go_on(cursor)
            with contextlib.suppress(Gone):
                await self._served.exchange(_resuming(arrival, line, peer, cursor.last))
            if peer.status in (401, 403, 404) and line.session == session:
                # The client has to come again, with what it needs.
                line.close()
            elif peer.status not in (200, 401, 403, 404, 503):
                return
            await asyncio.sleep(max(cursor.retry, _AGAIN_SECONDS))


class _Stream:
    """The answer to ``/sse``: where messages are taken, and everything that is for this client."""

    def __init__(self, line: SseLine, url: bytes, left: Callable[[], None]) -> None:
        self._line = line
        self._url = url
        self._left = left

    async def flow(self, arrival: Arrival, chain: Chain) -> None:
        """Send until the stream is closed, or the client goes away."""
        peer, line = arrival.peer, self._line
        forget = peer.on_gone(line.close)
        try:
            peer.begin(200, EVENT_HEADERS)
            await peer.write(b"event: endpoint\r\ndata: " + self._url + b"\r\n\r\n")
            while data := await line.next():
                await peer.write(data)
            peer.finish()
        except Gone:
            return
        finally:
            forget()
            line.close()
            self._left()


async def _nameless(arrival: Arrival, chain: Chain) -> Reply:
    return refusal(400, INVALID_REQUEST, "session_id is required", arrival.identifier)


async def _unknown(arrival: Arrival, chain: Chain) -> Reply:
    return _unknown_to(arrival)


def _unknown_to(arrival: Arrival) -> Reply:
    return refusal(404, SESSION_NOT_FOUND, "Session not found", arrival.identifier)


def _without(headers: Headers, dropped: frozenset[bytes]) -> Headers:
    return tuple(field for field in headers if field[0] not in dropped)


def _of(line: SseLine) -> Headers:
    session = ((b"mcp-session-id", line.session),) if line.session else ()
    version = ((b"mcp-protocol-version", line.version),) if line.version else ()
    return (*session, *version)


def _inner(arrival: Arrival, line: SseLine, peer: EventPeer) -> Arrival:
    """Return a posted message as a request of the session behind the stream."""
    headers = (*_without(arrival.headers, _DROPPED), _BOTH, *_of(line))
    return _made(arrival, "POST", headers, peer)


def _begin_anew(arrival: Arrival) -> None:
    """Let a client be introduced as one that has no session, even if there is one behind its stream already."""
    arrival.headers = _without(arrival.headers, _OF_SESSIONS)
    arrival.fields = dict(arrival.headers)
    arrival.session, arrival.live = "", None


def _resuming(arrival: Arrival, line: SseLine, peer: EventPeer, last: bytes) -> Arrival:
    """Return a request for the stream of the session, or for the rest of another, in the name of its client."""
    resumed = ((b"last-event-id", last),) if last else ()
    headers = (*_without(line.headers, _BODY), _EVENTS, *_of(line), *resumed)
    return _made(arrival, "GET", headers, peer, _SESSION_PATH)


def _ending(arrival: Arrival, line: SseLine, session: bytes) -> Arrival:
    """Return a request for the end of a session."""
    headers = (*_without(line.headers, _BODY), _BOTH, (b"mcp-session-id", session))
    return _made(arrival, "DELETE", headers, NOBODY, _SESSION_PATH)


def _made(arrival: Arrival, method: str, headers: Headers, peer: Peer, path: str = "/messages") -> Arrival:
    return Arrival(
        workload=arrival.workload,
        method=method,
        path=path,
        headers=headers,
        client=arrival.client,
        peer=peer,
        fields=dict(headers),
        prefix=arrival.prefix,
        secure=arrival.secure,
    )
