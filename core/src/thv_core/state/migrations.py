"""The schema of the state and the steps from each version of it to the next."""

from __future__ import annotations

import contextlib
import sqlite3
from pathlib import Path

from thv_core.errors import StateUnusable

__all__ = ["SCHEMA", "migrate"]

_MIGRATIONS: tuple[tuple[str, ...], ...] = (
    (
        """
        CREATE TABLE workloads (
            name TEXT PRIMARY KEY,
            request_id TEXT NOT NULL,
            desired TEXT NOT NULL,
            status TEXT NOT NULL,
            reason TEXT NOT NULL,
            generation INTEGER NOT NULL,
            provisional INTEGER NOT NULL,
            restarts INTEGER NOT NULL,
            port INTEGER NOT NULL,
            created_at REAL NOT NULL,
            started_at REAL NOT NULL,
            config BLOB NOT NULL
        )
        """,
        "CREATE INDEX workloads_by_request ON workloads (request_id)",
        "CREATE TABLE counters (name TEXT PRIMARY KEY, value INTEGER NOT NULL)",
        # Not from 0: the servers of a former database that was lost must not be mistaken for ours.
        "INSERT INTO counters VALUES ('generation', CAST(strftime('%s', 'now') AS INTEGER))",
    ),
    (
        "ALTER TABLE workloads ADD COLUMN successor BLOB",
        "ALTER TABLE workloads ADD COLUMN setback TEXT NOT NULL DEFAULT ''",
        "CREATE TABLE groups (name TEXT PRIMARY KEY, created_at REAL NOT NULL)",
        # Version 1 let a configuration name any group.
        """
        INSERT INTO groups
        SELECT DISTINCT json_extract(CAST(config AS TEXT), '$.group'), 0 FROM workloads
        WHERE CASE WHEN json_valid(CAST(config AS TEXT))
            THEN json_extract(CAST(config AS TEXT), '$.group') NOT IN ('', 'default') END
        """,
    ),
    ("ALTER TABLE workloads ADD COLUMN seats BLOB NOT NULL DEFAULT '[]'",),
)
"""Statements by version; a released step is never edited."""

SCHEMA = len(_MIGRATIONS)
"""The version of the schema that this code reads and writes."""


def migrate(connection: sqlite3.Connection, path: Path) -> None:
    """Bring a database to :data:`SCHEMA` in one transaction; another process may be doing the same.

    :raises StateUnusable: when a newer version wrote it.
    """
    if _version(connection) == SCHEMA:
        return
    connection.execute("BEGIN IMMEDIATE")
    try:
        version = _version(connection)
        if version > SCHEMA:
            raise StateUnusable(
                f"the state in {path} was written by a newer version of thv",
                evidence=[f"its schema is {version}, and this version knows {SCHEMA}"],
                hint="Run it with the newer version of thv, or set THV_HOME to another place.",
            )
        for step in _MIGRATIONS[version:]:
            for statement in step:
                connection.execute(statement)
        connection.execute(f"PRAGMA user_version = {SCHEMA}")
        connection.execute("COMMIT")
    except BaseException:
        # A full disk has rolled back already, and that must not be what is told.
        with contextlib.suppress(sqlite3.Error):
            connection.execute("ROLLBACK")
        raise


def _version(connection: sqlite3.Connection) -> int:
    (version,) = connection.execute("PRAGMA user_version").fetchone()
    return int(version)
