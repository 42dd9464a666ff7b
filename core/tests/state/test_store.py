from __future__ import annotations

import os
import sqlite3
import stat
import subprocess
import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import msgspec
import pytest

from thv_core.errors import AlreadyExists, NotFound, StateUnusable
from thv_core.model.group import Group
from thv_core.model.run_config import RunConfig
from thv_core.model.status import Desired, Status
from thv_core.model.workload import Successor, SwapKind, SwapPhase, Workload
from thv_core.state.migrations import SCHEMA
from thv_core.state.store import StateStore


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "state.db"


@pytest.fixture
def store(path: Path) -> Iterator[StateStore]:
    opened = StateStore(path)
    yield opened
    opened.close()


def workload(name: str = "time", port: int = 0, request_id: str = "r1") -> Workload:
    config = RunConfig(name=name, image="uvx://mcp-server-time@1.0", port=port, env_vars={"TZ": "UTC"})
    return Workload(name=name, config=config, request_id=request_id)


FULL = msgspec.structs.replace(
    workload("full", 19001, "r9"),
    desired=Desired.STOPPED,
    status=Status.ERROR,
    reason="it is gøne",
    generation=7,
    provisional=False,
    restarts=3,
    created_at=1.5,
    started_at=2.25,
    successor=Successor(
        config=RunConfig(name="full", image="uvx://mcp-server-time@2.0", port=19002, env_vars={"TZ": "CET"}),
        generation=8,
        request_id="r10",
        kind=SwapKind.INSTEAD,
        phase=SwapPhase.HOLDING,
        formerly=Desired.STOPPED,
        rolling_back="it was wörse",
    ),
    setback="it did not become ready",
)


@pytest.mark.parametrize("each", [workload(), FULL], ids=["defaults", "everything"])
def test_a_workload_comes_back_as_it_was(path: Path, store: StateStore, each: Workload) -> None:
    store.add(each)
    store.close()
    again = StateStore(path)
    assert again.get(each.name) == each
    again.close()


def test_a_name_is_taken_once(store: StateStore) -> None:
    store.add(workload())
    with pytest.raises(AlreadyExists, match="time"):
        store.add(workload(request_id="r2"))
    assert store.get("time").request_id == "r1"


def test_an_absent_workload_is_answered_with_the_nearest_name(store: StateStore) -> None:
    store.add(workload())
    with pytest.raises(NotFound) as caught:
        store.get("tme")
    assert caught.value.hint == "Did you mean time?"
    with pytest.raises(NotFound) as caught:
        store.get("something")
    assert "thv list" in caught.value.hint


def test_all_workloads_and_names_are_sorted(store: StateStore) -> None:
    for name in ("b", "c", "a"):
        store.add(workload(name))
    assert [each.name for each in store.all()] == store.names() == ["a", "b", "c"]


def test_a_workload_is_replaced(store: StateStore) -> None:
    store.add(workload())
    changed = msgspec.structs.replace(workload(), status=Status.RUNNING)
    store.replace(changed)
    assert store.all() == [changed]


@pytest.mark.parametrize("each", [workload(), FULL], ids=["defaults", "everything"])
def test_what_equals_what_is_there_is_not_written(path: Path, store: StateStore, each: Workload) -> None:
    store.add(each)
    journal = path.with_name("state.db-wal")
    changes, size = store._database.connection.total_changes, journal.stat().st_size
    store.replace(store.get(each.name))
    store.remove("absent")
    assert (store._database.connection.total_changes, journal.stat().st_size) == (changes, size)
    store.replace(msgspec.structs.replace(each, reason="another"))
    assert store._database.connection.total_changes == changes + 1
    assert journal.stat().st_size > size


def test_reading_writes_nothing(path: Path, store: StateStore) -> None:
    store.add(FULL)
    store.add_group(Group(name="search"))
    journal = path.with_name("state.db-wal")
    before = (store._database.connection.total_changes, journal.read_bytes(), path.read_bytes())
    readings = (store.all, store.names, store.groups, store.remembered_ports)
    assert all(reading() for reading in readings)
    assert (store.get("full"), store.by_request("r10")) == (FULL, FULL)
    assert (store._database.connection.total_changes, journal.read_bytes(), path.read_bytes()) == before


