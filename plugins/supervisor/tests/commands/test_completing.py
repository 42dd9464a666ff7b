"""Names that a shell completes; whatever fails completes nothing."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click
import pytest

from thv_core.model.group import Group
from thv_core.model.run_config import RunConfig
from thv_core.model.status import Desired
from thv_core.model.workload import Workload
from thv_core.state.paths import Paths
from thv_core.state.store import StateStore
from thv_supervisor.commands.completing import (
    group_names,
    label_words,
    log_names,
    running_names,
    runtime_names,
    workload_names,
)
from thv_supervisor.commands.logs import logs


def names(incomplete: str = "", complete: Any = workload_names) -> list[str]:
    found: list[str] = complete(click.Context(logs), logs.params[0], incomplete)
    return found


@pytest.fixture
def home(paths: Paths, environment: dict[str, str], monkeypatch: pytest.MonkeyPatch) -> Paths:
    monkeypatch.setenv("THV_HOME", environment["THV_HOME"])
    return paths


def test_names_that_begin_so_are_completed_in_order(home: Paths) -> None:
    store = StateStore(home.database)
    for name in ("b2", "a", "b1"):
        store.add(Workload(name=name, config=RunConfig(name=name, image="x://x@1"), request_id=name))
    assert names() == ["a", "b1", "b2"]
    store.close()
    assert names("b") == ["b1", "b2"]
    assert names("c") == []


def test_groups_labels_and_what_runs_are_completed(home: Paths) -> None:
    store = StateStore(home.database)
    store.add_group(Group(name="team"))
    for name, desired in (("a", Desired.RUNNING), ("b", Desired.STOPPED)):
        config = RunConfig(name=name, image="x://x@1", group="team", container_labels={"team": "search", name: "1"})
        store.add(Workload(name=name, config=config, request_id=name, desired=desired))
    store.close()
    assert names("", group_names) == ["default", "team"]
    assert names("t", group_names) == ["team"]
    assert names("", label_words) == ["a=1", "b=1", "team=search"]
    assert names("team", label_words) == ["team=search"]
    assert names("", running_names) == ["a"]
    assert names("", log_names) == ["a", "b", "prune"]
    assert names("pr", log_names) == ["prune"]


def test_without_a_state_there_is_the_default_group_and_no_label(home: Paths) -> None:
    assert (names("", group_names), names("", label_words), names("", running_names)) == (["default"], [], [])
    assert not home.database.exists()


def test_completing_makes_no_file(home: Paths) -> None:
    StateStore(home.database).close()
    before = {each.name: each.stat().st_mtime_ns for each in home.state.iterdir()}
    assert names("", group_names) == ["default"]
    assert {each.name: each.stat().st_mtime_ns for each in home.state.iterdir()} == before


def test_installed_runtimes_are_completed() -> None:
    assert "sandbox" in names("sand", runtime_names)
    assert names("nope", runtime_names) == []


def test_without_a_state_nothing_is_completed_and_nothing_is_made(home: Paths) -> None:
    assert names() == []
    assert not home.database.exists()


def test_a_damaged_state_completes_nothing(home: Paths) -> None:
    home.database.write_bytes(b"nonsense " * 1000)
    assert names() == []


def test_a_home_that_is_none_completes_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("THV_HOME", "relative")
    assert names() == []


def test_a_home_with_odd_characters_completes_too(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    home = tmp_path / "a?b#c%20"
    monkeypatch.setenv("THV_HOME", str(home))
    paths = Paths.from_environment({"THV_HOME": str(home)}, "linux")
    paths.ensure()
    store = StateStore(paths.database)
    store.add(Workload(name="a", config=RunConfig(name="a", image="x://x@1"), request_id="a"))
    store.close()
    assert names() == ["a"]
