from __future__ import annotations

import os
import socket
import stat
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from thv_core.errors import StateUnusable, TimedOut
from thv_core.state import files
from thv_core.state.files import bind_unix, connect_unix, locked, read_or_none, unix_address, write_atomically

DESCRIPTORS = Path("/proc/self/fd")


def test_an_absent_file_reads_as_none(tmp_path: Path) -> None:
    assert read_or_none(tmp_path / "absent") is None


def test_what_is_written_is_read_and_private(tmp_path: Path) -> None:
    file = tmp_path / "file"
    write_atomically(file, b"old")
    write_atomically(file, b"new")
    assert read_or_none(file) == b"new"
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    assert list(tmp_path.iterdir()) == [file]


def test_the_mode_does_not_depend_on_the_umask(tmp_path: Path) -> None:
    before = os.umask(0o777)
    try:
        write_atomically(tmp_path / "file", b"", 0o640)
    finally:
        os.umask(before)
    assert stat.S_IMODE((tmp_path / "file").stat().st_mode) == 0o640


def test_a_failed_write_leaves_the_old_content_and_nothing_else(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = tmp_path / "file"
    write_atomically(file, b"old")

    def full(descriptor: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(files.os, "fsync", full)
    with pytest.raises(OSError, match="No space"):
        write_atomically(file, b"new")
    assert (file.read_bytes(), list(tmp_path.iterdir())) == (b"old", [file])


def test_a_reader_never_sees_a_part(tmp_path: Path) -> None:
    file = tmp_path / "file"
    contents = {bytes([65 + each]) * 200_000 for each in range(3)}
    write_atomically(file, next(iter(contents)))
    stop = threading.Event()

    def write() -> None:
        while not stop.is_set():
            for each in contents:
                write_atomically(file, each)

    writer = threading.Thread(target=write)
    writer.start()
    try:
        assert {file.read_bytes() for _ in range(200)} <= contents
    finally:
        stop.set()
        writer.join()


def test_a_lock_excludes_another_holder_and_its_file_stays(tmp_path: Path) -> None:
    lock = tmp_path / "lock"
    with locked(lock, 1), pytest.raises(TimedOut, match=r"locked for 0\.05 s"), locked(lock, 0.05):
        pass
    with locked(lock, 0):
        assert stat.S_IMODE(lock.stat().st_mode) == 0o600
    assert lock.exists()


def test_a_lock_is_waited_for(tmp_path: Path) -> None:
    lock = tmp_path / "lock"
    order: list[str] = []

    def second() -> None:
        with locked(lock, 20):
            order.append("second")

    with locked(lock, 1):
        waiter = threading.Thread(target=second)
        waiter.start()
        order.append("first")
    waiter.join(20)
    assert order == ["first", "second"]


def test_a_killed_holder_holds_no_lock(tmp_path: Path) -> None:
    lock = tmp_path / "lock"
    code = (
        "import sys, time, pathlib; from thv_core.state.files import locked\n"
        "with locked(pathlib.Path(sys.argv[1]), 1): print('held', flush=True); time.sleep(60)"
    )
    with subprocess.Popen([sys.executable, "-c", code, str(lock)], stdout=subprocess.PIPE) as holder:
        assert holder.stdout is not None
        assert holder.stdout.readline() == b"held\n"
        with pytest.raises(TimedOut), locked(lock, 0):
            pass
        holder.kill()
    with locked(lock, 5):
        pass


def test_a_lock_that_fails_for_another_reason_says_so(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(descriptor: int, operation: int) -> None:
        raise OSError(37, "No locks available")

    monkeypatch.setattr(files.fcntl, "flock", refuse)
    with pytest.raises(OSError, match="No locks"), locked(tmp_path / "lock", 1):
        pass


def deep(tmp_path: Path) -> Path:
    folder = tmp_path / ("d" * 100) / ("e" * 100)
    folder.mkdir(parents=True)
    return folder / "control.sock"


def talk(path: Path) -> bytes:
    with bind_unix(path) as server:
        server.listen()
        with connect_unix(path) as client:
            accepted, _ = server.accept()
            with accepted:
                accepted.sendall(b"hello")
                return client.recv(5)


def test_a_socket_is_bound_and_connected(tmp_path: Path) -> None:
    path = tmp_path / "control.sock"
    assert talk(path) == b"hello"
    assert stat.S_IMODE(path.stat().st_mode) == 0o600


def test_a_path_longer_than_108_bytes_works(tmp_path: Path) -> None:
    path = deep(tmp_path)
    assert talk(path) == b"hello"
    assert stat.S_ISSOCK(path.stat().st_mode)


def test_packets_are_spoken_where_packets_are_served_at_a_long_path_too(tmp_path: Path) -> None:
    path = tmp_path / ("d" * 100) / "network.sock"
    path.parent.mkdir()
    with socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET) as served:
        with unix_address(path) as address:
            served.bind(address)
        served.listen()
        with connect_unix(path, kind=socket.SOCK_SEQPACKET) as client:
            client.send(b"one")
            client.send(b"two")
            with served.accept()[0] as connection:
                assert [connection.recv(99), connection.recv(99)] == [b"one", b"two"]
        with pytest.raises(OSError, match="rotocol"):
            connect_unix(path)


def test_binding_leaks_no_descriptor(tmp_path: Path) -> None:
    path = deep(tmp_path)
    before = len(list(DESCRIPTORS.iterdir()))
    talk(path)
    assert len(list(DESCRIPTORS.iterdir())) == before


def test_the_socket_of_a_dead_process_is_replaced(tmp_path: Path) -> None:
    path = tmp_path / "control.sock"
    bind_unix(path).close()
    assert talk(path) == b"hello"


def test_something_else_in_the_way_is_not_removed(tmp_path: Path) -> None:
    path = tmp_path / "control.sock"
    path.write_text("precious", encoding="utf-8")
    with pytest.raises(StateUnusable, match="is not a socket"):
        bind_unix(path)
    assert path.read_text(encoding="utf-8") == "precious"


def test_nobody_can_connect_before_the_socket_is_listened_on(tmp_path: Path) -> None:
    path = tmp_path / "control.sock"
    with bind_unix(path), pytest.raises(ConnectionRefusedError):
        connect_unix(path)


def test_an_absent_socket_is_an_os_error(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        connect_unix(tmp_path / "absent.sock")


def test_connecting_to_a_server_that_does_not_accept_is_bounded(tmp_path: Path) -> None:
    path = tmp_path / "control.sock"
    with bind_unix(path) as server:
        server.listen(0)
        waiting: list[socket.socket] = []
        with pytest.raises((TimeoutError, BlockingIOError)):
            waiting.extend(connect_unix(path, 0.1) for _ in range(10))
        for each in waiting:
            each.close()


def test_binding_in_an_absent_directory_leaves_no_socket_open(tmp_path: Path) -> None:
    with pytest.raises(OSError, match="No such file"):
        bind_unix(tmp_path / "absent" / "control.sock")


def test_a_name_that_is_too_long_itself_is_refused_with_a_hint(tmp_path: Path) -> None:
    with pytest.raises(StateUnusable, match="too long") as caught, unix_address(tmp_path / ("n" * 120)):
        pass
    assert "THV_HOME" in caught.value.hint
