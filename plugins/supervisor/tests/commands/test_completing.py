"""Names that a shell completes; whatever fails completes nothing."""

from __future__ import annotations

from pathlib import Path

import click
import pytest

from thv_core.model.run_config import RunConfig
from thv_core.model.workload import Workload
from thv_core.state.paths import Paths
from thv_core.state.store import StateStore
from thv_supervisor.commands.completing import workload_names
from thv_supervisor.commands.logs import logs


def names(incomplete: str = "") -> list[str]:
    return workload_names(click.Context(logs), logs.params[0], incomplete)


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
