"""The record on disk: JSON lines in files that are rotated, written in batches on the event loop.

The record is an audit: while it cannot be written, :attr:`Recorder.failing` is set and no new connection is made.
A connection is recorded when it ends, with the bytes that flowed: when the process is killed, the record lacks
those that were open then, and the last :data:`FLUSH` seconds.
Writers in two processes, of which one drains, get along: each line is appended by one call, and whoever finds that
the file at the path is another one opens that.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
from pathlib import Path

import msgspec

from thv_core.errors import ThvError
from thv_core.spi import EgressRecord

__all__ = ["RecordUnusable", "Recorder"]

FLUSH = 0.2
"""Seconds that a record waits for others to be written with it."""

RETRY = 1.0
BATCH = 64 * 1024
MOST_WAITING = 4 << 20
"""Bytes that wait for a disk that takes none; what comes later is lost, and nothing new begins meanwhile."""

_log = logging.getLogger(__name__)


class RecordUnusable(ThvError):
    """The record of connections cannot be written, so nothing can be reached."""


class Recorder:
    """Appends records to a file; ``limit`` is its size in bytes, ``files`` how many there are, with the rotated."""

    def __init__(self, path: Path, limit: int, files: int) -> None:
        self._path, self._limit, self._files = path, limit, files
        self._encode = msgspec.json.Encoder().encode
        self._waiting = bytearray()
        self._timer: asyncio.TimerHandle | None = None
        self._descriptor = -1
        self._lost = 0
        self.failing = False

    def open(self) -> None:
        """Open the file, so that a disk that takes none is known before anything is served.

        :raises RecordUnusable: when it cannot be opened.
        """
        try:
            self._current()
        except OSError as error:
            raise RecordUnusable(
                f"the record of connections cannot be written: {error.strerror}",
                evidence=[str(self._path)],
                hint="Make room there, or make it writable; without a record nothing is connected.",
            ) from error

    def write(self, record: EgressRecord) -> None:
        """Write a record soon."""
        if len(self._waiting) < MOST_WAITING:
            self._waiting += self._encode(record) + b"\n"
        else:
            self._lost += 1
        if len(self._waiting) >= BATCH and not self.failing:
            self.flush()
        elif self._timer is None:
            self._timer = asyncio.get_running_loop().call_later(RETRY if self.failing else FLUSH, self.flush)

    def flush(self) -> None:
        """Write now what waits."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        try:
            self._write()
        except OSError as error:
            self._fail(error)
        else:
            self._recover()

    def close(self) -> None:
        """Write what waits and close the file; a later record opens it again."""
        self.flush()
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        self._drop()

    def _fail(self, error: OSError) -> None:
        if not self.failing:
            _log.error("no new connection is made until records can be written again: %s", error)
        self.failing = True
        self._timer = asyncio.get_running_loop().call_later(RETRY, self.flush)

    def _recover(self) -> None:
        if self.failing:
            _log.warning("records are written again; %d were lost", self._lost)
        self.failing, self._lost = False, 0

    def _write(self) -> None:
        while self._waiting:
            descriptor = self._current()
            written = os.write(descriptor, self._waiting)
            del self._waiting[:written]

    def _current(self) -> int:
        """Return the descriptor of a file that is at the path and has room."""
        if self._descriptor >= 0 and not self._is_at_path():
            self._drop()
        if self._descriptor >= 0 and os.fstat(self._descriptor).st_size >= self._limit:
            self._drop()
            self._rotate()
        if self._descriptor < 0:
            self._open()
        return self._descriptor

    def _open(self) -> None:
        self._path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        flags = os.O_RDWR | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW
        self._descriptor = os.open(self._path, flags, 0o600)
        size = os.fstat(self._descriptor).st_size
        if size and os.pread(self._descriptor, 1, size - 1) != b"\n":
            # A writer was killed in the middle of a line; ours begins on a line of its own.
            os.write(self._descriptor, b"\n")

    def _rotate(self) -> None:
        for number in range(self._files - 1, 0, -1):
            older = self._path if number == 1 else self._path.with_name(f"{self._path.name}.{number - 1}")
            with contextlib.suppress(FileNotFoundError):
                older.replace(self._path.with_name(f"{self._path.name}.{number}"))

    def _is_at_path(self) -> bool:
        try:
            at_path = self._path.stat()
        except FileNotFoundError:
            return False
        ours = os.fstat(self._descriptor)
        return (ours.st_dev, ours.st_ino) == (at_path.st_dev, at_path.st_ino)

    def _drop(self) -> None:
        if self._descriptor >= 0:
            os.close(self._descriptor)
            self._descriptor = -1
