"""Relaying: bytes between two sockets in both directions, with back-pressure and half-close.

A chunk is read into one buffer that all relays share and sent on from there. What the other side does not take at once
is the only thing that is kept, and nothing more is read until it is gone. Nothing here waits or allocates while bytes
flow.
"""

from __future__ import annotations

import asyncio
import contextlib
import socket
from collections.abc import Callable

from thv_egress import sockets

__all__ = ["Allowance", "Relay"]

BUFFER = 128 * 1024


class Allowance:
    """How many bytes may still flow, for all relays that share it; 0 is no limit."""

    __slots__ = ("_left", "spent")

    def __init__(self, limit: int) -> None:
        self._left = limit or None
        self.spent = False

    def spend(self, size: int) -> bool:
        """Count bytes that are about to flow; ``False`` when they are too many."""
        if self._left is None:
            return True
        self._left -= size
        self.spent = self._left < 0
        return not self.spent


class _Direction:
    """One of the two ways through a relay."""

    __slots__ = ("_broken", "_buffer", "_done", "_loop", "_pending", "_sink", "_source", "_spend", "count", "finished")

    def __init__(self, source: socket.socket, sink: socket.socket, relay: Relay) -> None:
        self._source, self._sink = source, sink
        self._loop, self._buffer = relay.loop, relay.buffer
        self._spend: Callable[[int], bool] = relay.allowance.spend
        self._done: Callable[[], None] = relay.direction_ended
        self._broken: Callable[[str], None] = relay.cut
        self._pending = memoryview(b"")
        self.count = 0
        self.finished = False

    def start(self, early: bytes) -> None:
        """Send what had been read before the relay began, then relay."""
        self._loop.add_reader(self._source, self._readable)
        if early:
            self._forward(memoryview(early))

    def _readable(self) -> None:
        try:
            size = self._source.recv_into(self._buffer)
        except (BlockingIOError, InterruptedError):
            return
        except OSError as error:
            self._broken(_broken_by(error))
            return
        if size:
            self._forward(self._buffer[:size])
        else:
            self._loop.remove_reader(self._source)
            self._end()

    def _forward(self, chunk: memoryview) -> None:
        if not self._spend(len(chunk)):
            self._broken("the limit of bytes is reached")
            return
        rest = self._send(chunk)
        if rest:
            self._pending = memoryview(bytes(rest))
            self._loop.remove_reader(self._source)
            self._loop.add_writer(self._sink, self._writable)

    def _send(self, chunk: memoryview) -> memoryview:
        try:
            sent = self._sink.send(chunk)
        except (BlockingIOError, InterruptedError):
            return chunk
        except OSError as error:
            self._broken(_broken_by(error))
            return chunk[:0]
        self.count += sent
        return chunk[sent:]

    def _writable(self) -> None:
        self._pending = self._send(self._pending)
        if not self._pending and self._sink.fileno() >= 0:
            self._loop.remove_writer(self._sink)
            self._loop.add_reader(self._source, self._readable)

    def _end(self) -> None:
        self.finished = True
        with contextlib.suppress(OSError):
            self._sink.shutdown(socket.SHUT_WR)
        self._done()


class Relay:
    """Relays between a server (``near``) and what it reached (``far``) until both have ended or it is cut.

    ``ended`` is called once, with a reason when it did not end in good order.
    """

    __slots__ = ("_down", "_ended", "_far", "_near", "_open", "_up", "allowance", "buffer", "loop")

    def __init__(self, near: socket.socket, far: socket.socket, allowance: Allowance, buffer: memoryview) -> None:
        self.loop = asyncio.get_running_loop()
        self.allowance, self.buffer = allowance, buffer
        self._near, self._far = near, far
        self._up, self._down = _Direction(near, far, self), _Direction(far, near, self)
        self._ended: asyncio.Future[str] = self.loop.create_future()
        self._open = True

    @property
    def sent(self) -> int:
        """Bytes that went out."""
        return self._up.count

    @property
    def received(self) -> int:
        """Bytes that came back."""
        return self._down.count

    async def run(self, from_near: bytes = b"", from_far: bytes = b"") -> str:
        """Relay until the end; return why it was cut, empty when both sides ended.

        ``from_near`` and ``from_far`` are bytes of the two sides that had been read already.
        """
        self._up.start(from_near)
        if self._open:
            self._down.start(from_far)
        return await self._ended

    def cut(self, reason: str) -> None:
        """Abort both connections."""
        self._close(sockets.reset, reason)

    def direction_ended(self) -> None:
        """Close both connections when both directions have ended; for the directions only."""
        if self._up.finished and self._down.finished:
            self._close(sockets.discard, "")

    def _close(self, let_go: Callable[[socket.socket], None], reason: str) -> None:
        if self._open:
            self._open = False
            let_go(self._near)
            let_go(self._far)
            if not self._ended.done():
                self._ended.set_result(reason)


def _broken_by(error: OSError) -> str:
    return f"the connection broke: {error.strerror or error}"
