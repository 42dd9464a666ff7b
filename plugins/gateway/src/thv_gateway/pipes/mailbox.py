"""A bounded mailbox: messages that wait for the one client stream that carries them."""

from __future__ import annotations

import asyncio
from collections import deque

from thv_core.model.message import Message
from thv_gateway.pipes.pressure import Pressure

__all__ = ["MAX_BYTES", "MAX_MESSAGES", "Mailbox"]

MAX_MESSAGES = 4096
"""More than a server can say in one turn of the loop, so that only a client that does not read overflows it."""

MAX_BYTES = 64 * 1024 * 1024

HIGH_MESSAGES = 1024
HIGH_BYTES = 4 * 1024 * 1024
"""When more waits for a client than one of these, its server is read no further until half of it has been sent."""


class Mailbox:
    """Carries messages from the reader of a server to one HTTP stream.

    When much waits, ``pressure`` is told until the stream has caught up. When it does not, what waits is dropped,
    :attr:`overflowed` is set and the stream ends with an error: a client never misses a message without being told.
    """

    __slots__ = ("_bytes", "_items", "_nudged", "_pressure", "_waiter", "closed", "overflowed")

    def __init__(self, pressure: Pressure | None = None) -> None:
        self._items: deque[Message] = deque()
        self._bytes = 0
        self._waiter: asyncio.Future[None] | None = None
        self._pressure = pressure
        self._nudged = False
        self.closed = False
        self.overflowed = False

    def put(self, message: Message) -> bool:
        """Add a message; ``False`` when the mailbox is closed or has just overflowed."""
        if self.closed:
            return False
        self._bytes += _size(message)
        if len(self._items) >= MAX_MESSAGES or self._bytes > MAX_BYTES:
            self.overflow()
            return False
        self._items.append(message)
        if self._pressure is not None and (len(self._items) > HIGH_MESSAGES or self._bytes > HIGH_BYTES):
            self._pressure.begin(self)
        self._wake()
        return True

    def overflow(self) -> None:
        """Drop what waits and take no more: the stream ends with an error."""
        self._items.clear()
        self.overflowed = True
        self.close()

    def nudge(self) -> None:
        """Let who waits for a message go without one, once."""
        self._nudged = True
        self._wake()

    def close(self) -> None:
        """Take no more messages; those that wait are still delivered, then :meth:`take` returns ``None``."""
        self.closed = True
        if self._pressure is not None:
            self._pressure.end(self)
        self._wake()

    async def take(self) -> Message | None:
        """Return the next message, or ``None`` once the mailbox is closed and empty, or after a :meth:`nudge`."""
        while not self._items:
            if self.closed or self._nudged:
                self._nudged = False
                return None
            self._waiter = asyncio.get_running_loop().create_future()
            try:
                await self._waiter
            finally:
                self._waiter = None
        message = self._items.popleft()
        self._bytes -= _size(message)
        if self._pressure is not None and self._pressure.of:
            is_low = len(self._items) <= HIGH_MESSAGES // 2 and self._bytes <= HIGH_BYTES // 2
            self._pressure.taken(self, is_low=is_low)
        return message

    def _wake(self) -> None:
        if self._waiter is not None and not self._waiter.done():
            self._waiter.set_result(None)


def _size(message: Message) -> int:
    return len(message.result) + len(message.error) + sum(map(len, message.params.values()))
