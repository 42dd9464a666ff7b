"""What the processes of one gateway know together of sessions: a database beside their other files.

It survives each of them, and needs none of them to be asked. One that is broken is made anew: its sessions are lost,
and nothing else.
"""

from __future__ import annotations

import contextlib
import logging
import os
import sqlite3
import time
from collections.abc import Callable, Generator, Iterable
from pathlib import Path

from thv_gateway.sessions.store import MAX_RECORDS, StoreUnavailable

__all__ = ["COMMON_FILE", "FileStore", "forget_common", "seed_common"]

COMMON_FILE = "common.db"

_BUSY_SECONDS = 0.2
_BROKEN = frozenset({sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB})
_BESIDE = ("-wal", "-shm", "")
_ROOM = 256
"""After so many new records those that are over are cleared away."""

_SHARE = 20
"""A use is written down when it prolongs a record by more than one part in so many of its time to live."""

_TABLE = "SELECT count(*) FROM sqlite_master WHERE name = 'records'"
_SCHEMA = "CREATE TABLE IF NOT EXISTS records (name TEXT PRIMARY KEY, record BLOB NOT NULL, ends REAL NOT NULL)"
_PUT = "INSERT OR REPLACE INTO records VALUES (?, ?, ?)"
_PROLONG = "UPDATE records SET ends = ? WHERE name = ?"
_SURPLUS = "DELETE FROM records WHERE name IN (SELECT name FROM records ORDER BY ends DESC LIMIT -1 OFFSET ?)"


_logger = logging.getLogger("thv.gateway")


class FileStore:
    """See :class:`thv_gateway.sessions.store.SessionStore`; its calls take microseconds and wait for nobody long.

    :param clock: returns seconds since the epoch.
    """

    def __init__(self, path: Path, clock: Callable[[], float] = time.time) -> None:
        self._path = path
        self._clock = clock
        self._opened: sqlite3.Connection | None = None
        self._mark: tuple[int, int] | None = None
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
                # A disk that is full shortens a session; it does not refuse it.
                with contextlib.suppress(sqlite3.OperationalError):
                    database.execute(_PROLONG, (now + seconds, name))
        return bytes(row[0])

    async def remove(self, name: str) -> None:
        """See :meth:`thv_gateway.sessions.store.SessionStore.remove`."""
        with self._database() as database:
            database.execute("DELETE FROM records WHERE name = ?", (name,))

    async def close(self) -> None:
        """Close the database."""
        self._close()

    def _close(self) -> None:
        if self._opened is not None:
            self._opened.close()
            self._opened = None

    @contextlib.contextmanager
    def _database(self) -> Generator[sqlite3.Connection]:
        try:
            yield self._current()
        except sqlite3.Error as error:
            if error.sqlite_errorcode in _BROKEN:
                self._renew()
            raise StoreUnavailable(f"{self._path.name}: {error}") from None
        except OSError as error:
            raise StoreUnavailable(f"{self._path.name}: {error.strerror}") from None

    def _current(self) -> sqlite3.Connection:
        """Return the database that the other processes have as well: one of them may have made it anew."""
        mark = _mark_of(self._path)
        if self._opened is None or mark is None or mark != self._mark:
            self._close()
            self._opened = _open(self._path)
            self._mark = _mark_of(self._path)
        return self._opened

    def _renew(self) -> None:
        self._close()
        # What another process has made anew meanwhile is not the one that is broken.
        if self._mark is None or self._mark == _mark_of(self._path):
            _logger.error("%s is broken, and is made anew", self._path.name)
            forget_common(self._path)


def seed_common(path: Path, records: Iterable[tuple[str, bytes, float]]) -> None:
    """Let the first of several processes find what one alone knew; a database that is there already has its own.

    :param records: names, records and the seconds for which each of them is kept.
    """
    now = time.time()
    try:
        with contextlib.closing(_connected(path)) as database:
            database.execute("BEGIN IMMEDIATE")
            if not database.execute(_TABLE).fetchone()[0]:
                database.execute(_SCHEMA)
                database.executemany(_PUT, ((name, record, now + seconds) for name, record, seconds in records))
            database.execute("COMMIT")
    except (sqlite3.Error, OSError) as error:
        # Whoever has a session has to come again.
        _logger.error("what was known of sessions is not known to all processes: %s", error)


def forget_common(path: Path) -> None:
    """Remove a database; nobody else uses it, or it is broken."""
    for beside in _BESIDE:
        with contextlib.suppress(OSError):
            path.with_name(f"{path.name}{beside}").unlink()


def _open(path: Path) -> sqlite3.Connection:
    database = _connected(path)
    try:
        database.execute(_SCHEMA)
    except sqlite3.Error:
        database.close()
        raise
    return database


def _connected(path: Path) -> sqlite3.Connection:
    # Whoever can read it knows of sessions, though not their ids.
    os.close(os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600))
    database = sqlite3.connect(path, timeout=_BUSY_SECONDS, isolation_level=None)
    try:
        database.execute("PRAGMA journal_mode = WAL")
        # A machine that loses its power loses its sessions; a process that is killed does not.
        database.execute("PRAGMA synchronous = OFF")
    except sqlite3.Error:
        database.close()
        raise
    return database


def _mark_of(path: Path) -> tuple[int, int] | None:
    try:
        found = path.stat()
    except OSError:
        return None
    return found.st_dev, found.st_ino
