"""Where gateways keep together what one of them alone keeps in its memory: the seam, and one for a single process."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Protocol

__all__ = ["MemoryStore", "SessionStore", "StoreUnavailable"]

MAX_RECORDS = 100_000


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


class MemoryStore:
    """Keeps :data:`MAX_RECORDS` records in this process; those that were put first go first."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._key = b""
        self._records: dict[str, tuple[bytes, float]] = {}

    async def key(self, own: bytes) -> bytes:
        """See :meth:`SessionStore.key`."""
        self._key = self._key or own
        return self._key

    async def put(self, name: str, record: bytes, seconds: float) -> None:
        """See :meth:`SessionStore.put`."""
        self._records.pop(name, None)
        while len(self._records) >= MAX_RECORDS:
            del self._records[next(iter(self._records))]
        self._records[name] = record, self._clock() + seconds

    async def get(self, name: str, seconds: float) -> bytes | None:
        """See :meth:`SessionStore.get`."""
        record, ends = self._records.pop(name, (b"", 0.0))
        if ends <= self._clock():
            return None
        self._records[name] = record, self._clock() + seconds
        return record

    async def remove(self, name: str) -> None:
        """See :meth:`SessionStore.remove`."""
        self._records.pop(name, None)

    async def close(self) -> None:
        """Do nothing."""
