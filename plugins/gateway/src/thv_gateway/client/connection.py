"""One connection to an HTTP server: one exchange at a time, its body in pieces, with back-pressure (RFC 9112)."""

from __future__ import annotations

import asyncio
import select
import socket
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import cast

import httptools

__all__ = ["MAX_HEAD", "Broken", "Connection", "Head"]

MAX_HEAD = 64 * 1024
_HIGH_WATER = 256 * 1024
_MOST_KNOWN = 8 * 1024
_SAYS = select.POLLIN | select.POLLRDHUP if hasattr(select, "POLLRDHUP") else select.POLLIN


class Broken(Exception):
    """The exchange cannot be finished; the text says why, in words that follow the name of the server."""


@dataclass(slots=True)
class Head:
    """The head of an answer; ``fields`` has lower-case names with the last value of each.

    A server that answers with the very same head again gives the same object again: ``written`` is for whoever has
    made something of it.
    """

    status: int
    fields: dict[bytes, bytes]
    written: object = field(default=None, compare=False, repr=False)


class _Known:
    """A head as it was written, what it says, and the ``size`` of an answer with it and its body."""

    __slots__ = ("head", "raw", "size")

    def __init__(self, raw: bytes, size: int, head: Head) -> None:
        self.raw = raw
        self.size = size
        self.head = head


