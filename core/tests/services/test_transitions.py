"""From one state of a workload to the next."""

import msgspec
import pytest

from thv_core.errors import ThvError
from thv_core.model.run_config import RunConfig
from thv_core.model.status import Desired, Status
from thv_core.model.workload import Successor, SwapKind, SwapPhase, Workload
from thv_core.services.transitions import (
    became,
    in_phase,
    promoted,
    rolled_back,
    to_remove,
    to_start,
    to_stop,
    to_succeed,
)

RUNNING = Workload(name="time", config=RunConfig(name="time", image="uvx://t@1"), request_id="r", status=Status.RUNNING)


def test_a_start_is_a_new_life() -> None:
    started = to_start(RUNNING, 9)
    assert (started.status, started.desired, started.generation) == (Status.STARTING, Desired.RUNNING, 9)


def test_a_stopped_workload_stays_stopped_when_it_is_stopped_again() -> None:
    stopped = became(to_stop(RUNNING), Status.STOPPED)
    assert to_stop(stopped).status is Status.STOPPED


def test_a_workload_that_is_being_removed_never_starts_again() -> None:
    with pytest.raises(ThvError, match="cannot go from removing to starting"):
        to_start(to_remove(RUNNING), 9)


def test_the_given_value_is_not_changed() -> None:
    to_stop(RUNNING)
    assert RUNNING.status is Status.RUNNING


# A change ------------------------------------------------------------------------------------------------------------


SUCCESSOR = Successor(
    config=RunConfig(name="time", image="uvx://t@2"),
    generation=9,
    request_id="s",
    kind=SwapKind.INSTEAD,
    phase=SwapPhase.STARTING,
)


def succeeded(workload: Workload = RUNNING, **more: object) -> Workload:
    return to_succeed(workload, msgspec.structs.replace(SUCCESSOR, **more))


def test_a_change_of_what_runs_changes_its_successor_alone() -> None:
    assert succeeded() == msgspec.structs.replace(RUNNING, successor=SUCCESSOR)


def test_a_change_of_what_is_stopped_is_a_start() -> None:
    stopped = msgspec.structs.replace(RUNNING, status=Status.STOPPED, desired=Desired.STOPPED)
    changed = succeeded(stopped, formerly=Desired.STOPPED)
    assert (changed.status, changed.desired) == (Status.STARTING, Desired.RUNNING)
    back = rolled_back(changed, "it broke", 10, runs=False)
    assert back == msgspec.structs.replace(stopped, setback="it broke")


def test_a_phase_changes_nothing_else() -> None:
    assert in_phase(succeeded(phase=SwapPhase.ASKED), SwapPhase.STARTING) == succeeded()
    assert in_phase(RUNNING, SwapPhase.HOLDING) == RUNNING


@pytest.mark.parametrize("status", [Status.RUNNING, Status.UNHEALTHY, Status.STARTING, Status.ERROR])
def test_a_promotion_puts_the_successor_in_the_place_of_what_was(status: Status) -> None:
    made = promoted(msgspec.structs.replace(succeeded(), status=status, setback="an old one", reason="x"), 77.0)
    assert (made.config, made.generation, made.successor) == (SUCCESSOR.config, 9, None)
    assert (made.status, made.reason, made.setback, made.started_at) == (Status.RUNNING, "", "", 77.0)


def test_a_promotion_of_what_came_back_remembers_why() -> None:
    assert promoted(succeeded(rolling_back="it broke"), 1.0).setback == "it broke"


def test_a_promotion_without_a_successor_is_a_mistake() -> None:
    with pytest.raises(ThvError, match="is not being changed"):
        promoted(RUNNING, 1.0)


def test_what_still_runs_is_as_it_was_after_a_change_that_failed() -> None:
    assert rolled_back(succeeded(), "it broke", 10, runs=True) == msgspec.structs.replace(RUNNING, setback="it broke")


def test_what_was_ended_for_a_change_comes_back_by_another_life() -> None:
    back = rolled_back(succeeded(), "it broke", 10, runs=False)
    assert back.successor == msgspec.structs.replace(
        SUCCESSOR, config=RUNNING.config, generation=10, rolling_back="it broke"
    )
    assert (back.status, back.config, back.setback) == (Status.RUNNING, RUNNING.config, "")


def test_what_does_not_come_back_either_is_a_server_that_failed() -> None:
    back = rolled_back(succeeded(rolling_back="it broke"), "nothing works", 11, runs=False)
    assert (back.successor, back.setback, back.generation) == (None, "it broke", 9)
    assert (back.status, back.reason) == (Status.STARTING, "nothing works")


def test_what_had_ended_by_itself_or_failed_before_is_left_to_the_restart_policy() -> None:
    beside = rolled_back(succeeded(kind=SwapKind.BESIDE), "it broke", 10, runs=False)
    assert beside == msgspec.structs.replace(RUNNING, setback="it broke")
    failed = msgspec.structs.replace(RUNNING, status=Status.ERROR, reason="given up")
    assert rolled_back(succeeded(failed), "it broke", 10, runs=False) == msgspec.structs.replace(
        failed, setback="it broke"
    )
    starting = msgspec.structs.replace(RUNNING, status=Status.STARTING)
    assert rolled_back(succeeded(starting), "it broke", 10, runs=False).generation == 10


@pytest.mark.parametrize("discard", [lambda workload: to_start(workload, 12), to_stop, to_remove])
def test_whatever_else_is_wanted_discards_a_change(discard: object) -> None:
    assert callable(discard)
    assert discard(succeeded()).successor is None
