"""The log of thv's own processes is cut while they write to it."""

from __future__ import annotations

import asyncio
import os
import stat
from pathlib import Path

import pytest

from thv_supervisor.control import log_rotating
from thv_supervisor.control.log_rotating import keep_small, rotate


@pytest.fixture
def log(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr(log_rotating, "LONGEST", 100)
    return tmp_path / "supervisor.log"


def former(log: Path) -> Path:
    return log.with_name("supervisor.log.1")


def test_a_log_that_is_too_long_is_cut_and_its_end_is_kept_beside_it(log: Path) -> None:
    log.write_bytes(b"a" * 50 + b"b" * 100)
    former(log).write_bytes(b"older")
    assert rotate(log)
    assert log.read_bytes() == b""
    assert former(log).read_bytes() == b"b" * 100
    assert stat.S_IMODE(former(log).stat().st_mode) == 0o600


def test_whoever_writes_goes_on_in_the_same_file(log: Path) -> None:
    writer = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
    try:
        os.write(writer, b"x" * 101)
        assert rotate(log)
        os.write(writer, b"next\n")
    finally:
        os.close(writer)
    assert log.read_bytes() == b"next\n"


@pytest.mark.parametrize("content", [b"", b"a" * 100])
def test_a_log_that_is_not_too_long_is_left_alone(log: Path, content: bytes) -> None:
    log.write_bytes(content)
    assert not rotate(log)
    assert (log.read_bytes(), former(log).exists()) == (content, False)


def test_a_log_that_is_not_there_is_none_to_rotate(log: Path) -> None:
    assert not rotate(log)
    assert not log.exists()


def test_a_log_is_looked_at_again_and_again_whatever_happens(log: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(log_rotating, "INTERVAL", 0.005)
    looks: list[Path] = []
    enough = asyncio.Event()

    def look(path: Path) -> bool:
        looks.append(path)
        if len(looks) > 3:
            loop.call_soon_threadsafe(enough.set)
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(log_rotating, "rotate", look)
    loop = asyncio.new_event_loop()

    async def watched() -> None:
        keeping = asyncio.create_task(keep_small(log))
        await asyncio.wait_for(enough.wait(), 10.0)
        keeping.cancel()
        await asyncio.gather(keeping, return_exceptions=True)

    loop.run_until_complete(watched())
    loop.close()