class Connection(asyncio.Protocol):
    """A connection that is leased for one exchange after another.

    ``idle_since`` is on the clock of the event loop. ``used`` tells whether an exchange has ended on it.

    ``act`` is called whenever something of an answer has come, or nothing more will, until whoever asked takes it away.

    :param connector: what it is a duplicate of.
    :param lost: called once with the connection when it has ended.
    """

    def __init__(self, connector: socket.socket, lost: Callable[[Connection], None]) -> None:
        self.connector = connector
        self.leased = True
        self.used = False
        self.act: Callable[[], None] | None = None
        self.idle_since = 0.0
        self._lost = lost
        self._loop = asyncio.get_running_loop()
        self._parser = httptools.HttpResponseParser(self)
        self._waiter: asyncio.Future[None] | None = None
        self._head: Head | None = None
        self._known: _Known | None = None
        self._poll = select.poll()
        self._poll.register(connector, _SAYS)
        self._fields: dict[bytes, bytes] = {}
        self._chunks: list[bytes] = []
        self._unheard = self._waiting = 0
        self._begun = self._complete = self._until_end = self._paused = False
        self._broken = ""
        self._busy = self._keep = False

    @property
    def reusable(self) -> bool:
        """Whether another exchange may follow the one that is complete."""
        return self._complete and self._keep and not (self._broken or self._chunks)

    @property
    def busy(self) -> bool:
        """Whether an answer is awaited, or not complete."""
        return self._busy

    @property
    def head(self) -> Head | None:
        """The head of the answer, as soon as it has come."""
        return self._head

    @property
    def is_whole(self) -> bool:
        """Whether the answer has come to its end."""
        return self._complete

    @property
    def is_broken(self) -> bool:
        """Whether nothing more comes."""
        return bool(self._broken)

    @property
    def begun(self) -> bool:
        """Whether anything of an answer has come."""
        return self._begun

    def is_alive(self) -> bool:
        """Tell whether an idle connection was neither closed nor written to by the server, as far as one can see."""
        if self._broken or self._transport.is_closing():
            return False
        return not self._poll.poll(0)

    async def ask(self, *request: bytes) -> Head:
        """Send a whole request, in parts, and return the head of its answer.

        :raises Broken: when none comes.
        """
        self.send(*request)
        return await self.answered()

    def send(self, *request: bytes) -> None:
        """Send a whole request, in parts."""
        self._reset()
        self._busy = True
        if not self._broken:
            for part in request:
                self._transport.write(part)

    async def answered(self) -> Head:
        """Return the head of the answer to what was sent.

        :raises Broken: when none comes.
        """
        while self._head is None:
            await self._news()
        return self._head

    async def read(self) -> bytes:
        """Return the next bytes of the body, none at its end.

        :raises Broken: when it ends too early.
        """
        while not self._chunks:
            if self._complete:
                return b""
            await self._news()
        return self.taken()

    def seen(self) -> bytes:
        """Return what has come of the body and was not returned yet, and keep it."""
        return self._chunks[0] if len(self._chunks) == 1 else b"".join(self._chunks)

    def taken(self) -> bytes:
        """Return what has come of the body and was not returned yet."""
        data = self.seen()
        self._chunks.clear()
        self._waiting = 0
        if self._paused:
            self._paused = False
            self._transport.resume_reading()
        return data

    async def body(self, limit: int) -> bytes:
        """Return the whole body.

        :raises Broken: when it ends too early, or has more than ``limit`` bytes.
        """
        if self._complete and self._waiting <= limit:
            return self.taken()
        parts: list[bytes] = []
        size = 0
        while data := await self.read():
            parts.append(data)
            size += len(data)
            if size > limit:
                raise Broken(f"answered with more than {limit} bytes")
        return parts[0] if len(parts) == 1 else b"".join(parts)

    def abort(self, reason: str = "was given up") -> None:
        """Close at once; whoever waits for the answer gets :class:`Broken`."""
        self._fail(reason)

    def finish(self) -> None:
        """Let the server close: nothing more is sent. TLS knows no such half-closed state and closes at once."""
        if self._broken or self._transport.is_closing():
            return
        if self._transport.can_write_eof():
            self._transport.write_eof()
        else:
            self._transport.close()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """See :class:`asyncio.Protocol`."""
        self._transport = cast("asyncio.Transport", transport)

    def data_received(self, data: bytes) -> None:
        """See :class:`asyncio.Protocol`; whoever answers like the time before need not be parsed."""
        known, first = self._known, not self._begun
        self._begun = True
        if first and known is not None and self._busy and len(data) == known.size and data.startswith(known.raw):
            self._take(known, data)
        else:
            self._feed(data)
            if first and self._complete and self._keep and not self._broken:
                self._learn(data)
        if self.act is not None:
            self.act()

    def _take(self, known: _Known, data: bytes) -> None:
        """Take a whole answer with the head of the one before."""
        self._head = known.head
        self._waiting = known.size - len(known.raw)
        if self._waiting:
            self._chunks.append(data[len(known.raw) :])
        self._end()

    def _learn(self, data: bytes) -> None:
        """Keep the head of an answer that came as a whole; one that can be read in one way only."""
        head, end = self._head, data.find(b"\r\n\r\n") + 4
        if head is None or end > _MOST_KNOWN or b"transfer-encoding" in head.fields:
            return
        raw, length = data[:end], head.fields.get(b"content-length", b"")
        is_plain = raw.startswith(b"HTTP/1.1 ") and raw.count(b"\n") == raw.count(b"\r\n")
        if is_plain and length.isdigit() and end + int(length) == len(data):
            self._known = _Known(raw, len(data), head)

    def _feed(self, data: bytes) -> None:
        self._unheard += len(data)
        try:
            if not self._busy:
                raise httptools.HttpParserError("nobody asked")
            self._parser.feed_data(data)
        except (httptools.HttpParserError, httptools.HttpParserUpgrade):
            self._fail("answered with what is not HTTP")
        if self._unheard > MAX_HEAD:
            self._fail(f"answered with a {'trailer' if self._head else 'head'} that is too long")

    def connection_lost(self, exc: Exception | None) -> None:
        """See :class:`asyncio.Protocol`; a body without a length ends here."""
        if self._until_end and exc is None and not self._broken:
            self._complete = True
        self._broken = self._broken or "closed the connection"
        self._wake()
        self._tell()
        self._lost(self)

    def on_message_begin(self) -> None:
        """Refuse a second answer to one request."""
        if self._complete:
            raise ValueError("one answer to one request")

    def on_header(self, name: bytes, value: bytes) -> None:
        """Take one field of the head; those of a trailer say nothing here (RFC 9110, 6.5.1)."""
        if self._head is None:
            self._fields[name.lower()] = value

    def on_headers_complete(self) -> None:
        """Take the head, unless it is an interim answer."""
        status = self._parser.get_status_code()
        if status < 200:
            self._fields = {}
            return
        fields = self._fields
        self._until_end = b"content-length" not in fields and b"transfer-encoding" not in fields
        self._head = Head(status, fields)
        self._unheard = 0
        self._wake()

    def on_body(self, body: bytes) -> None:
        """Take a piece of the body, and read no further when too much waits."""
        self._chunks.append(body)
        self._waiting += len(body)
        self._unheard = 0
        if self._waiting > _HIGH_WATER and not self._paused:
            self._paused = True
            self._transport.pause_reading()
        self._wake()

    def on_message_complete(self) -> None:
        """Take note of the end of the body."""
        if self._head is not None:
            self._end(keep=self._parser.should_keep_alive())

    def _end(self, *, keep: bool = True) -> None:
        # A server that answers before it has read everything may take the rest for a request (RFC 9112, 9.3).
        self._keep = keep and not self._transport.get_write_buffer_size()
        self._complete = self.used = True
        self._busy = False
        self._wake()

    def _reset(self) -> None:
        self.act = None
        self._head = None
        self._fields = {}
        self._chunks = []
        self._unheard = self._waiting = 0
        self._begun = self._complete = self._until_end = self._paused = False

    async def _news(self) -> None:
        if self._broken:
            raise Broken(self._broken)
        self._waiter = self._loop.create_future()
        try:
            await self._waiter
        finally:
            self._waiter = None

    def _wake(self) -> None:
        if self._waiter is not None and not self._waiter.done():
            self._waiter.set_result(None)

    def _fail(self, reason: str) -> None:
        if not self._broken:
            self._broken = reason
            self._transport.abort()
            self._wake()
            # Whoever gives a connection up is in the midst of something else.
            self._loop.call_soon(self._tell)

    def _tell(self) -> None:
        if self.act is not None:
            self.act()
