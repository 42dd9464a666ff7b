"""One SQLite file: opened carefully, written in transactions, and every failure of it explained."""

from __future__ import annotations

import contextlib
import errno
import os
import sqlite3
import threading
from collections.abc import Generator
from pathlib import Path

from thv_core.errors import StateUnusable
from thv_core.state.migrations import migrate

__all__ = ["Database", "Row"]

BUSY = 10.0
"""Seconds to wait for another process that writes."""

Row = tuple[object, ...]

_PRIMARY = 0xFF
"""The bits of an extended result code that say the kind of error (https://sqlite.org/rescode.html)."""

_NO_SPACE = frozenset({errno.ENOSPC, errno.EDQUOT, errno.EIO})


class Database:
    """The state's file. Safe to use from any thread and from several processes.

    Every method raises :class:`StateUnusable`, naming the file, when it is damaged, was written by a newer version or
    cannot be written; ``sqlite3.IntegrityError`` passes through. The file is never deleted or repaired, and a
    transaction that failed for want of space leaves everything as it was: the next one may succeed.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self._lock = threading.Lock()
        with self._explained():
            self.connection = _opened(path)
        try:
            with self._explained():
                migrate(self.connection, path)
        except BaseException:
            self.connection.close()
            raise

    @contextlib.contextmanager
    def transaction(self) -> Generator[sqlite3.Connection, None, None]:
        """Run the block as one transaction, which no other writer interleaves; if it raises, nothing is changed."""
        with self._explained(), self._lock:
            self.connection.execute("BEGIN IMMEDIATE")
            try:
                yield self.connection
                self.connection.execute("COMMIT")
            except BaseException:
                # A failed COMMIT may have rolled back already.
                with contextlib.suppress(sqlite3.Error):
                    self.connection.execute("ROLLBACK")
                raise

    def query(self, statement: str, *parameters: object) -> list[Row]:
        """Return the rows of a ``SELECT``."""
        with self._explained(), self._lock:
            return self.connection.execute(statement, parameters).fetchall()

    def close(self) -> None:
        """Close the file; closing twice is no error."""
        with self._lock:
            self.connection.close()

    def damaged(self, reason: str) -> StateUnusable:
        """Return the error that says the file cannot be used."""
        return StateUnusable(
            f"the state in {self.path} cannot be used",
            evidence=[reason],
            hint=f"It was not changed. To begin with an empty state: mv {self.path} {self.path}.old",
        )

    @contextlib.contextmanager
    def _explained(self) -> Generator[None, None, None]:
        try:
            yield
        except sqlite3.IntegrityError:
            raise
        except (sqlite3.Error, OSError) as error:
            explain = _EXPLAINED.get(_kind(error))
            raise (explain(self.path, str(error)) if explain else self.damaged(str(error))) from error


def _opened(path: Path) -> sqlite3.Connection:
    # SQLite would make the file readable for others; its journal files inherit the mode.
    os.close(os.open(path, os.O_CREAT | os.O_RDWR | os.O_CLOEXEC, 0o600))
    connection = sqlite3.connect(path, timeout=BUSY, isolation_level=None, check_same_thread=False)
    try:
        connection.execute("PRAGMA journal_mode = WAL")
        connection.execute("PRAGMA synchronous = FULL")
        (verdict,) = connection.execute("PRAGMA quick_check(1)").fetchone()
        if verdict != "ok":
            raise sqlite3.DatabaseError(str(verdict))
    except BaseException:
        connection.close()
        raise
    return connection


def _kind(error: sqlite3.Error | OSError) -> int:
    """Return the primary result code of SQLite that an error amounts to, 0 for none."""
    if isinstance(error, OSError):
        return sqlite3.SQLITE_FULL if error.errno in _NO_SPACE else 0
    # Errors of the module itself, such as that of a closed connection, have no code.
    return getattr(error, "sqlite_errorcode", 0) & _PRIMARY


def _unwritten(path: Path, reason: str) -> StateUnusable:
    return StateUnusable(
        f"the state in {path} could not be written or read",
        evidence=[reason],
        hint=f"There is no space left below {path.parent}, or its disk fails. Nothing was changed: make room, "
        "and try again.",
    )


def _occupied(path: Path, reason: str) -> StateUnusable:
    return StateUnusable(
        f"another process kept the state in {path} for {BUSY:g} s",
        evidence=[reason],
        hint="Nothing was changed: try again when the other has finished.",
    )


_EXPLAINED = {
    sqlite3.SQLITE_BUSY: _occupied,
    sqlite3.SQLITE_FULL: _unwritten,
    sqlite3.SQLITE_IOERR: _unwritten,
}
