"""What the processes of one gateway know together of sessions: a database beside their other files.

It survives each of them, and needs none of them to be asked.
"""

from __future__ import annotations

import contextlib
import os
import sqlite3
import time
from collections.abc import Callable, Generator
from pathlib import Path

from thv_gateway.sessions.store import MAX_RECORDS, StoreUnavailable

__all__ = ["COMMON_FILE", "FileStore"]

COMMON_FILE = "common.db"

_BUSY_SECONDS = 1.0
_ROOM = 256
"""After so many new records those that are over are cleared away."""

_SHARE = 20
"""A use is written down when it prolongs a record by more than one part in so many of its time to live."""

_SCHEMA = "CREATE TABLE IF NOT EXISTS records (name TEXT PRIMARY KEY, record BLOB NOT NULL, ends REAL NOT NULL)"
_PUT = "INSERT OR REPLACE INTO records VALUES (?, ?, ?)"
_SURPLUS = "DELETE FROM records WHERE name IN (SELECT name FROM records ORDER BY ends DESC LIMIT -1 OFFSET ?)"


class FileStore:
    """See :class:`thv_gateway.sessions.store.SessionStore`; its calls take microseconds and wait for nobody long.

    :param clock: returns seconds since the epoch.
    """

    def __init__(self, path: Path, clock: Callable[[], float] = time.time) -> None:
        self._path = path
        self._clock = clock
        self._opened: sqlite3.Connection | None = None
        self._puts = 0

    async def key(self, own: bytes) -> bytes:
        """Return the key of this gateway: all its processes have the same."""
        return own

    async def put(self, name: str, record: bytes, seconds: float) -> None:
        """See :meth:`thv_gateway.sessions.store.SessionStore.put`."""
        now = self._clock()
        with self._database() as database:
            database.execute(_PUT, (name, record, now + seconds))
            self._puts += 1
            if self._puts % _ROOM == 1:
                database.execute("DELETE FROM records WHERE ends <= ?", (now,))
                database.execute(_SURPLUS, (MAX_RECORDS,))

    async def get(self, name: str, seconds: float) -> bytes | None:
        """See :meth:`thv_gateway.sessions.store.SessionStore.get`."""
        now = self._clock()
        with self._database() as database:
            row = database.execute("SELECT record, ends FROM records WHERE name = ?", (name,)).fetchone()
            if row is None or row[1] <= now:
                return None
            if now + seconds - row[1] > seconds / _SHARE:
                database.execute("UPDATE records SET ends = ? WHERE name = ?", (now + seconds, name))
        return bytes(row[0])

    async def remove(self, name: str) -> None:
        """See :meth:`thv_gateway.sessions.store.SessionStore.remove`."""
        with self._database() as database:
            database.execute("DELETE FROM records WHERE name = ?", (name,))

    async def close(self) -> None:
        """Close the database."""
        if self._opened is not None:
            self._opened.close()
            self._opened = None

    @contextlib.contextmanager
    def _database(self) -> Generator[sqlite3.Connection]:
        try:
            if self._opened is None:
                self._opened = _open(self._path)
            yield self._opened
        except (sqlite3.Error, OSError) as error:
            raise StoreUnavailable(f"{self._path.name}: {error}") from None


def _open(path: Path) -> sqlite3.Connection:
    # Whoever can read it knows of sessions, though not their ids.
    os.close(os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600))
    database = sqlite3.connect(path, timeout=_BUSY_SECONDS, isolation_level=None)
    database.execute("PRAGMA journal_mode = WAL")
    # A machine that loses its power loses its sessions; a process that is killed does not.
    database.execute("PRAGMA synchronous = OFF")
    database.execute(_SCHEMA)
    return database