def test_what_is_absent_cannot_be_replaced(store: StateStore) -> None:
    with pytest.raises(NotFound):
        store.replace(workload())
    assert store.all() == []


def test_removing_twice_is_no_error(store: StateStore) -> None:
    store.add(workload())
    store.remove("time")
    store.remove("time")
    assert store.all() == []


def test_generations_never_repeat_even_when_workloads_are_removed(path: Path, store: StateStore) -> None:
    first = [store.next_generation() for _ in range(3)]
    store.add(msgspec.structs.replace(workload(), generation=first[-1]))
    store.remove("time")
    store.close()
    again = StateStore(path)
    assert [*first, again.next_generation()] == list(range(first[0], first[0] + 4))
    again.close()


def test_threads_never_draw_the_same_generation(store: StateStore) -> None:
    with ThreadPoolExecutor(8) as pool:
        drawn = list(pool.map(lambda _: store.next_generation(), range(100)))
    assert sorted(drawn) == list(range(min(drawn), min(drawn) + 100))


def test_two_processes_share_one_file(path: Path, store: StateStore) -> None:
    other = StateStore(path)
    with ThreadPoolExecutor(2) as pool:
        drawn = list(pool.map(lambda each: each.next_generation(), [store, other] * 25))
    other.close()
    assert sorted(drawn) == list(range(min(drawn), min(drawn) + 50))


def test_a_request_finds_its_workload(store: StateStore) -> None:
    store.add(workload("a", request_id="r1"))
    store.add(workload("b", request_id="r2"))
    found = store.by_request("r2")
    assert found is not None
    assert found.name == "b"
    assert store.by_request("r3") is None


def test_a_request_that_changes_a_workload_finds_it(store: StateStore) -> None:
    store.add(workload("a", request_id="r1"))
    store.add(FULL)
    for request_id in ("r9", "r10"):
        assert store.by_request(request_id) == FULL
    store.replace(msgspec.structs.replace(FULL, successor=None))
    assert store.by_request("r10") is None


def test_the_port_of_a_change_is_remembered_beside_that_of_the_workload(store: StateStore) -> None:
    assert FULL.successor is not None
    store.add(FULL)
    store.add(workload("plain", 19005))
    assert store.remembered_ports() == {"full": 19001, "the change of full": 19002, "plain": 19005}
    for port in (19001, 0):
        config = msgspec.structs.replace(FULL.successor.config, port=port)
        successor = msgspec.structs.replace(FULL.successor, config=config)
        store.replace(msgspec.structs.replace(FULL, successor=successor))
        assert store.remembered_ports() == {"full": 19001, "plain": 19005}


def test_ports_are_remembered_by_name_until_removal(store: StateStore) -> None:
    store.add(workload("a", 19001))
    store.add(workload("b", 19002))
    store.add(workload("none"))
    store.replace(workload("b", 19003))
    store.remove("a")
    assert store.remembered_ports() == {"b": 19003}


def test_the_files_are_private(path: Path, store: StateStore) -> None:
    store.add(workload())
    assert {stat.S_IMODE(each.stat().st_mode) for each in path.parent.iterdir()} == {0o600}


def test_the_settings_of_sqlite_are_those_that_survive_a_power_failure(store: StateStore) -> None:
    pragmas = {
        name: store._database.connection.execute(f"PRAGMA {name}").fetchone()[0]
        for name in ("journal_mode", "synchronous")
    }
    assert pragmas == {"journal_mode": "wal", "synchronous": 2}


def test_a_state_of_a_newer_version_is_refused_and_not_changed(path: Path) -> None:
    StateStore(path).close()
    with sqlite3.connect(path) as connection:
        connection.execute(f"PRAGMA user_version = {SCHEMA + 1}")
    connection.close()
    with pytest.raises(StateUnusable, match="newer version") as caught:
        StateStore(path)
    assert "THV_HOME" in caught.value.hint
    with sqlite3.connect(path) as connection:
        assert connection.execute("PRAGMA user_version").fetchone() == (SCHEMA + 1,)
    connection.close()


