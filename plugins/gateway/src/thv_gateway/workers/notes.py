"""What the processes of one gateway tell each other: one JSON line each, over a Unix socket of the principal."""

from __future__ import annotations

import msgspec

from thv_core.model.route import RouteReport

__all__ = ["MAX_NOTE", "WORKERS_SOCKET", "Given", "Note", "Reload", "Said", "decoded", "encoded"]

WORKERS_SOCKET = "workers.sock"

MAX_NOTE = 4 * 1024 * 1024


class Said(msgspec.Struct, frozen=True, tag="said"):
    """A worker reports on one of its routes."""

    report: RouteReport


class Reload(msgspec.Struct, frozen=True, tag="reload"):
    """The snapshot has changed."""


class Given(msgspec.Struct, frozen=True, tag="given"):
    """The values of the secrets that routes name."""

    values: dict[str, str]

    def __repr__(self) -> str:
        """Name no value."""
        return f"Given({len(self.values)} values)"


Note = Said | Reload | Given

_decoder = msgspec.json.Decoder(Note)


def decoded(line: bytes) -> Note:
    """Return the note of a line.

    :raises msgspec.DecodeError: when it is none.
    """
    note: Note = _decoder.decode(line)
    return note


def encoded(note: Note) -> bytes:
    """Return a note as a line."""
    return msgspec.json.encode(note) + b"\n"
