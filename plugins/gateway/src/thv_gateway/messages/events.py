"""Read server-sent events piece by piece (WHATWG HTML, server-sent events), and write them."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

__all__ = ["MAX_EVENT", "Event", "EventReader", "TooLong", "written"]

MAX_EVENT = 32 * 1024 * 1024
MAX_LINES = 100_000


class TooLong(Exception):
    """An event has more than :data:`MAX_EVENT` bytes, or :data:`MAX_LINES` lines."""


@dataclass(frozen=True, slots=True)
class Event:
    """One event; ``fields`` are its lines other than ``data`` (``id: 5``), ``data`` is its data joined by newlines.

    A block of comments alone has neither.
    """

    fields: tuple[bytes, ...]
    data: bytes


class EventReader:
    """Cuts a stream into events, whatever pieces it comes in."""

    def __init__(self) -> None:
        self._held = bytearray()

    def feed(self, piece: bytes) -> Iterator[Event]:
        """Yield the events that ``piece`` completes; all of them have to be taken.

        :raises TooLong: when an event does not end.
        """
        if b"\r" in piece or self._held.endswith(b"\r"):
            piece = self._with_newlines(piece)
        seen = max(0, len(self._held) - 1)
        self._held += piece
        if self._held.find(b"\n\n", seen) < 0:
            if len(self._held) > MAX_EVENT:
                raise TooLong
            return
        *blocks, rest = bytes(self._held).split(b"\n\n")
        self._held = bytearray(rest)
        for block in blocks:
            if block:
                yield _event(block)

    def _with_newlines(self, piece: bytes) -> bytes:
        """Turn every line end into a newline; a carriage return at the very end is held back until more comes."""
        if self._held.endswith(b"\r"):
            piece = b"\r" + piece
            del self._held[-1:]
        last = b"\r" if piece.endswith(b"\r") else b""
        return piece[: len(piece) - len(last)].replace(b"\r\n", b"\n").replace(b"\r", b"\n") + last


def written(event: Event, data: bytes) -> bytes:
    """Return an event with other data, in which there is no line break."""
    lines = b"".join([field + b"\r\n" for field in event.fields])
    return lines + b"data: " + data + b"\r\n\r\n"


def _event(block: bytes) -> Event:
    if block.count(b"\n") > MAX_LINES:
        raise TooLong
    fields: list[bytes] = []
    data: list[bytes] = []
    for line in block.removeprefix(b"\xef\xbb\xbf").split(b"\n"):
        name, _, value = line.partition(b":")
        if name == b"data":
            data.append(value.removeprefix(b" "))
        elif name in (b"id", b"event", b"retry"):
            fields.append(line)
    return Event(tuple(fields), b"\n".join(data))
