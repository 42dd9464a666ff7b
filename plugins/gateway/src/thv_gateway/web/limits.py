"""What one connection of a client may take: bytes, seconds, and how many there may be."""

from __future__ import annotations

from dataclasses import dataclass

__all__ = ["LIMITS", "Limits"]


@dataclass(frozen=True, slots=True)
class Limits:
    """The bounds of one listener; times are seconds, sizes bytes.

    ``head_seconds`` is the time for a whole head, ``body_seconds`` that without any progress of a body, and
    ``whole_body_seconds`` that for all of it. ``idle_seconds`` is how long a connection stays open between requests,
    ``write_seconds`` how long a client may read nothing. After an answer that it may not have read, a connection
    lingers ``linger_seconds``.
    """

    head_bytes: int = 64 * 1024
    head_seconds: float = 30.0
    body_seconds: float = 30.0
    whole_body_seconds: float = 300.0
    idle_seconds: float = 75.0
    write_seconds: float = 30.0
    linger_seconds: float = 2.0
    connections: int = 2048


LIMITS = Limits()
