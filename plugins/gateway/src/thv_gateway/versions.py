"""The protocol revisions of the handshake era, and which one a session speaks."""

from __future__ import annotations

__all__ = ["LATEST", "LEGACY_VERSIONS", "negotiated"]

LEGACY_VERSIONS = ("2024-11-05", "2025-03-26", "2025-06-18", "2025-11-25")
LATEST = LEGACY_VERSIONS[-1]


def negotiated(asked: str, offered: str) -> str:
    """Return the revision of a session: what the client asked for if it is known and not newer than the server's."""
    return asked if asked in LEGACY_VERSIONS and asked <= offered else offered
