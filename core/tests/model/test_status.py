from __future__ import annotations

from itertools import product

import pytest

from thv_core.model.status import Status, may_become


def ways_from(status: Status) -> set[Status]:
    return {following for following in Status if following is not status and may_become(status, following)}


def reachable(status: Status) -> set[Status]:
    found, new = {status}, {status}
    while new:
        new = {following for each in new for following in ways_from(each)} - found
        found |= new
    return found


@pytest.mark.parametrize("status", Status)
def test_staying_is_always_legal(status: Status) -> None:
    assert may_become(status, status)


@pytest.mark.parametrize("status", Status)
def test_every_status_can_be_reached_from_a_start(status: Status) -> None:
    assert status in reachable(Status.STARTING)


@pytest.mark.parametrize("status", [each for each in Status if each is not Status.REMOVING])
def test_everything_can_be_removed_and_can_be_started_again(status: Status) -> None:
    assert Status.REMOVING in ways_from(status)
    assert Status.STARTING in reachable(status)


def test_removing_is_terminal() -> None:
    assert ways_from(Status.REMOVING) == set()


@pytest.mark.parametrize(
    ("current", "following"),
    [
        (Status.STOPPED, Status.RUNNING),
        (Status.ERROR, Status.RUNNING),
        (Status.STOPPING, Status.RUNNING),
        (Status.LOCKED, Status.UNHEALTHY),
        (Status.POLICY_STOPPED, Status.RUNNING),
    ],
)
def test_nothing_runs_without_having_started(current: Status, following: Status) -> None:
    assert not may_become(current, following)


def test_running_is_entered_only_from_a_start_from_what_is_alive_and_from_the_unknown() -> None:
    alive = {Status.RUNNING, Status.UNHEALTHY, Status.UNAUTHENTICATED, Status.AUTH_RETRYING}
    entrances = {current for current, following in product(Status, [Status.RUNNING]) if may_become(current, following)}
    assert entrances == alive | {Status.STARTING, Status.UNKNOWN}
