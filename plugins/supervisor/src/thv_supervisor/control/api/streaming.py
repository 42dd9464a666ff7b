"""Answers that go on: told as it comes, ended when the caller hangs up, and never waiting in vain."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable, Generator, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import aclosing
from typing import Any

from litestar.response import Response
from litestar.response.base import ASGIResponse
from litestar.types import Receive, Scope, Send

__all__ = ["Stream", "with_heartbeat", "without_blocking"]

READERS = 32
"""Threads that read for all streams together; each holds one only while it reads."""

_readers = ThreadPoolExecutor(READERS, thread_name_prefix="stream")

Chunks = AsyncGenerator[bytes, None]


async def _nothing() -> None:
    """Do nothing when a stream ends."""


class Stream(Response[bytes]):
    """An answer that is yielded piece by piece.

    ``patience`` is how many seconds a caller may take none of it before it is let go, for ever when ``None``.
    ``ended`` is awaited once nothing more is told, however that came about.
    """

    def __init__(
        self,
        chunks: Chunks,
        status: int,
        media_type: str,
        patience: float | None = None,
        ended: Callable[[], Awaitable[None]] = _nothing,
    ) -> None:
        super().__init__(b"", status_code=status, media_type=media_type, headers={"cache-control": "no-store"})
        self._telling = _Telling(chunks, patience, ended)

    def to_asgi_response(self, *args: Any, **kwargs: Any) -> ASGIResponse:
        """Return what sends it."""
        return _Sender(self, self._telling)


class _Telling:
    """The pieces of a stream, and how they are given to a caller."""

    def __init__(self, chunks: Chunks, patience: float | None, ended: Callable[[], Awaitable[None]]) -> None:
        self._chunks = chunks
        self._patience = patience
        self._ended = ended

    async def to(self, receive: Receive, send: Send) -> None:
        """Tell until there is no more, or the caller is gone or takes nothing."""
        telling = asyncio.create_task(self._tell(send))
        gone = asyncio.create_task(_gone(receive))
        try:
            await asyncio.wait({telling, gone}, return_when=asyncio.FIRST_COMPLETED)
        finally:
            # Nobody can tell before this: whoever hung up leaves files, threads and listeners to be let go.
            await _cancelled(telling, gone)
            await self._chunks.aclose()
            await self._ended()
        # Without its end, the answer is not taken for whole: the server cuts the connection.
        if not telling.cancelled() and (error := telling.exception()) and not isinstance(error, TimeoutError):
            raise error

    async def _tell(self, send: Send) -> None:
        async with aclosing(self._chunks) as chunks:
            async for chunk in chunks:
                async with asyncio.timeout(self._patience):
                    await send({"type": "http.response.body", "body": chunk, "more_body": True})
        await send({"type": "http.response.body", "body": b"", "more_body": False})


class _Sender(ASGIResponse):
    _should_set_content_length = False

    def __init__(self, response: Stream, telling: _Telling) -> None:
        headers = [(name.lower(), value) for name, value in response.headers.items()]
        super().__init__(
            body=b"", status_code=response.status_code or 200, media_type=response.media_type, headers=headers
        )
        self._telling = telling

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        await self.start_response(send)
        await self._telling.to(receive, send)


async def _gone(receive: Receive) -> None:
    while (await receive())["type"] != "http.disconnect":
        pass


async def _cancelled(*tasks: asyncio.Task[None]) -> None:
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)


async def without_blocking(pieces: Iterator[bytes]) -> Chunks:
    """Yield from an iterator that blocks while it reads, in threads of their own."""
    reading = _readers.submit(next, pieces, None)
    try:
        while (piece := await asyncio.wrap_future(reading)) is not None:
            yield piece
            reading = _readers.submit(next, pieces, None)
    finally:
        # A generator cannot be closed while a thread is in it: it is closed by whoever leaves it last.
        reading.add_done_callback(lambda _: _close(pieces))


def _close(pieces: Iterator[bytes]) -> None:
    if isinstance(pieces, Generator):
        pieces.close()


async def with_heartbeat(pieces: AsyncIterator[bytes], beat: bytes, interval: float) -> Chunks:
    """Yield pieces as they come, and ``beat`` whenever nothing came for ``interval`` seconds."""
    coming = asyncio.ensure_future(anext(pieces, None))
    try:
        while True:
            await asyncio.wait({coming}, timeout=interval)
            if not coming.done():
                yield beat
                continue
            if (piece := coming.result()) is None:
                return
            yield piece
            coming = asyncio.ensure_future(anext(pieces, None))
    finally:
        coming.cancel()
        await asyncio.gather(coming, return_exceptions=True)
        if close := getattr(pieces, "aclose", None):
            await close()