def test_a_migration_that_fails_changes_nothing(path: Path) -> None:
    with sqlite3.connect(path) as connection:
        connection.execute("CREATE TABLE counters (x)")
    connection.close()
    with pytest.raises(StateUnusable, match=str(path)):
        StateStore(path)
    with sqlite3.connect(path) as connection:
        assert connection.execute("SELECT name FROM sqlite_master").fetchall() == [("counters",)]
        assert connection.execute("PRAGMA user_version").fetchone() == (0,)
    connection.close()


def test_a_file_that_is_no_database_is_named_and_kept(path: Path) -> None:
    path.write_bytes(b"not a database, but precious " * 100)
    with pytest.raises(StateUnusable, match=str(path)) as caught:
        StateStore(path)
    assert f"mv {path}" in caught.value.hint
    assert path.read_bytes().startswith(b"not a database, but precious")


def test_a_damaged_page_is_found_when_the_file_is_opened(path: Path) -> None:
    store = StateStore(path)
    for number in range(200):
        store.add(workload(f"w{number}"))
    store.close()
    content = bytearray(path.read_bytes())
    content[8192:12288] = os.urandom(4096)
    path.write_bytes(content)
    with pytest.raises(StateUnusable, match=str(path)):
        StateStore(path)
    assert path.read_bytes() == bytes(content)


def test_a_directory_in_the_way_is_named(path: Path) -> None:
    path.mkdir()
    with pytest.raises(StateUnusable, match=str(path)):
        StateStore(path)


@pytest.mark.parametrize("column", ["config = x'7b7d'", "status = 'dancing'", "successor = x'7b7d'"])
def test_a_row_that_cannot_be_understood_is_named(path: Path, store: StateStore, column: str) -> None:
    store.add(workload())
    store._database.connection.execute(f"UPDATE workloads SET {column}")
    with pytest.raises(StateUnusable, match=str(path)):
        store.all()


def test_a_write_that_fails_is_rolled_back_and_the_next_one_works(path: Path, store: StateStore) -> None:
    store._database.connection.execute("CREATE TRIGGER full BEFORE INSERT ON workloads BEGIN SELECT missing(); END")
    with pytest.raises(StateUnusable):
        store.add(workload())
    store._database.connection.execute("DROP TRIGGER full")
    store.add(workload())
    assert store.names() == ["time"]


def test_a_closed_store_says_so(store: StateStore) -> None:
    store.close()
    store.close()
    with pytest.raises(StateUnusable, match="cannot be used"):
        store.all()


WRITER = """
import sys, pathlib
from thv_core.model.run_config import RunConfig
from thv_core.model.workload import Successor, SwapKind, SwapPhase, Workload
from thv_core.state.store import StateStore

store = StateStore(pathlib.Path(sys.argv[1]))
while True:
    number = store.next_generation()
    name = f"w{number}"
    store.add(Workload(name=name, config=RunConfig(name=name, image="i"), request_id=name, generation=number))
    if number % 3 == 0:
        store.remove(name)
        name = "-" + name
    print(name, flush=True)
"""


def test_a_killed_writer_loses_nothing_that_it_acknowledged(path: Path) -> None:
    acknowledged: list[str] = []
    for lines in (1, 2, 5, 9, 14, 20):
        command = [sys.executable, "-c", WRITER, str(path)]
        with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as writer:
            assert writer.stdout is not None
            acknowledged += [writer.stdout.readline().strip() for _ in range(lines)]
            writer.kill()
            acknowledged += [line.strip() for line in writer.stdout if line.endswith("\n")]
        store = StateStore(path)
        names = set(store.names())
        assert {name for name in acknowledged if not name.startswith("-")} <= names
        assert not {name[1:] for name in acknowledged if name.startswith("-")} & names
        assert store.next_generation() > max((each.generation for each in store.all()), default=0)
        store.close()
    assert len(acknowledged) == len(set(acknowledged)) >= 51
