"""What is left when a starter dies, for each kind of user: one whole deployment or none, and no stray process."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from thv_core.spi import DeploymentPlan

PlanMaker = Callable[..., DeploymentPlan]


def test_a_starter_killed_at_any_instant_leaves_one_server_or_none(account: Any, plan_of: PlanMaker) -> None:
    plan = plan_of(account, "sleeper.py")
    reports = account.drive("killed_at_random", plan, tries=70, longest=0.08, seed=20261124)
    assert len(reports) == 70
    wrong = [each for each in reports if not _is_whole_or_never_was(each)]
    assert not wrong
    # Both outcomes must have occurred, or the instants were badly chosen.
    assert {each["listed"] for each in reports} == {0, 1}


def test_a_starter_killed_after_each_step_leaves_one_server_or_none(account: Any, plan_of: PlanMaker) -> None:
    reports = account.drive("killed_after_each_step", plan_of(account, "sleeper.py"))
    assert {step: report["died"] for step, report in reports.items()} == dict.fromkeys(reports, True)
    assert {step: report["listed"] for step, report in reports.items()} == {
        "created": 0,
        "spawned": 0,
        "reported": 0,
        "limited": 0,
        "recorded": 0,
        "released": 0,
        "marked": 1,
    }
    assert [step for step, report in reports.items() if not _is_whole_or_never_was(report)] == []


@pytest.mark.parametrize("origin", ["system", "bundled"])
def test_starters_that_race_start_one_server(account: Any, plan_of: PlanMaker, origin: str) -> None:
    report = account.drive("raced", plan_of(account, "sleeper.py"), bubblewrap=origin)
    assert len(report["pids"]) == 4
    assert len(set(report["pids"])) == report["observed"] == 1


def test_a_starter_that_was_executed_anew_buries_its_sandbox(account: Any, plan_of: PlanMaker) -> None:
    report = account.drive("executed_anew", plan_of(account, "sleeper.py"))
    assert report == {"same": True, "state": "exited", "code": 128 + 15, "zombie": False}


def _is_whole_or_never_was(report: dict[str, Any]) -> bool:
    return report["running"] and report["quiet"] and report["forgotten"] and not report["left"] and report["listed"] < 2
