"""The log of a deployment: an append-only file that is read in whole lines and kept from growing without bound."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from io import FileIO
from pathlib import Path
from typing import BinaryIO

from thv_sandbox.instances import DeploymentFiles

__all__ = ["LOG_LIMIT", "last_lines", "log_chunks", "shorten"]

LOG_LIMIT = 16 * 1024 * 1024
"""The size in bytes at which the log is moved aside; one older part is kept."""

_BLOCK = 64 * 1024
_LONGEST_LINE = 1024 * 1024
_INTERVAL = 0.1


def shorten(files: DeploymentFiles, limit: int = LOG_LIMIT) -> None:
    """Move the log aside once it is longer than ``limit`` bytes; what is written in that instant is lost.

    Of a log that outgrew even twice the limit since the last look, only so much of its end is kept. No more is copied
    than there was at first: a server may write faster than that.
    """
    with suppress(OSError):
        size = files.log.stat().st_size
        if size > limit:
            files.reclaim()
            files.older_log.touch(mode=0o600)
            with files.log.open("rb") as log, files.older_log.open("wb") as older:
                log.seek(size - limit if size > 2 * limit else 0)
                _copy(log, older, size - log.tell())
            os.truncate(files.log, 0)


def _copy(source: BinaryIO, target: BinaryIO, count: int) -> None:
    while count > 0 and (block := source.read(min(_BLOCK, count))):
        target.write(block)
        count -= len(block)


def last_lines(path: Path, count: int) -> list[str]:
    """Return the last lines of a log as text, for an error's evidence; no log is no lines."""
    with suppress(FileNotFoundError), FileIO(path) as file:
        file.seek(_tail_offset(file, count))
        return file.read(_LONGEST_LINE).decode("utf-8", "replace").splitlines()[-count:]
    return []


def log_chunks(files: DeploymentFiles, tail: int | None, running: Callable[[], bool]) -> Iterator[bytes]:
    """Yield the log in chunks of whole lines, oldest first, until ``running`` says no and all is read.

    :param tail: only the last so many lines.
    :param running: asked before each look; while it holds, an empty chunk means nothing new yet.
    :raises FileNotFoundError: at once, when there is no log.
    """
    return _chunks(FileIO(files.log), files.older_log, tail, running)


def _chunks(file: FileIO, older: Path, tail: int | None, running: Callable[[], bool]) -> Iterator[bytes]:
    with file:
        if tail is None:
            yield from _whole(older)
        else:
            file.seek(_tail_offset(file, tail))
        reader = _LineReader(file)
        while True:
            ended = not running()
            chunk = reader.read()
            if chunk:
                yield chunk
            elif ended:
                break
            else:
                yield b""
                time.sleep(_INTERVAL)
        if reader.unfinished:
            yield reader.unfinished


def _whole(path: Path) -> Iterator[bytes]:
    with suppress(FileNotFoundError), FileIO(path) as file:
        reader = _LineReader(file)
        while chunk := reader.read():
            yield chunk
        if reader.unfinished:
            yield reader.unfinished + b"\n"


def _tail_offset(file: FileIO, count: int) -> int:
    """Return where the last ``count`` lines begin, reading no more than they take."""
    end = position = file.seek(0, os.SEEK_END)
    if count <= 0:
        return end
    # The newline that ends the last line begins no further one.
    wanted = count + (1 if end and os.pread(file.fileno(), 1, end - 1) == b"\n" else 0)
    while position > 0:
        step = min(_BLOCK, position)
        position -= step
        block = os.pread(file.fileno(), step, position)
        starts = [index + 1 for index, byte in enumerate(block) if byte == 0x0A]
        if len(starts) >= wanted:
            return position + starts[-wanted]
        wanted -= len(starts)
    return 0


class _LineReader:
    """Reads a growing file in whole lines; a file that shrank was moved aside and is read from its start."""

    def __init__(self, file: FileIO) -> None:
        self._file = file
        self.unfinished = b""

    def read(self) -> bytes:
        """Return the next whole lines, or nothing when there are none yet; a line without end is cut."""
        if os.fstat(self._file.fileno()).st_size < self._file.tell():
            self._file.seek(0)
        while block := self._file.read(_BLOCK):
            found = self.unfinished + block
            cut = found.rfind(b"\n") + 1 or (len(found) if len(found) >= _LONGEST_LINE else 0)
            self.unfinished = found[cut:]
            if cut:
                return found[:cut]
        return b""
