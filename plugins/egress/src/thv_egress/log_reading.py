"""Reading the record in another process, while it is written and rotated.

Whoever follows keeps the file open: what is renamed meanwhile is read to its end, and then the file that came after it,
which is found by its place in the order of the files that exist.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO

import msgspec

from thv_core.spi import EgressRecord

__all__ = ["read_records"]

CHUNK = 256 * 1024
LONGEST_LINE = 4 << 20


def read_records(path: Path, files: int, workload: str, *, follow: bool) -> Iterator[list[EgressRecord]]:
    """Yield the records of the rotated files and of ``path``, oldest first; empty lists when there is nothing new.

    :param workload: only the records of this one; empty for all.
    :param follow: go on for ever.
    """
    decoder = msgspec.json.Decoder(EgressRecord)
    pages = _following(path, files) if follow else _existing(path, files)
    for lines in pages:
        found = [record for line in lines if (record := _decoded(decoder, line)) is not None]
        wanted = [record for record in found if not workload or record.workload == workload]
        if wanted or (follow and not lines):
            yield wanted


def _existing(path: Path, files: int) -> Iterator[list[bytes]]:
    with contextlib.ExitStack() as stack:
        for file in [stack.enter_context(each) for each in _opened(path, files)]:
            yield from _Lines(file).pages()


def _following(path: Path, files: int) -> Iterator[list[bytes]]:
    current: _Lines | None = None
    try:
        while True:
            # Asked before reading: what was written until the file was renamed is then read to its end.
            superseded = current is None or not _lies_at(current.file, path)
            if current is not None:
                yield from current.pages()
            following = _after(current.file if current else None, path, files) if superseded else None
            if following is None:
                yield []
                continue
            if current is not None:
                current.file.close()
            current = _Lines(following)
    finally:
        if current is not None:
            current.file.close()


class _Lines:
    """The whole lines of a growing file, in pages."""

    def __init__(self, file: BinaryIO) -> None:
        self.file = file
        self._rest = b""

    def pages(self) -> Iterator[list[bytes]]:
        """Yield what can be read now; what follows the last line feed waits for the next call."""
        while chunk := self.file.read(CHUNK):
            *lines, self._rest = (self._rest + chunk).split(b"\n")
            if len(self._rest) > LONGEST_LINE:
                self._rest = b""
            if lines:
                yield lines


def _opened(path: Path, files: int) -> list[BinaryIO]:
    """Open what exists, oldest first; a rotation meanwhile makes one file appear twice, and none disappear."""
    opened: dict[tuple[int, int], BinaryIO] = {}
    for number in range(files):
        try:
            file = (path if not number else path.with_name(f"{path.name}.{number}")).open("rb", buffering=0)
        except FileNotFoundError:
            continue
        if (key := _identity(os.fstat(file.fileno()))) in opened:
            file.close()
        else:
            opened[key] = file
    return list(reversed(opened.values()))


def _after(current: BinaryIO | None, path: Path, files: int) -> BinaryIO | None:
    """Return the file after ``current``, the oldest when it is none or no longer exists."""
    opened = _opened(path, files)
    known = [_identity(os.fstat(file.fileno())) for file in opened]
    ours = _identity(os.fstat(current.fileno())) if current is not None else None
    at = known.index(ours) + 1 if ours in known else 0
    for number, file in enumerate(opened):
        if number != at:
            file.close()
    return opened[at] if at < len(opened) else None


def _lies_at(file: BinaryIO, path: Path) -> bool:
    try:
        return _identity(path.stat()) == _identity(os.fstat(file.fileno()))
    except FileNotFoundError:
        return False


def _identity(status: os.stat_result) -> tuple[int, int]:
    return status.st_dev, status.st_ino


def _decoded(decoder: msgspec.json.Decoder[EgressRecord], line: bytes) -> EgressRecord | None:
    """Decode a line, or return ``None`` for one that is torn or of another version."""
    try:
        return decoder.decode(line)
    except (msgspec.DecodeError, UnicodeDecodeError):
        return None
