"""A wire over one session of streamable HTTP (MCP 2025-03-26 to 2025-11-25, transports)."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable

from thv_core.model.message import Kind, Message
from thv_gateway.client.connection import Broken, Head
from thv_gateway.client.http_client import Request
from thv_gateway.client.pool import Busy
from thv_gateway.messages.assembly import assemble
from thv_gateway.messages.parsing import members, text_of
from thv_gateway.relays.probe import is_events
from thv_gateway.wires.carriage import MAX_ANSWER, Carriage, Carried, Listening
from thv_gateway.wires.event_stream import LONGEST_RETRY, Cursor, read_events
from thv_gateway.wires.way import Take, Way, at_once, nobody

__all__ = ["HttpWire"]

CANCEL_SECONDS = 2.0
"""So long the answer to a call may still come that was cancelled; then its exchange is cut."""

MOST_RESUMED = 1000
"""So often one answer is asked for again (MCP 2025-11-25, polling)."""

LEAVE_SECONDS = 2.0
_POST = ((b"content-type", b"application/json"), (b"accept", b"application/json, text/event-stream"))
_EVENTS = ((b"accept", b"text/event-stream"),)
_LISTEN = Message(kind=Kind.NOTIFICATION)


class HttpWire:
    """One session at a server of streamable HTTP; see :class:`thv_gateway.pipes.conversation.Wire`.

    It begins with the ``initialize`` that is sent first. Once ``notifications/initialized`` was accepted, which
    whatever is sent later waits for, the stream of the session is listened to, and opened again when it ends. ``take``
    is what the messages of the server are handed to. ``on_end`` is told, once, why the session cannot go on: a new
    wire may. ``session`` and ``version`` are as the server said.
    """

    def __init__(self, way: Way) -> None:
        self.incarnation = ""
        self.on_end: Callable[[str], None] = nobody
        self.session = b""
        self.version = b""
        self._way = way
        self.take: Take = nobody
        self.rest: Callable[[], float] = at_once
        self._carriage = Carriage(way)
        self._carriage.take = self._take
        self._carriage.rest = lambda: self.rest()
        self._carriage.heads = self._head
        self._carriage.resumes = self._resume
        self._free = asyncio.Event()
        self._free.set()
        self._opened = self._free
        self._listener: asyncio.Task[None] | None = None
        self._listening = Carried(_LISTEN)
        self._ended = False

    @property
    def congested(self) -> bool:
        """Whether a new call has to be refused."""
        return self._carriage.full

    def send(self, message: Message) -> None:
        """Send one message; a request that cannot be carried is answered with an error."""
        if self._ended:
            return
        after = self._opened
        if message.method == "notifications/initialized":
            self._opened = asyncio.Event()
            after = self._free
        elif message.method == "notifications/cancelled":
            self._cut_later(message.params.get("requestId", b""))
        self._carriage.post(message, self._request(message), after)

    async def leave(self) -> None:
        """End the session at the server, as far as it keeps one, and close."""
        session, self._ended = self.session, True
        self.close()
        if not session:
            return
        carried = Carried(_LISTEN)
        with contextlib.suppress(Broken, Busy, OSError):
            async with asyncio.timeout(LEAVE_SECONDS):
                try:
                    request = self._way.client.request(b"DELETE", self._fields())
                    connection, _ = await self._way.client.ask(carried, request, again=True)
                    await connection.body(MAX_ANSWER)
                finally:
                    self._way.client.release(carried)

    def close(self) -> None:
        """Let go of the server; it is told nothing, and nobody is told either."""
        self._ended = True
        self._carriage.close()
        self._opened.set()
        if self._listener is not None:
            self._listening.give_up()
            self._listener.cancel()

    def _request(self, message: Message) -> Request:
        return self._way.client.request(b"POST", (*_POST, *self._fields()), assemble(message))

    def _fields(self) -> tuple[tuple[bytes, bytes], ...]:
        session = ((b"mcp-session-id", self.session),) if self.session else ()
        version = ((b"mcp-protocol-version", self.version),) if self.version else ()
        return (*self._way.fields(), *session, *version)

    def _head(self, message: Message, head: Head) -> bool:
        if head.status == 404 and self.session:
            self._end("does not know the session any more")
            return True
        if message.method == "initialize" and head.status < 300:
            self.session = head.fields.get(b"mcp-session-id", b"")
        elif message.method == "notifications/initialized":
            self._opened.set()
            if head.status < 300 and self._listener is None and not self._ended:
                self._listener = asyncio.get_running_loop().create_task(self._listen())
        return False

    def _take(self, message: Message, about: bytes) -> None:
        if not self.version and message.kind is Kind.RESPONSE and message.result:
            self.version = text_of(members(message.result).get("protocolVersion", b"")).encode("ascii", "ignore")
        self.take(message, about)

    def _cut_later(self, key: bytes) -> None:
        carried = self._carriage.find(key)
        if carried is not None:
            asyncio.get_running_loop().call_later(CANCEL_SECONDS, carried.give_up)

    def _end(self, why: str) -> None:
        if not self._ended:
            self.close()
            self.on_end(f"{self._way.name} {why}")

    async def _resume(self, carried: Carried, cursor: Cursor) -> None:
        """Ask for the rest of an answer as often as the server lets it end early."""
        for _ in range(MOST_RESUMED):
            await asyncio.sleep(cursor.retry)
            if not await self._streamed(carried, cursor, self._way.patience):
                raise Broken("does not go on with an answer")
            if cursor.answered:
                return
        raise Broken("ended its stream again and again without an answer")

    async def _listen(self) -> None:
        """Keep the session's own stream open, as long as the server offers one."""
        cursor, pause = Cursor(), 0.0
        while not self._ended:
            try:
                if not await self._streamed(self._listening, cursor, None):
                    return
                pause = cursor.retry
            except (Broken, Busy, OSError):
                pause = min(max(pause, cursor.retry) * 2, LONGEST_RETRY)
            finally:
                self._way.client.release(self._listening)
            await asyncio.sleep(pause)

    async def _streamed(self, carried: Carried, cursor: Cursor, patience: float | None) -> bool:
        """Read one stream from where the cursor is to its end; ``False`` when the server offers none."""
        client = self._way.client
        last = ((b"last-event-id", cursor.last),) if cursor.last else ()
        request = client.request(b"GET", (*_EVENTS, *self._fields(), *last))
        try:
            async with asyncio.timeout(self._way.patience):
                connection, head = await client.ask(carried, request, again=True)
            if head.status == 404 and self.session:
                self._end("does not know the session any more")
            if head.status >= 500:
                raise Broken(f"answered HTTP {head.status}")
            if head.status != 200 or not is_events(head):
                return False
            await read_events(connection, cursor, patience, Listening(self._carriage, self._way, cursor.identifier))
        finally:
            client.release(carried)
        return True
