"""The state: workloads in SQLite, durable once a call has returned, whatever is killed afterwards."""

from __future__ import annotations

import contextlib
import os
import sqlite3
import threading
from collections.abc import Generator
from pathlib import Path
from typing import cast

import msgspec

from thv_core.errors import AlreadyExists, InvalidDocument, NotFound, StateUnusable
from thv_core.model.document import decode_document, encode_document, nearest
from thv_core.model.run_config import RunConfig
from thv_core.model.status import Desired, Status
from thv_core.model.workload import Workload
from thv_core.state.migrations import migrate

__all__ = ["StateStore"]

BUSY = 10.0
"""Seconds to wait for another process that writes."""

_COLUMNS = (
    *("name", "request_id", "desired", "status", "reason", "generation"),
    *("provisional", "restarts", "port", "created_at", "started_at", "config"),
)
_SELECT = f"SELECT {', '.join(_COLUMNS)} FROM workloads"  # noqa: S608 - the names above, nothing from outside
_INSERT = f"INSERT INTO workloads ({', '.join(_COLUMNS)}) VALUES ({', '.join('?' * len(_COLUMNS))})"  # noqa: S608 - as above
_UPDATE = f"UPDATE workloads SET {', '.join(f'{each} = ?' for each in _COLUMNS)} WHERE name = ?"  # noqa: S608 - as above

Row = tuple[object, ...]


class StateStore:
    """Workloads by name. Safe to use from any thread and from several processes.

    Every method raises :class:`StateUnusable`, naming the file, when it is damaged, was written by a newer version or
    cannot be written. The file is never deleted or repaired.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._lock = threading.Lock()
        with self._explained():
            self._connection = _opened(path)
        try:
            with self._explained():
                migrate(self._connection, path)
        except BaseException:
            self._connection.close()
            raise

    def add(self, workload: Workload) -> None:
        """Remember a new workload.

        :raises AlreadyExists: when there is one of that name.
        """
        try:
            with self._transaction() as connection:
                connection.execute(_INSERT, _row(workload))
        except sqlite3.IntegrityError:
            raise AlreadyExists(
                f"workload with name '{workload.name}' already exists",
                hint=f"Give another with --name, or remove it:  thv rm {workload.name}",
            ) from None

    def get(self, name: str) -> Workload:
        """Return the workload of a name.

        :raises NotFound: when there is none; the hint is the nearest name.
        """
        found = self._select("WHERE name = ?", name)
        if not found:
            raise self._not_found(name)
        return found[0]

    def all(self) -> list[Workload]:
        """Return every workload, by name."""
        return self._select("ORDER BY name")

    def names(self) -> list[str]:
        """Return the name of every workload, sorted."""
        with self._explained(), self._lock:
            rows: list[tuple[str]] = self._connection.execute("SELECT name FROM workloads ORDER BY name").fetchall()
        return [name for (name,) in rows]

    def replace(self, workload: Workload) -> None:
        """Replace the workload of the same name.

        :raises NotFound: when there is none; the hint is the nearest name.
        """
        with self._transaction() as connection:
            changed = connection.execute(_UPDATE, (*_row(workload), workload.name)).rowcount
        if not changed:
            raise self._not_found(workload.name)

    def remove(self, name: str) -> None:
        """Forget a workload; one that does not exist is no error."""
        with self._transaction() as connection:
            connection.execute("DELETE FROM workloads WHERE name = ?", (name,))

    def next_generation(self) -> int:
        """Return a number that was never returned before, larger than all of them."""
        with self._transaction() as connection:
            connection.execute("UPDATE counters SET value = value + 1 WHERE name = 'generation'")
            (value,) = connection.execute("SELECT value FROM counters WHERE name = 'generation'").fetchone()
        return int(value)

    def by_request(self, request_id: str) -> Workload | None:
        """Return the workload that a request started, if it is still there."""
        return next(iter(self._select("WHERE request_id = ? ORDER BY created_at DESC LIMIT 1", request_id)), None)

    def remembered_ports(self) -> dict[str, int]:
        """Return the port of each workload that has one, running or not."""
        query = "SELECT name, port FROM workloads WHERE port > 0 ORDER BY name"
        with self._explained(), self._lock:
            rows: list[tuple[str, int]] = self._connection.execute(query).fetchall()
        return dict(rows)

    def close(self) -> None:
        """Close the file; closing twice is no error."""
        with self._lock:
            self._connection.close()

    def _select(self, clause: str, *parameters: str) -> list[Workload]:
        with self._explained(), self._lock:
            rows: list[Row] = self._connection.execute(f"{_SELECT} {clause}", parameters).fetchall()
        return [self._workload(row) for row in rows]

    def _workload(self, row: Row) -> Workload:
        values = dict(zip(_COLUMNS, row, strict=True))
        config = cast("bytes", values.pop("config"))
        del values["port"]
        values["provisional"] = bool(values["provisional"])
        try:
            values["config"] = decode_document(config, RunConfig, f"{self._path}: the workload {values['name']}")
            return msgspec.convert(values, Workload)
        except (InvalidDocument, msgspec.ValidationError) as error:
            raise _unusable(self._path, str(error)) from error

    def _not_found(self, name: str) -> NotFound:
        meant = nearest(name, self.names())
        hint = f"Did you mean {meant}?" if meant else "thv list --all shows every workload."
        return NotFound(f"there is no workload named {name}", hint=hint)

    @contextlib.contextmanager
    def _transaction(self) -> Generator[sqlite3.Connection, None, None]:
        with self._explained(), self._lock:
            self._connection.execute("BEGIN IMMEDIATE")
            try:
                yield self._connection
                self._connection.execute("COMMIT")
            except BaseException:
                # A failed COMMIT may have rolled back already.
                with contextlib.suppress(sqlite3.Error):
                    self._connection.execute("ROLLBACK")
                raise

    @contextlib.contextmanager
    def _explained(self) -> Generator[None, None, None]:
        try:
            yield
        except sqlite3.IntegrityError:
            raise
        except (sqlite3.Error, OSError) as error:
            raise _unusable(self._path, str(error)) from error


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


def _row(workload: Workload) -> Row:
    values: dict[str, object] = {name: getattr(workload, name) for name in _COLUMNS if name not in ("port", "config")}
    values |= {"port": workload.config.port, "config": encode_document(workload.config)}
    values |= {"desired": Desired(workload.desired).value, "status": Status(workload.status).value}
    return tuple(values[name] for name in _COLUMNS)


def _unusable(path: Path, reason: str) -> StateUnusable:
    return StateUnusable(
        f"the state in {path} cannot be used",
        evidence=[reason],
        hint=f"It was not changed. To begin with an empty state: mv {path} {path}.old",
    )
