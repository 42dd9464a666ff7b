"""Files that survive a crash, locks that wait with a bound, and Unix sockets with long paths."""

from __future__ import annotations

import contextlib
import errno
import fcntl
import os
import secrets
import socket
import stat
import time
from collections.abc import Generator
from pathlib import Path

from thv_core.errors import StateUnusable, TimedOut

__all__ = ["bind_unix", "connect_unix", "locked", "read_or_none", "unix_address", "write_atomically"]

POLL = 0.02
"""Seconds between two attempts to take a lock; ``flock`` itself cannot wait with a bound."""

SOCKET_PATH_LIMIT = 103
"""Bytes of a Unix socket's path that every system accepts: 104 on macOS and 108 on Linux, both with a final zero."""


def read_or_none(path: Path) -> bytes | None:
    """Return the content of a file, or ``None`` when there is none."""
    try:
        return path.read_bytes()
    except FileNotFoundError:
        return None


def write_atomically(path: Path, content: bytes, mode: int = 0o600) -> None:
    """Replace a file so that a reader, or a power failure, sees the old or the new content and nothing between.

    The file gets ``mode`` from its first byte on. A symbolic link at ``path`` is replaced, not followed.
    """
    temporary = path.with_name(f".{path.name}.{os.getpid()}.{secrets.token_hex(4)}")
    descriptor = os.open(temporary, os.O_CREAT | os.O_EXCL | os.O_WRONLY | os.O_CLOEXEC, mode)
    try:
        with open(descriptor, "wb") as file:  # noqa: PTH123 - a descriptor, not a path
            os.fchmod(file.fileno(), mode)
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        temporary.replace(path)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise
    _sync_directory(path.parent)


@contextlib.contextmanager
def locked(path: Path, timeout: float) -> Generator[None, None, None]:
    """Hold an exclusive lock on a file while the block runs, across processes and threads.

    The file is made when it is missing and never unlinked: unlinking a locked file lets two holders in.

    :param timeout: seconds to wait for another holder.
    :raises TimedOut: when somebody else held it all that time.
    """
    descriptor = os.open(path, os.O_CREAT | os.O_RDWR | os.O_CLOEXEC, 0o600)
    try:
        _take(descriptor, path, timeout)
        yield
    finally:
        os.close(descriptor)


def bind_unix(path: Path) -> socket.socket:
    """Return a stream socket bound to ``path``, mode 0600, on which the caller has yet to listen.

    A socket that lies there is replaced: the caller holds the lock that says nobody serves it. Until it listens
    nobody can connect, so the moment before the mode is set lets nobody in.

    :raises StateUnusable: when something other than a socket lies there.
    """
    _clear(path)
    bound = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    try:
        with unix_address(path) as address:
            bound.bind(address)
        path.chmod(0o600)
    except BaseException:
        bound.close()
        raise
    return bound


def connect_unix(path: Path, timeout: float = 5.0, kind: int = socket.SOCK_STREAM) -> socket.socket:
    """Return a socket connected to ``path``, in blocking mode.

    :param timeout: seconds to wait for a server whose queue of connections is full.
    :param kind: ``SOCK_STREAM``, or ``SOCK_SEQPACKET`` where packets are spoken.
    :raises OSError: ``FileNotFoundError`` or ``ConnectionRefusedError`` when nobody serves it.
    """
    connected = socket.socket(socket.AF_UNIX, kind)
    try:
        connected.settimeout(timeout)
        with unix_address(path) as address:
            connected.connect(address)
        connected.settimeout(None)
    except BaseException:
        connected.close()
        raise
    return connected


@contextlib.contextmanager
def unix_address(path: Path) -> Generator[str, None, None]:
    """Yield an address for ``bind`` or ``connect`` that is short enough, whatever the length of ``path``.

    :raises StateUnusable: when the path is too long and the system has no ``/proc`` to shorten it with.
    """
    if len(os.fsencode(path)) <= SOCKET_PATH_LIMIT:
        yield str(path)
        return
    directory = os.open(path.parent, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        short = Path("/proc/self/fd", str(directory), path.name)
        if not short.parent.exists() or len(os.fsencode(short)) > SOCKET_PATH_LIMIT:
            raise StateUnusable(
                f"the path {path} is too long for a Unix socket", hint="Set THV_HOME to a shorter path."
            )
        yield str(short)
    finally:
        os.close(directory)


def _take(descriptor: int, path: Path, timeout: float) -> None:
    deadline = time.monotonic() + timeout
    while True:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            if error.errno not in (errno.EWOULDBLOCK, errno.EINTR):
                raise
        else:
            return
        if time.monotonic() >= deadline:
            raise TimedOut(
                f"another process kept {path} locked for {timeout:g} s", hint="Try again when the other has finished."
            )
        time.sleep(POLL)


def _clear(path: Path) -> None:
    try:
        kind = path.lstat().st_mode
    except FileNotFoundError:
        return
    if not stat.S_ISSOCK(kind):
        raise StateUnusable(f"{path} is not a socket", hint="See what it is, and move it away.")
    path.unlink(missing_ok=True)


def _sync_directory(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
