"""A state that an older version wrote is brought to the present one."""

from __future__ import annotations

import sqlite3
import subprocess
import sys
from contextlib import closing
from pathlib import Path
from typing import Any

import msgspec
import pytest

from thv_core.errors import ThvError
from thv_core.model.group import Group
from thv_core.model.run_config import RunConfig
from thv_core.model.status import Desired, Status
from thv_core.model.workload import SeatLife, Workload
from thv_core.state.migrations import SCHEMA, migrate
from thv_core.state.store import StateStore

VERSION_1 = """
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
);
CREATE INDEX workloads_by_request ON workloads (request_id);
CREATE TABLE counters (name TEXT PRIMARY KEY, value INTEGER NOT NULL);
INSERT INTO counters VALUES ('generation', 41);
PRAGMA user_version = 1;
"""
INSERT = "INSERT INTO workloads VALUES (?, 'r1', 'running', 'running', '', 41, 0, 2, 19001, 1.5, 2.5, ?)"


def written(path: Path, configs: dict[str, bytes]) -> Path:
    """Write a state as version 1 did."""
    with closing(sqlite3.connect(path)) as connection, connection:
        connection.executescript(VERSION_1)
        connection.executemany(INSERT, list(configs.items()))
    return path


def test_a_state_of_version_1_keeps_its_workloads_and_its_count_of_lives(tmp_path: Path) -> None:
    configs = {
        "time": b'{"name":"time","image":"uvx://t@1","port":19001,"env_vars":{"A":"1"}}',
        "search": b'{"name":"search","image":"uvx://s@1","port":19001,"group":"My Team","env_vars":{}}',
        "other": b'{"name":"other","image":"uvx://s@1","port":19001,"group":"My Team","env_vars":{}}',
    }
    store = StateStore(written(tmp_path / "state.db", configs))
    assert store.get("time") == Workload(
        name="time",
        config=RunConfig(name="time", image="uvx://t@1", port=19001, env_vars={"A": "1"}),
        request_id="r1",
        desired=Desired.RUNNING,
        status=Status.RUNNING,
        generation=41,
        provisional=False,
        restarts=2,
        created_at=1.5,
        started_at=2.5,
    )
    assert store.groups() == [Group(name="default"), Group(name="My Team")]
    assert store.next_generation() == 42
    store.close()
    with closing(sqlite3.connect(tmp_path / "state.db")) as connection:
        assert connection.execute("PRAGMA user_version").fetchone() == (SCHEMA,)
        rows = dict(connection.execute("SELECT name, config FROM workloads").fetchall())
    assert rows == configs, "no configuration was written anew"


def test_a_state_of_version_2_keeps_its_workloads_and_the_change_under_way(tmp_path: Path) -> None:
    path = written(tmp_path / "state.db", {"time": b'{"name":"time","image":"uvx://t@1","port":19001}'})
    with closing(sqlite3.connect(path)) as connection, connection:
        connection.executescript("""
            ALTER TABLE workloads ADD COLUMN successor BLOB;
            ALTER TABLE workloads ADD COLUMN setback TEXT NOT NULL DEFAULT '';
            CREATE TABLE groups (name TEXT PRIMARY KEY, created_at REAL NOT NULL);
            INSERT INTO groups VALUES ('team', 3.5);
            PRAGMA user_version = 2;
        """)
        following = b'{"config":{"name":"time","image":"uvx://t@2","port":19001},"generation":41,"request_id":"r2",'
        following += b'"kind":"beside","phase":"starting"}'
        connection.execute("UPDATE workloads SET successor = ?, setback = 'it failed'", (following,))
    store = StateStore(path)
    workload = store.get("time")
    assert (workload.seats, workload.setback, [each.name for each in store.groups()]) == (
        (),
        "it failed",
        ["default", "team"],
    )
    assert workload.successor is not None
    assert workload.successor.config.image == "uvx://t@2"
    seated = msgspec.structs.replace(workload, seats=(SeatLife(seat="a", generation=42, beside=41),))
    store.replace(seated)
    assert store.get("time") == seated
    store.close()


@pytest.mark.parametrize("seats", [b'[{"seat":"a","chair":1}]', b"[", b"{}"])
def test_seats_that_cannot_be_understood_are_said(tmp_path: Path, seats: bytes) -> None:
    path = written(tmp_path / "state.db", {"time": b'{"name":"time","image":"uvx://t@1","port":19001}'})
    StateStore(path).close()
    with closing(sqlite3.connect(path)) as connection, connection:
        connection.execute("UPDATE workloads SET seats = ?", (seats,))
    store = StateStore(path)
    with pytest.raises(ThvError, match="time"):
        store.get("time")
    store.close()


@pytest.mark.parametrize("configs", [{}, {"broken": b"{not json"}])
def test_what_cannot_be_understood_does_not_hinder_the_migration(tmp_path: Path, configs: dict[str, bytes]) -> None:
    store = StateStore(written(tmp_path / "state.db", configs))
    assert (store.names(), store.groups()) == (list(configs), [Group(name="default")])
    store.close()


def test_a_migration_happens_once(tmp_path: Path) -> None:
    path = written(tmp_path / "state.db", {})
    StateStore(path).close()
    before = path.read_bytes()
    StateStore(path).close()
    assert path.read_bytes() == before


class Full(sqlite3.Connection):
    """A connection whose disk is full when it commits, and that has rolled back by itself then."""

    def execute(self, sql: str, /, *parameters: Any) -> sqlite3.Cursor:
        if sql == "COMMIT":
            super().execute("ROLLBACK")
            raise sqlite3.OperationalError("database or disk is full")
        return super().execute(sql, *parameters)


def test_a_full_disk_that_has_rolled_back_by_itself_is_what_is_told(tmp_path: Path) -> None:
    path = tmp_path / "state.db"
    with (
        closing(sqlite3.connect(path, isolation_level=None, factory=Full)) as connection,
        pytest.raises(sqlite3.OperationalError, match="disk is full"),
    ):
        migrate(connection, path)


LIMITED = """
import pathlib, resource, sys
from thv_core.errors import StateUnusable
from thv_core.state.store import StateStore

most = resource.getrlimit(resource.RLIMIT_FSIZE)[1]
resource.setrlimit(resource.RLIMIT_FSIZE, (int(sys.argv[2]), most))
try:
    StateStore(pathlib.Path(sys.argv[1])).close()
except StateUnusable as error:
    print(error.hint)
"""


def test_a_disk_that_is_full_during_a_migration_is_told_as_that_and_it_goes_on_afterwards(tmp_path: Path) -> None:
    path = written(tmp_path / "state.db", {"time": b'{"name":"time","image":"uvx://t@1","group":"team"}'})
    with closing(sqlite3.connect(path)) as connection:
        connection.execute("PRAGMA journal_mode = WAL")
    for most in (40, 4096, 8192, 12288):
        command = [sys.executable, "-c", LIMITED, str(path), str(most)]
        told = subprocess.run(command, capture_output=True, text=True, check=True, timeout=60).stdout
        assert "no space left" in told, most
        assert "mv " not in told, "nobody should give up a state that is not damaged"
    store = StateStore(path)
    assert (store.names(), [group.name for group in store.groups()]) == (["time"], ["default", "team"])
    store.close()
