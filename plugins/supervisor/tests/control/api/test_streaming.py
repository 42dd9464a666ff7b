"""Answers that go on: their threads, their ends, and what is let go with them."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import AsyncIterator, Iterator

import pytest

from thv_supervisor.control.api.streaming import with_heartbeat, without_blocking


def test_a_blocking_iterator_is_read_elsewhere_piece_by_piece() -> None:
    threads: set[int] = set()

    def pieces() -> Iterator[bytes]:
        for piece in (b"a", b"b"):
            threads.add(threading.get_ident())
            yield piece

    async def read() -> list[bytes]:
        return [piece async for piece in without_blocking(pieces())]

    assert asyncio.run(read()) == [b"a", b"b"]
    assert threading.get_ident() not in threads


def test_an_iterator_is_closed_though_a_thread_is_in_it_when_its_reader_leaves() -> None:
    inside, go_on, closed = threading.Event(), threading.Event(), threading.Event()

    def pieces() -> Iterator[bytes]:
        try:
            inside.set()
            assert go_on.wait(10.0)
            yield b"late"
            yield b"never"
        finally:
            closed.set()

    async def leave() -> None:
        async def read() -> None:
            async for _ in without_blocking(pieces()):
                pass

        reading = asyncio.create_task(read())
        await asyncio.to_thread(inside.wait, 10.0)
        reading.cancel()
        await asyncio.gather(reading, return_exceptions=True)
        assert not closed.is_set()
        go_on.set()

    asyncio.run(leave())
    assert closed.wait(10.0)


def test_what_an_iterator_raises_arrives() -> None:
    def pieces() -> Iterator[bytes]:
        yield b"a"
        raise ValueError("broken")

    async def read() -> None:
        async for _ in without_blocking(pieces()):
            pass

    with pytest.raises(ValueError, match="broken"):
        asyncio.run(read())


def test_a_heartbeat_comes_only_in_silence_and_loses_nothing() -> None:
    async def heard() -> list[bytes]:
        speak = asyncio.Event()

        async def pieces() -> AsyncIterator[bytes]:
            yield b"first"
            await speak.wait()
            yield b"second"

        found: list[bytes] = []
        async for piece in with_heartbeat(pieces(), b".", 0.01):
            found.append(piece)
            if found.count(b".") == 3:
                speak.set()
        return found

    found = asyncio.run(heard())
    assert (found[0], found[-1]) == (b"first", b"second")
    assert set(found[1:-1]) == {b"."}
    assert len(found) >= 5
