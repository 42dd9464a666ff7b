"""The HTTP/1.1 of one connection of a client (RFC 9110, RFC 9112).

One task serves a connection for as long as it lives: it takes one request after another and hands each to the site,
which answers on it. A request is handed over as soon as its head is whole, so that it can be refused before its body
comes; a small one that came in one segment is there with its body. What comes while an answer is made waits unread,
within bounds.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Coroutine
from typing import cast

from thv_core.spi.middleware import Reply
from thv_gateway.messages.answers import INTERNAL_ERROR, LEGACY_ERROR, refusal
from thv_gateway.web.lobby import Lobby
from thv_gateway.web.peer import Gone
from thv_gateway.web.reading import Reader
from thv_gateway.web.reception import RETRY
from thv_gateway.web.request import Request

__all__ = ["Connection"]

_HELD = 64 * 1024
"""So much of what a client sends ahead of its answer is kept; the rest waits in the kernel."""

_NO_PROGRESS = refusal(408, LEGACY_ERROR, "The request did not arrive in time")
_CROWDED = refusal(503, INTERNAL_ERROR, "Too many connections", headers=RETRY)
_DRAINING = refusal(503, INTERNAL_ERROR, "The gateway is being restarted", headers=RETRY)
_FAILED = refusal(500, INTERNAL_ERROR, "Internal error")

_logger = logging.getLogger("thv.gateway")


class Connection(asyncio.Protocol):
    """One connection; see :class:`thv_gateway.web.request.Line` for what a request asks of it."""

    __slots__ = (
        *("_closing_since", "_current", "_held", "_leaving", "_lobby", "_loop", "_paused", "_reader", "_rest", "_room"),
        "_task",
        *("_transport", "_waiter", "client", "is_lost", "limits"),
    )

    def __init__(self, lobby: Lobby) -> None:
        self.limits = lobby.limits
        self.client = ""
        self.is_lost = False
        self._lobby = lobby
        self._loop = asyncio.get_running_loop()
        self._reader = Reader(self, self._loop.time)
        self._current: Request | None = None
        self._held = b""
        self._rest: Coroutine[None, None, None] | None = None
        self._leaving = self._paused = False
        self._waiter: asyncio.Future[None] | None = None
        self._room: asyncio.Event | None = None
        self._closing_since = 0.0

    @property
    def is_closing(self) -> bool:
        """Whether no other request is answered on it."""
        return not self._reader.queue and (self._reader.is_deaf or self._leaving or self._lobby.is_draining)

    @property
    def secure(self) -> bool:
        """Whether it is TLS."""
        return self._lobby.secure

    # What the transport tells.

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """See :class:`asyncio.Protocol`."""
        self._transport = cast("asyncio.Transport", transport)
        peer: object = transport.get_extra_info("peername")
        self.client = str(cast("tuple[object, ...]", peer)[0]) if isinstance(peer, tuple) and peer else ""
        if self._lobby.enter(self):
            self._task = self._loop.create_task(self._serve())
        elif self._lobby.is_crowded:
            self._transport.abort()
        else:
            self._reader.is_deaf = True
            Request(self, keep=False).reply(_CROWDED)
            self._linger()

    def data_received(self, data: bytes) -> None:
        """See :class:`asyncio.Protocol`."""
        if self._reader.is_deaf:
            return
        current = self._current
        if self._held or (current is not None and current.is_complete):
            self._hold(data)
            return
        rest = self._reader.feed(data)
        if rest:
            self._hold(rest)
        waiter = self._waiter
        if waiter is not None and not waiter.done() and not (current is None and self._begins()):
            waiter.set_result(None)

    def connection_lost(self, exc: Exception | None) -> None:
        """See :class:`asyncio.Protocol`."""
        self.is_lost = self._reader.is_deaf = True
        self._lobby.forget(self)
        for request in (self._current, self._reader.reading, *self._reader.queue):
            if request is not None:
                request.lose()
        self._wake()
        self.resume_writing()

    def pause_writing(self) -> None:
        """See :class:`asyncio.Protocol`."""
        self._room = asyncio.Event()

    def resume_writing(self) -> None:
        """See :class:`asyncio.Protocol`."""
        if self._room is not None:
            self._room.set()
            self._room = None

    # What a request asks for.

    def send(self, *parts: bytes) -> None:
        """See :class:`thv_gateway.web.request.Line`."""
        if not self.is_lost:
            for part in parts:
                self._transport.write(part)

    async def drained(self) -> None:
        """See :class:`thv_gateway.web.request.Line`."""
        while (room := self._room) is not None:
            before = self._transport.get_write_buffer_size()
            try:
                async with asyncio.timeout(self.limits.write_seconds):
                    await room.wait()
            except TimeoutError:
                if self._transport.get_write_buffer_size() >= before:
                    self._transport.abort()
                    raise Gone from None
        if self.is_lost:
            raise Gone

    async def news(self) -> None:
        """See :class:`thv_gateway.web.request.Line`."""
        if self.is_lost:
            return
        self._waiter = self._loop.create_future()
        try:
            await self._waiter
        finally:
            self._waiter = None

    def pause(self) -> None:
        """See :class:`thv_gateway.web.request.Line`."""
        if not (self._paused or self.is_lost):
            self._paused = True
            self._transport.pause_reading()

    def resume(self) -> None:
        """See :class:`thv_gateway.web.request.Line`."""
        if self._paused and not self.is_lost:
            self._paused = False
            self._reader.since = self._loop.time()
            self._transport.resume_reading()

    # What the listener asks for.

    def expire(self, now: float) -> None:
        """See :class:`thv_gateway.web.lobby.Guest`."""
        limits, since = self.limits, now - self._reader.since
        reading = self._reader.reading
        if self._closing_since:
            if now - self._closing_since > limits.write_seconds:
                self._transport.abort()
        elif reading is not None:
            if since > limits.body_seconds or now - reading.began > limits.whole_body_seconds:
                self._expire_body(reading)
        elif self._current is None and not self._reader.queue:
            if self._reader.unheard and since > limits.head_seconds:
                self._refuse(_NO_PROGRESS)
            elif not self._reader.unheard and since > limits.idle_seconds:
                self._transport.close()

    def leave(self) -> None:
        """See :class:`thv_gateway.web.lobby.Guest`."""
        self._leaving = True
        if self._current is None and not (self._reader.queue or self._reader.unheard):
            self._transport.close()

    def close(self) -> None:
        """See :class:`thv_gateway.web.lobby.Guest`."""
        self._reader.is_deaf = True
        self._transport.close()

    def _hold(self, data: bytes) -> None:
        self._held += data
        if len(self._held) > _HELD:
            self.pause()

    def _expire_body(self, reading: Request) -> None:
        if reading.is_answered:
            self._transport.abort()
        elif not self._paused:
            self._refuse(_NO_PROGRESS)

    def _refuse(self, reply: Reply) -> None:
        self._reader.fail(reply)
        self._wake()

    def _wake(self) -> None:
        if self._waiter is not None and not self._waiter.done():
            self._waiter.set_result(None)

    # Answering.

    def _begins(self) -> bool:
        """Begin to answer what came before the task has its turn, if that is simple enough."""
        queue = self._reader.queue
        if len(queue) != 1 or self._held or self._lobby.is_draining or self._reader.is_deaf:
            return False
        request = queue[0]
        if not request.is_complete or request.refusal is not None:
            return False
        self._current = queue.popleft()
        if self._lobby.at_once(request, self._ended):
            return True
        self._current = None
        queue.appendleft(request)
        return False

    def _ended(self, rest: Coroutine[None, None, None] | None) -> None:
        """Go on when a request was answered without the task, or leave the rest of its answer to that."""
        request, self._current = self._current, None
        if request is None:
            return
        if rest is None and request.keep and not (self._held or self._room is not None or self.is_lost):
            self._reader.since = self._loop.time()
            return
        self._rest = rest
        self._reader.queue.appendleft(request)
        if self._task.done():
            self._task = self._loop.create_task(self._serve())
        else:
            self._wake()

    async def _serve(self) -> None:
        queue = self._reader.queue
        try:
            while queue or await self._more():
                request = self._current = queue.popleft()
                await self._answer(request)
                if not (request.keep and request.is_complete) or self.is_lost:
                    break
                self._current = None
            await self._end()
        except Gone:
            self._transport.abort()

    async def _more(self) -> bool:
        """Wait for the next request; tell whether there is one."""
        while not self._reader.queue and not self._reader.is_deaf:
            if self._held:
                self._held = self._reader.feed(self._held)
            else:
                self.resume()
                await self.news()
        return bool(self._reader.queue)

    async def _answer(self, request: Request) -> None:
        rest, self._rest = self._rest, None
        try:
            if rest is not None:
                await rest
            elif request.is_answered:
                pass
            elif request.refusal is not None or self._lobby.is_draining:
                self._decline(request)
            else:
                await self._lobby.site(request)
        except Gone:
            pass
        except Exception as error:
            _logger.error("a request was not answered: %s", type(error).__name__)
            request.reply(_FAILED)
        self._conclude(request)
        if self._room is not None:
            await self.drained()
        self._reader.since = self._loop.time()
        if request.keep and not request.is_complete:
            await self._discard(request)

    def _decline(self, request: Request) -> None:
        request.keep = False
        request.reply(_DRAINING)

    def _conclude(self, request: Request) -> None:
        """Say what is wrong with a request if nothing was answered; an answer without its end is cut off."""
        if request.refusal is not None:
            request.reply(request.refusal)
        if not request.is_answered:
            raise Gone

    async def _discard(self, request: Request) -> None:
        """Read what still comes of a body, so that the client reads its answer instead of a reset."""
        request.discard()
        self.resume()
        while not (request.is_complete or self._reader.is_deaf):
            await self.news()

    async def _end(self) -> None:
        if self.is_lost:
            return
        self._reader.is_deaf = True
        if self._current is not None and not self._current.is_complete:
            self._linger()
        else:
            self._closing_since = self._loop.time()
            self._transport.close()

    def _linger(self) -> None:
        """Close after the client has had the time to read: with bytes unread, a close would take the answer away."""
        self.resume()
        self._closing_since = self._loop.time()
        if self._transport.can_write_eof():
            self._transport.write_eof()
            self._loop.call_later(self.limits.linger_seconds, self._transport.abort)
        else:
            self._transport.close()
