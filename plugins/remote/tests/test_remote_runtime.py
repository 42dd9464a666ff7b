"""The runtime of servers that run somewhere else: it remembers lives, runs nothing and refuses programs."""

from __future__ import annotations

from itertools import islice
from pathlib import Path

import pytest

from thv_core.errors import NotFound, SettingsError, Unsupported
from thv_core.spi import Deployment, DeploymentPlan, ObservedState, PackageRoot, Surroundings
from thv_remote.runtime import RemoteRuntime

LIFE = Deployment(workload="linear.app", generation=7)


def plan(*command: str) -> DeploymentPlan:
    return DeploymentPlan(deployment=LIFE, command=command, root=PackageRoot(path="", command=()))


def unasked(*_: object) -> None:
    raise AssertionError("no socket is made for a server that runs somewhere else")


@pytest.fixture
def runtime(tmp_path: Path) -> RemoteRuntime:
    return RemoteRuntime.from_settings({}, Surroundings(state=tmp_path, cache=tmp_path))


def test_a_life_that_was_deployed_is_found_by_whoever_comes_back(runtime: RemoteRuntime, tmp_path: Path) -> None:
    deployed = runtime.deploy(plan(), unasked)
    assert runtime.deploy(plan(), unasked) == deployed
    again = RemoteRuntime.from_settings({}, Surroundings(state=tmp_path, cache=tmp_path))
    assert list(again.observe()) == [deployed]
    assert deployed.deployment == LIFE
    assert deployed.state is ObservedState.RUNNING
    assert not deployed.pid


def test_a_life_that_was_stopped_stays_ended_until_it_is_removed(runtime: RemoteRuntime) -> None:
    runtime.deploy(plan(), unasked)
    runtime.stop(LIFE, 5.0)
    runtime.stop(LIFE, 5.0)
    assert [each.state for each in runtime.observe()] == [ObservedState.EXITED]
    assert runtime.deploy(plan(), unasked).state is ObservedState.EXITED
    runtime.remove(LIFE)
    runtime.remove(LIFE)
    assert not runtime.observe()


def test_an_unknown_life_can_be_stopped_and_removed(runtime: RemoteRuntime) -> None:
    runtime.stop(LIFE, 0.0)
    runtime.remove(LIFE)
    assert not runtime.observe()


def test_a_program_is_refused(runtime: RemoteRuntime) -> None:
    with pytest.raises(Unsupported, match="runs no programs"):
        runtime.deploy(plan("/bin/true"), unasked)
    assert not runtime.observe()


def test_its_log_is_empty_and_ends_with_its_life(runtime: RemoteRuntime) -> None:
    with pytest.raises(NotFound):
        runtime.logs(LIFE)
    runtime.deploy(plan(), unasked)
    assert list(runtime.logs(LIFE, tail=3)) == []
    following = runtime.logs(LIFE, follow=True)
    assert list(islice(following, 2)) == [b"", b""]
    runtime.stop(LIFE, 0.0)
    assert list(following) == []


def test_it_is_ready_and_says_what_it_is_for(runtime: RemoteRuntime) -> None:
    probe = runtime.probe()
    assert probe.ready
    assert "nothing runs here" in probe.detail


def test_it_has_no_settings(tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match="speed is not a setting"):
        RemoteRuntime.from_settings({"speed": 1}, Surroundings(state=tmp_path, cache=tmp_path))
