from __future__ import annotations

import asyncio
import contextlib
import os
from collections.abc import Callable, Coroutine
from pathlib import Path
from typing import Any

import pytest

from thv_gateway.pipes.pipe import MAX_LINE, MAX_WAITING, Locked, Pipe, ServerAbsent


class Server:
    """The other end of the FIFOs, open for reading and writing as a real server has it."""

    def __init__(self, folder: Path) -> None:
        self.paths = [str(folder / name) for name in ("stdin", "stdout", "lock")]
        for path in self.paths[:2]:
            os.mkfifo(path)
        self.stdin, self.stdout = (os.open(path, os.O_RDWR | os.O_NONBLOCK) for path in self.paths[:2])

    def close(self) -> None:
        for name in ("stdin", "stdout"):
            if getattr(self, name) >= 0:
                os.close(getattr(self, name))
            setattr(self, name, -1)

    def read(self) -> bytes:
        try:
            return os.read(self.stdin, 1 << 20)
        except BlockingIOError:
            return b""


@pytest.fixture
def server(tmp_path: Path) -> Any:
    server = Server(tmp_path)
    yield server
    server.close()


class Ends:
    def __init__(self) -> None:
        self.lines: list[bytes] = []
        self.ends: list[str] = []

    def pipe(self) -> Pipe:
        return Pipe(self.lines.append, self.ends.append, lambda: 0.0)


async def until(condition: Callable[[], object]) -> None:
    async with asyncio.timeout(10):
        while not condition():  # noqa: ASYNC110 - the condition is of plain values
            await asyncio.sleep(0.001)


def run(work: Coroutine[Any, Any, None]) -> None:
    asyncio.run(work)


def test_lines_arrive_whole_however_they_were_cut(server: Server) -> None:
    async def work() -> None:
        ends = Ends()
        pipe = ends.pipe()
        pipe.open(*server.paths)
        for part in (b"one\ntw", b"o", b"\nthree\n\nfo"):
            os.write(server.stdout, part)
            await asyncio.sleep(0)
        await until(lambda: len(ends.lines) == 4)
        assert ends.lines == [b"one", b"two", b"three", b""]
        pipe.close()

    run(work())


def test_lines_of_one_turn_are_written_together_and_in_order(server: Server) -> None:
    async def work() -> None:
        pipe = Ends().pipe()
        pipe.open(*server.paths)
        pipe.write(b"a")
        pipe.write(b"b")
        assert server.read() == b""
        await asyncio.sleep(0)
        assert server.read() == b"a\nb\n"
        pipe.close()

    run(work())


def test_a_server_that_does_not_read_congests_and_loses_nothing(server: Server) -> None:
    async def work() -> None:
        pipe = Ends().pipe()
        pipe.open(*server.paths)
        lines = [b"%07d" % number + b"x" * 10_000 for number in range(MAX_WAITING // 10_000 + 60)]
        for line in lines:
            pipe.write(line)
            await asyncio.sleep(0)
        assert pipe.congested
        received = b""
        async with asyncio.timeout(30):
            while len(received) < sum(len(line) + 1 for line in lines):
                received += server.read()
                await asyncio.sleep(0)
        assert received == b"".join(line + b"\n" for line in lines)
        assert not pipe.congested
        pipe.close()

    run(work())


def test_two_readers_exclude_each_other(server: Server) -> None:
    async def work() -> None:
        first, second = Ends().pipe(), Ends().pipe()
        first.open(*server.paths)
        with pytest.raises(Locked):
            second.open(*server.paths)
        first.close()
        second.open(*server.paths)
        second.close()

    run(work())


def test_a_server_that_is_not_there_is_told_apart(server: Server) -> None:
    async def work() -> None:
        server.close()
        pipe = Ends().pipe()
        with pytest.raises(ServerAbsent):
            pipe.open(*server.paths)
        with pytest.raises(ServerAbsent):
            pipe.open("/nonexistent/stdin", "/nonexistent/stdout", server.paths[2])

    run(work())


def test_the_end_of_the_server_is_told_once(server: Server) -> None:
    async def work() -> None:
        ends = Ends()
        pipe = ends.pipe()
        pipe.open(*server.paths)
        os.write(server.stdout, b"last words\n")
        server.close()
        await until(lambda: ends.ends)
        assert (ends.lines, ends.ends) == ([b"last words"], ["closed"])
        pipe.write(b"anyone?")

    run(work())


def test_a_line_without_end_ends_the_pipe(server: Server) -> None:
    async def work() -> None:
        ends = Ends()
        pipe = ends.pipe()
        pipe.open(*server.paths)
        written = 0
        while not ends.ends:
            with contextlib.suppress(BlockingIOError):
                written += os.write(server.stdout, b"x" * 65536)
            assert written < 2 * MAX_LINE
            await asyncio.sleep(0)
        assert ends.ends == ["line-too-long"]

    run(work())
