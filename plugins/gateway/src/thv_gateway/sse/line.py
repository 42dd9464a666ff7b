"""One open stream of a client of SSE: what waits to be sent on it, and the session behind it."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable
from functools import partial
from secrets import token_urlsafe

from thv_core.model.identity import Identity
from thv_gateway.web.peer import Gone
from thv_gateway.web.streams import KEEPALIVE

__all__ = ["KEEPALIVE_SECONDS", "MAX_WAITING", "MOST_EXCHANGES", "Headers", "SseLine"]

Headers = tuple[tuple[bytes, bytes], ...]

KEEPALIVE_SECONDS = 30.0

HIGH_WATER = 256 * 1024
"""So many bytes may wait to be sent before whoever writes more has to wait."""

MAX_WAITING = 64 * 1024 * 1024
"""So many may wait at all: answers come as a whole, however slowly the client reads."""

MOST_EXCHANGES = 256
"""So many messages of one client are being answered at once."""


class SseLine:
    """A stream from its opening to its end.

    ``id`` is what the client names when it posts; nobody can guess it. ``session`` and ``version`` are those that the
    server side agreed upon, empty until then. ``headers`` are those with which its client came last. ``exchanges``
    counts the messages that are being answered. ``is_heard`` tells that the stream of the session is listened to.
    """

    def __init__(self, identity: Identity | None) -> None:
        self.id = token_urlsafe(24)
        self.identity = identity
        self.session = b""
        self.version = b""
        self.headers: Headers = ()
        self.exchanges = 0
        self.is_closed = self.is_heard = False
        self._pieces: deque[bytes] = deque()
        self._size = 0
        self._news = asyncio.Event()
        self._room = asyncio.Event()
        self._room.set()
        self._acts: dict[object, Callable[[], None]] = {}
        self._former: list[bytes] = []

    def begin(self, session: bytes) -> None:
        """Take note of the session behind it; the one before it, if there was any, is left."""
        if self.session and self.session != session:
            self._former.append(self.session)
        self.session = session

    def left(self) -> list[bytes]:
        """Return the sessions that nobody uses any more, each of them once."""
        if self.is_closed and self.session:
            self._former.append(self.session)
            self.session = b""
        former, self._former = self._former, []
        return former

    @property
    def is_full(self) -> bool:
        """Whether a new message has to be refused, because too much is being answered or waits to be read."""
        return self.exchanges >= MOST_EXCHANGES or self._size > HIGH_WATER

    def on_gone(self, act: Callable[[], None]) -> Callable[[], None]:
        """Call ``act`` once the stream has ended, at once if it has; return what makes it forget that."""
        if self.is_closed:
            act()
            return _nothing
        key = object()
        self._acts[key] = act
        return partial(self._forget, key)

    def put(self, data: bytes) -> None:
        """Send the data of one event; a client that lets too much wait is given up."""
        if self.is_closed:
            return
        piece = b"event: message\r\ndata: " + data + b"\r\n\r\n"
        self._pieces.append(piece)
        self._size += len(piece)
        self._news.set()
        if self._size > HIGH_WATER:
            self._room.clear()
        if self._size > MAX_WAITING:
            self.close()

    async def write(self, data: bytes) -> None:
        """Send the data of one event, and wait as long as too much waits to be read.

        :raises Gone: when the stream has ended.
        """
        self.put(data)
        await self._room.wait()
        if self.is_closed:
            raise Gone

    async def next(self) -> bytes:
        """Return what is to be sent next, a comment when there was nothing for long; nothing once it has ended."""
        if not self._pieces and not self.is_closed:
            self._news.clear()
            try:
                async with asyncio.timeout(KEEPALIVE_SECONDS):
                    await self._news.wait()
            except TimeoutError:
                return KEEPALIVE
        if not self._pieces:
            return b""
        data = b"".join(self._pieces)
        self._pieces.clear()
        self._size = 0
        self._room.set()
        return data

    def close(self) -> None:
        """End the stream after what waits, and tell whoever writes to it."""
        if self.is_closed:
            return
        self.is_closed = True
        self._news.set()
        self._room.set()
        acts, self._acts = self._acts, {}
        for act in acts.values():
            act()

    def _forget(self, key: object) -> None:
        self._acts.pop(key, None)


def _nothing() -> None:
    """Forget nothing."""
