"""The protocol revisions, the two eras that they belong to, and which one a session speaks."""

from __future__ import annotations

from enum import StrEnum

__all__ = ["LATEST", "LEGACY_VERSIONS", "MODERN_VERSIONS", "Era", "negotiated"]


class Era(StrEnum):
    """Handshake and sessions up to 2025-11-25, or every request on its own since 2026-07-28."""

    LEGACY = "legacy"
    MODERN = "modern"


LEGACY_VERSIONS = ("2024-11-05", "2025-03-26", "2025-06-18", "2025-11-25")
LATEST = LEGACY_VERSIONS[-1]
MODERN_VERSIONS = ("2026-07-28",)


def negotiated(asked: str, offered: str) -> str:
    """Return the revision of a session: what the client asked for if it is known and not newer than the server's."""
    return asked if asked in LEGACY_VERSIONS and asked <= offered else offered
