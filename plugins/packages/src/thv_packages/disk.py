"""Make and delete folders of the cache, and say what the file system refuses, in our words."""

from __future__ import annotations

import contextlib
import os
import stat
import time
from collections.abc import Generator
from pathlib import Path

from thv_core.errors import PreparationFailed

__all__ = [
    "by_descriptor",
    "disk_errors",
    "listed",
    "pinned",
    "private_folder",
    "read_bounded",
    "remove",
    "shared_folder",
    "write_whole",
]

_PRIVATE = 0o700
_SHARED = 0o777
_REMOVE_SECONDS = 300.0


@contextlib.contextmanager
def disk_errors(package: str) -> Generator[None, None, None]:
    """Turn an error of the file system into a failed preparation of ``package``.

    :raises PreparationFailed: naming the file.
    """
    try:
        yield
    except OSError as error:
        raise PreparationFailed(
            f"{package} could not be prepared: {error.strerror or error}",
            evidence=[str(error.filename)] if error.filename else (),
            hint="Check the space and the rights of the cache folder.",
        ) from error


def private_folder(folder: Path) -> None:
    """Make a folder that only its owner may enter, and what is missing above it, unless it is there.

    A cache may be deleted at any time, also while the process that uses it lives on.
    """
    if not folder.is_dir():
        private_folder(folder.parent)
        folder.mkdir(mode=_PRIVATE, exist_ok=True)


def shared_folder(folder: Path) -> Path:
    """Make a folder into which a job may write, whoever it runs as; the cache above it is private."""
    folder.mkdir(exist_ok=True)
    folder.chmod(_SHARED)
    return folder


def read_bounded(path: Path, most: int) -> bytes:
    """Read a file that a job may have written: a regular one, no link, and at most ``most`` bytes.

    :raises OSError: when it is another thing, or longer.
    """
    descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
    with os.fdopen(descriptor, "rb") as file:
        status = os.fstat(descriptor)
        if not stat.S_ISREG(status.st_mode) or status.st_size > most:
            raise OSError(None, "it is not a file of a usable size", str(path))
        return file.read(most)


@contextlib.contextmanager
def pinned(name: str, folder: int | None = None) -> Generator[int, None, None]:
    """Open a name of a folder as the very thing that it is now, whatever it is, and whatever the name becomes."""
    descriptor = os.open(name, os.O_PATH | os.O_NOFOLLOW | os.O_CLOEXEC, dir_fd=folder)
    try:
        yield descriptor
    finally:
        os.close(descriptor)


def by_descriptor(descriptor: int) -> str:
    """Return a path that leads to what a descriptor is open on, for calls that take no such descriptor."""
    return f"/proc/self/fd/{descriptor}"


@contextlib.contextmanager
def listed(descriptor: int) -> Generator[int, None, None]:
    """Open the folder that a descriptor is pinned to for listing."""
    opened = os.open(".", os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC, dir_fd=descriptor)
    try:
        yield opened
    finally:
        os.close(opened)


def write_whole(path: Path, content: bytes) -> None:
    """Write a file that is either absent, old or whole, even after a loss of power."""
    fresh = path.with_name(f".{path.name}.{os.getpid()}.{time.monotonic_ns()}")
    with fresh.open("wb") as file:
        file.write(content)
        file.flush()
        os.fsync(file.fileno())
    fresh.replace(path)
    descriptor = os.open(path.parent, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def remove(folder: Path) -> None:
    """Delete a folder and all that is in it, however deep and whatever its modes; one that is gone is no error.

    Folders within folders are moved up before they are emptied: a hostile package can nest them deeper than any
    recursion or path reaches. No link is followed, not even one that appears meanwhile: a job may have outlived its
    workshop.

    :raises OSError: when it cannot be deleted, or somebody goes on writing there for five minutes.
    """
    with contextlib.suppress(FileNotFoundError), pinned(str(folder)) as pin:
        if not stat.S_ISDIR(os.fstat(pin).st_mode):
            folder.unlink()
            return
        os.chmod(by_descriptor(pin), _PRIVATE)  # noqa: PTH101 - the path is of a descriptor
        with listed(pin) as top:
            _empty(top, folder)
        folder.rmdir()


def _empty(top: int, folder: Path) -> None:
    end = time.monotonic() + _REMOVE_SECONDS
    while inner := os.listdir(top):
        for name in inner:
            _flatten(name, top)
        if time.monotonic() > end:
            raise OSError(None, "somebody goes on writing there", str(folder))


def _flatten(name: str, top: int) -> None:
    with pinned(name, top) as pin:
        if not stat.S_ISDIR(os.fstat(pin).st_mode):
            os.unlink(name, dir_fd=top)
            return
        os.chmod(by_descriptor(pin), _PRIVATE)  # noqa: PTH101 - the path is of a descriptor
        with listed(pin) as folder:
            for number, inner in enumerate(os.listdir(folder)):  # noqa: PTH208 - a descriptor has no Path
                _lift(inner, folder, top, f".{time.monotonic_ns()}-{number}")
        os.rmdir(name, dir_fd=top)


def _lift(name: str, folder: int, top: int, fresh: str) -> None:
    """Delete a file, and move a folder up."""
    with pinned(name, folder) as pin:
        if stat.S_ISDIR(os.fstat(pin).st_mode):
            os.chmod(by_descriptor(pin), _PRIVATE)  # noqa: PTH101 - the path is of a descriptor
            os.rename(name, fresh, src_dir_fd=folder, dst_dir_fd=top)
        else:
            os.unlink(name, dir_fd=folder)
