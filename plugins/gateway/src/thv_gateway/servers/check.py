"""One ping of a server, for whoever asks about its health."""

from __future__ import annotations

from dataclasses import dataclass

__all__ = ["Check"]


@dataclass(frozen=True, slots=True)
class Check:
    """When a server was last pinged, in seconds since the epoch, and after how many milliseconds it answered."""

    at: float
    milliseconds: float
