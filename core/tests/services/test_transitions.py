"""From one state of a workload to the next."""

import pytest

from thv_core.errors import ThvError
from thv_core.model.run_config import RunConfig
from thv_core.model.status import Desired, Status
from thv_core.model.workload import Workload
from thv_core.services.transitions import became, to_remove, to_start, to_stop

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
