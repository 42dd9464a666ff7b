from __future__ import annotations

from pathlib import Path

import pytest

from thv_sandbox.instances import DeploymentFiles
from thv_sandbox.logs import last_lines, log_chunks, shorten


@pytest.fixture
def files(tmp_path: Path) -> DeploymentFiles:
    found = DeploymentFiles(tmp_path / "notes" / "1")
    found.create()
    return found


def whole(files: DeploymentFiles, tail: int | None = None) -> bytes:
    return b"".join(log_chunks(files, tail, lambda: False))


@pytest.mark.parametrize("end", [b"", b"\n"], ids=["unfinished", "finished"])
@pytest.mark.parametrize("count", [0, 1, 2, 3, 99, None])
def test_a_tail_is_the_last_lines(files: DeploymentFiles, end: bytes, count: int | None) -> None:
    lines = [b"one\n", b"\rtwo\n", b"three" + end]
    files.log.write_bytes(b"".join(lines))
    assert whole(files, count) == b"".join(lines[-count:] if count else lines if count is None else [])


def test_a_tail_reads_back_over_many_blocks(files: DeploymentFiles) -> None:
    lines = [b"%d " % number + b"x" * 1000 + b"\n" for number in range(500)]
    files.log.write_bytes(b"".join(lines))
    assert whole(files, 200) == b"".join(lines[-200:])
    assert whole(files) == b"".join(lines)
    assert last_lines(files.log, 2) == [line.decode().rstrip("\n") for line in lines[-2:]]


def test_chunks_are_whole_lines_and_the_unfinished_one_comes_at_the_end(files: DeploymentFiles) -> None:
    files.log.write_bytes(b"one\ntw")
    running = [True, True, True]
    chunks = log_chunks(files, None, lambda: bool(running and running.pop()))
    assert next(chunks) == b"one\n"
    assert next(chunks) == b""
    with files.log.open("ab") as file:
        file.write(b"o\nthree")
    assert next(chunks) == b"two\n"
    assert list(chunks) == [b"three"]


def test_a_line_without_end_is_cut(files: DeploymentFiles) -> None:
    files.log.write_bytes(b"x" * (3 * 1024 * 1024))
    chunks = list(log_chunks(files, None, lambda: False))
    assert max(map(len, chunks)) <= 1024 * 1024 + 64 * 1024
    assert sum(map(len, chunks)) == 3 * 1024 * 1024


def test_a_long_log_is_moved_aside_once_and_stays_readable(files: DeploymentFiles) -> None:
    with files.log.open("ab") as server:
        for text in (b"first\n", b"second\n"):
            server.write(text)
            server.flush()
            shorten(files, limit=5)
            assert files.log.stat().st_size == 0
        server.write(b"3rd\n")
        server.flush()
        shorten(files, limit=5)
    assert whole(files) == b"second\n3rd\n"
    assert files.older_log.stat().st_mode & 0o777 == 0o600


def test_of_a_huge_log_only_the_end_is_kept(files: DeploymentFiles) -> None:
    files.log.write_bytes(b"x" * 1000 + b"the end\n")
    shorten(files, limit=20)
    assert whole(files) == b"xxxxxxxxxxxxthe end\n"


def test_a_follower_survives_that_the_log_is_moved_aside(files: DeploymentFiles) -> None:
    files.log.write_bytes(b"a long first line\n")
    running = [True] * 4
    chunks = log_chunks(files, None, lambda: bool(running and running.pop()))
    assert next(chunks) == b"a long first line\n"
    shorten(files, limit=1)
    files.log.write_bytes(b"next\n")
    assert next(chunks) == b"next\n"


def test_no_log_is_no_evidence(tmp_path: Path) -> None:
    assert last_lines(tmp_path / "absent", 3) == []
    with pytest.raises(FileNotFoundError):
        log_chunks(DeploymentFiles(tmp_path / "absent"), None, lambda: False)


def test_a_server_that_writes_faster_than_its_log_is_copied_does_not_keep_the_copying_going(
    files: DeploymentFiles, monkeypatch: pytest.MonkeyPatch
) -> None:
    files.log.write_bytes(b"x" * 100)
    original = Path.open

    def growing(path: Path, mode: str) -> object:
        opened = original(path, mode)
        if mode == "rb":
            with original(files.log, "ab") as server:
                server.write(b"y" * 1_000_000)
        return opened

    monkeypatch.setattr(Path, "open", growing)
    shorten(files, limit=60)
    assert files.older_log.stat().st_size == 100
