"""Where gateways keep together what one of them alone keeps in its memory: the seam."""

from __future__ import annotations

from typing import Protocol

__all__ = ["MAX_RECORDS", "SessionStore", "StoreUnavailable"]

MAX_RECORDS = 100_000
"""So many are kept by a store that has a bound of its own."""


class StoreUnavailable(Exception):
    """The store does not answer, or not in time; the text says why, without any secret."""


class SessionStore(Protocol):
    """Records with a time to live, by name. Every method raises :class:`StoreUnavailable`."""

    async def key(self, own: bytes) -> bytes:
        """Return the key with which every gateway signs: the one that is kept, or ``own``, which is kept from now."""
        ...

    async def put(self, name: str, record: bytes, seconds: float) -> None:
        """Keep a record for so long."""
        ...

    async def get(self, name: str, seconds: float) -> bytes | None:
        """Return a record and keep it for so long from now; ``None`` when there is none, or none any more."""
        ...

    async def remove(self, name: str) -> None:
        """Forget a record."""
        ...

    async def close(self) -> None:
        """Let go of it."""
        ...
