"""One connection to an HTTP server: one exchange at a time, its body in pieces, with back-pressure (RFC 9112)."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Callable
from dataclasses import dataclass
from typing import cast

import httptools

__all__ = ["MAX_HEAD", "Broken", "Connection", "Head"]

MAX_HEAD = 64 * 1024
_HIGH_WATER = 256 * 1024
_PEEK = int(socket.MSG_PEEK | socket.MSG_DONTWAIT)


class Broken(Exception):
    """The exchange cannot be finished; the text says why, in words that follow the name of the server."""


@dataclass(frozen=True, slots=True)
class Head:
    """The head of an answer; ``fields`` has lower-case names with the last value of each."""

    status: int
    fields: dict[bytes, bytes]


class Connection(asyncio.Protocol):
    """A connection that is leased for one exchange after another.

    ``idle_since`` is on the clock of the event loop. ``used`` tells whether an exchange has ended on it.

    :param connector: what it is a duplicate of.
    :param lost: called once with the connection when it has ended.
    """

    def __init__(self, connector: socket.socket, lost: Callable[[Connection], None]) -> None:
        self.connector = connector
        self.leased = True
        self.used = False
        self.idle_since = 0.0
        self._lost = lost
        self._loop = asyncio.get_running_loop()
        self._parser = httptools.HttpResponseParser(self)
        self._waiter: asyncio.Future[None] | None = None
        self._head: Head | None = None
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
    def begun(self) -> bool:
        """Whether anything of an answer has come."""
        return self._begun

    def is_alive(self) -> bool:
        """Tell whether an idle connection was neither closed nor written to by the server, as far as one can see."""
        if self._broken or self._transport.is_closing():
            return False
        try:
            self.connector.recv(1, _PEEK)
        except BlockingIOError:
            return True
        except OSError:
            return False
        return False

    async def ask(self, request: bytes) -> Head:
        """Send a whole request and return the head of its answer.

        :raises Broken: when none comes.
        """
        self._reset()
        self._busy = True
        if not self._broken:
            self._transport.write(request)
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

    def taken(self) -> bytes:
        """Return what has come of the body and was not returned yet."""
        data = self._chunks[0] if len(self._chunks) == 1 else b"".join(self._chunks)
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
        """See :class:`asyncio.Protocol`."""
        self._begun = True
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
            # A server that answers before it has read everything may take the rest for a request (RFC 9112, 9.3).
            self._keep = self._parser.should_keep_alive() and not self._transport.get_write_buffer_size()
            self._complete = self.used = True
            self._busy = False
            self._wake()

    def _reset(self) -> None:
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
