"""A bounded mailbox: messages that wait for the one client stream that carries them."""

from __future__ import annotations

import asyncio
from collections import deque

from thv_core.model.message import Message

__all__ = ["MAX_BYTES", "MAX_MESSAGES", "Mailbox"]

MAX_MESSAGES = 4096
"""More than a server can say in one turn of the loop, so that only a client that does not read overflows it."""

MAX_BYTES = 64 * 1024 * 1024


class Mailbox:
    """Carries messages from the reader of a server to one HTTP stream.

    When the stream is too slow, what waits is dropped, :attr:`overflowed` is set and the stream ends with an error:
    a client never misses a message without being told.
    """

    __slots__ = ("_bytes", "_items", "_waiter", "closed", "overflowed")

    def __init__(self) -> None:
        self._items: deque[Message] = deque()
        self._bytes = 0
        self._waiter: asyncio.Future[None] | None = None
        self.closed = False
        self.overflowed = False

    def put(self, message: Message) -> bool:
        """Add a message; ``False`` when the mailbox is closed or has just overflowed."""
        if self.closed:
            return False
        self._bytes += _size(message)
        if len(self._items) >= MAX_MESSAGES or self._bytes > MAX_BYTES:
            self._items.clear()
            self.overflowed = True
            self.close()
            return False
        self._items.append(message)
        self._wake()
        return True

    def close(self) -> None:
        """Take no more messages; those that wait are still delivered, then :meth:`take` returns ``None``."""
        self.closed = True
        self._wake()

    async def take(self) -> Message | None:
        """Return the next message, or ``None`` once the mailbox is closed and empty."""
        while not self._items:
            if self.closed:
                return None
            self._waiter = asyncio.get_running_loop().create_future()
            try:
                await self._waiter
            finally:
                self._waiter = None
        message = self._items.popleft()
        self._bytes -= _size(message)
        return message

    def _wake(self) -> None:
        if self._waiter is not None and not self._waiter.done():
            self._waiter.set_result(None)


def _size(message: Message) -> int:
    return len(message.result) + len(message.error) + sum(map(len, message.params.values()))
