"""Write the head of an answer and the frames of its body (RFC 9112, 4 and 7.1)."""

from __future__ import annotations

import time
from collections.abc import Sequence
from functools import lru_cache
from http import HTTPStatus

__all__ = ["CONTINUE", "LAST_CHUNK", "SPLIT", "BadField", "chunk", "head"]

CONTINUE = b"HTTP/1.1 100 Continue\r\n\r\n"
LAST_CHUNK = b"0\r\n\r\n"

SPLIT = 64 * 1024
"""A body of at least this size is not joined with what precedes it, which would copy it."""

_LINES = {each.value: b"HTTP/1.1 %d %b\r\n" % (each.value, each.phrase.encode()) for each in HTTPStatus}


class BadField(ValueError):
    """A field of an answer has a line break in it, and would make two answers of one."""


class _Calendar:
    """The ``Date`` field, made once a second."""

    def __init__(self) -> None:
        self._second = 0
        self._line = b""

    def line(self) -> bytes:
        """Return the field as a line (RFC 9110, 6.6.1)."""
        second = int(time.time())
        if second != self._second:
            self._second = second
            self._line = time.strftime("date: %a, %d %b %Y %H:%M:%S GMT\r\n", time.gmtime(second)).encode()
        return self._line


_calendar = _Calendar()


def head(status: int, fields: Sequence[tuple[bytes, bytes]], more: bytes) -> bytes:
    """Return the head of an answer with these fields and ``more`` whole lines.

    :raises BadField: when a field is none.
    """
    begin = _LINES.get(status) or b"HTTP/1.1 %d Unknown\r\n" % status
    return b"%b%b%b%b\r\n" % (begin, _calendar.line(), _written(tuple(fields)), more)


@lru_cache(maxsize=64)
def _written(fields: tuple[tuple[bytes, bytes], ...]) -> bytes:
    """Return fields as lines; a server repeats most of what it says."""
    lines = b"".join([b"%b: %b\r\n" % field for field in fields])
    if lines.count(b"\n") != len(fields) or lines.count(b"\r") != len(fields):
        raise BadField("a field of the answer has a line break in it")
    return lines


def chunk(piece: bytes) -> tuple[bytes, ...]:
    """Return a piece as a chunk, in one part unless it is large."""
    if len(piece) < SPLIT:
        return (b"%x\r\n%b\r\n" % (len(piece), piece),)
    return b"%x\r\n" % len(piece), piece, b"\r\n"
