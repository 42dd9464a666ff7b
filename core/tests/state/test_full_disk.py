"""A state whose disk is full: nothing is lost, it is said, and afterwards it goes on."""

from __future__ import annotations

import errno
import os
import sqlite3
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import msgspec
import pytest

from thv_core.errors import StateUnusable
from thv_core.model.group import Group
from thv_core.model.run_config import RunConfig
from thv_core.model.workload import Workload
from thv_core.state import database
from thv_core.state.store import StateStore


@pytest.fixture
def store(tmp_path: Path) -> Iterator[StateStore]:
    opened = StateStore(tmp_path / "state.db")
    opened.add(workload("small", 1))
    yield opened
    opened.close()


def workload(name: str, size: int) -> Workload:
    config = RunConfig(name=name, image="uvx://x@1", env_vars={"BIG": "x" * size})
    return Workload(name=name, config=config, request_id=name)


def pages(store: StateStore, most: int) -> None:
    """Let the file grow to so many pages, 0 for as many as it has."""
    connection = store._database.connection
    (count,) = connection.execute("PRAGMA page_count").fetchone()
    connection.execute(f"PRAGMA max_page_count = {most or count}")


def test_what_does_not_fit_is_refused_and_the_store_works_again_afterwards(tmp_path: Path, store: StateStore) -> None:
    small = store.get("small")
    big = msgspec.structs.replace(small, config=workload("small", 100_000).config)
    pages(store, 0)
    for write in (lambda: store.add(workload("big", 100_000)), lambda: store.replace(big)):
        with pytest.raises(StateUnusable, match="could not be written") as caught:
            write()
        assert str(tmp_path / "state.db") in caught.value.message
        assert "no space left" in caught.value.hint
        assert "mv " not in caught.value.hint, "nobody should give up a state that is not damaged"
    assert store.all() == [small]
    store.remove("small")
    pages(store, 1_000_000)
    store.add(workload("big", 100_000))
    store.add_group(Group(name="search"))
    assert store.names() == ["big"]


LIMITED = """
import pathlib, resource, sys
from thv_core.errors import StateUnusable
from thv_core.model.run_config import RunConfig
from thv_core.model.workload import Workload
from thv_core.state.store import StateStore

store = StateStore(pathlib.Path(sys.argv[1]))
config = RunConfig(name="big", image="uvx://x@1", env_vars={"BIG": "x" * 200_000})
most = resource.getrlimit(resource.RLIMIT_FSIZE)[1]
resource.setrlimit(resource.RLIMIT_FSIZE, (64 << 10, most))
try:
    store.add(Workload(name="big", config=config, request_id="r"))
except StateUnusable as error:
    print(error.hint)
print(store.names())
resource.setrlimit(resource.RLIMIT_FSIZE, (most, most))
store.add(Workload(name="big", config=config, request_id="r"))
print(store.names())
"""


def test_a_file_that_may_not_grow_is_a_full_disk_until_it_may(tmp_path: Path, store: StateStore) -> None:
    command = [sys.executable, "-c", LIMITED, str(tmp_path / "state.db")]
    told = subprocess.run(command, capture_output=True, text=True, check=True, timeout=60).stdout.splitlines()
    assert "no space left" in told[0]
    assert told[1:] == ["['small']", "['big', 'small']"]
    assert store.names() == ["big", "small"]


def test_a_file_that_cannot_be_made_for_want_of_space_is_no_damage(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refused(*arguments: object) -> int:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(database.os, "open", refused)
    with pytest.raises(StateUnusable, match="could not be written") as caught:
        StateStore(tmp_path / "other.db")
    assert "no space left" in caught.value.hint


def test_a_state_that_another_process_keeps_is_not_called_damaged(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(database, "BUSY", 0.05)
    waiting = StateStore(tmp_path / "state.db")
    other = StateStore(tmp_path / "state.db")
    with other._database.transaction(), pytest.raises(StateUnusable, match="another process kept the state") as caught:
        waiting.add(workload("late", 1))
    assert "mv " not in caught.value.hint
    waiting.add(workload("late", 1))
    assert waiting.names() == ["late"]
    waiting.close()
    other.close()


def test_another_failure_is_not_called_a_full_disk(store: StateStore) -> None:
    store._database.connection.execute("CREATE TRIGGER odd BEFORE INSERT ON workloads BEGIN SELECT missing(); END")
    with pytest.raises(StateUnusable, match="cannot be used") as caught:
        store.add(workload("more", 1))
    assert "no space" not in caught.value.hint
    assert isinstance(caught.value.__cause__, sqlite3.OperationalError)
