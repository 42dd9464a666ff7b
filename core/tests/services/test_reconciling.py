"""The next step of a workload."""

import msgspec
import pytest

from thv_core.model.plan import Deployment
from thv_core.model.route import RouteReport, RouteState
from thv_core.model.run_config import RunConfig
from thv_core.model.status import Desired
from thv_core.model.workload import Workload
from thv_core.services.reconciling import Act, Situation, next_step
from thv_core.spi.runtimes import Observed, ObservedState, Stdio

WORKLOAD = Workload(
    name="time", config=RunConfig(name="time", image="uvx://t@1"), request_id="r", generation=7, provisional=False
)


def seen(generation: int, state: ObservedState = ObservedState.RUNNING, exit_code: int | None = None) -> Observed:
    return Observed(
        deployment=Deployment(workload="time", generation=generation),
        state=state,
        stdio=Stdio(stdin="/i", stdout="/o", lock="/l"),
        exit_code=exit_code,
    )


def said(state: RouteState, generation: int = 7, **more: str) -> RouteReport:
    return RouteReport(workload="time", incarnation=f"time.{generation}", state=state, **more)


def wanted(desired: Desired, **more: object) -> Workload:
    return msgspec.structs.replace(WORKLOAD, desired=desired, **more)


def test_a_workload_that_should_run_and_is_not_seen_is_started() -> None:
    assert next_step(Situation(WORKLOAD)).act is Act.START


def test_an_older_life_is_stopped_before_the_new_one_starts() -> None:
    step = next_step(Situation(WORKLOAD, (seen(6),)))
    assert (step.act, step.deployment) == (Act.STOP, Deployment(workload="time", generation=6))
    assert next_step(Situation(WORKLOAD, (seen(6, ObservedState.EXITED),))).act is Act.START


def test_the_last_life_is_kept_for_its_log_and_those_before_it_are_removed() -> None:
    ended = (seen(6, ObservedState.EXITED), seen(5, ObservedState.EXITED))
    step = next_step(Situation(WORKLOAD, (seen(7), *ended), said(RouteState.READY)))
    assert (step.act, step.deployment) == (Act.REMOVE, Deployment(workload="time", generation=5))
    assert next_step(Situation(WORKLOAD, (seen(7), ended[0]), said(RouteState.READY))).act is Act.READY


def test_a_doubled_workload_loses_the_life_that_is_not_current() -> None:
    step = next_step(Situation(WORKLOAD, (seen(7), seen(6))))
    assert (step.act, step.deployment) == (Act.STOP, Deployment(workload="time", generation=6))


def test_a_server_that_exited_has_failed_with_its_code() -> None:
    step = next_step(Situation(WORKLOAD, (seen(7, ObservedState.EXITED, 3),)))
    assert (step.act, step.reason) == (Act.FAILED, "time exited with code 3")


def test_a_server_that_exits_in_its_first_start_never_answered() -> None:
    provisional = wanted(Desired.RUNNING, provisional=True)
    step = next_step(Situation(provisional, (seen(7, ObservedState.EXITED, 1),)))
    assert step.reason == "time exited with code 1 before it answered"


@pytest.mark.parametrize(
    ("report", "act"),
    [
        (None, Act.WAIT),
        (said(RouteState.STARTING), Act.WAIT),
        (said(RouteState.READY), Act.READY),
        (said(RouteState.READY, generation=6), Act.WAIT),
        (said(RouteState.FAILED, reason="no answer"), Act.FAILED),
        (said(RouteState.GONE), Act.FAILED),
        (said(RouteState.FAILED, error_code="port-unavailable"), Act.UNHEALTHY),
    ],
)
def test_a_running_server_is_judged_by_what_the_gateway_says_of_this_life(report: RouteReport | None, act: Act) -> None:
    assert next_step(Situation(WORKLOAD, (seen(7),), report)).act is act


def test_a_first_start_whose_port_is_taken_has_failed() -> None:
    provisional = wanted(Desired.RUNNING, provisional=True)
    step = next_step(Situation(provisional, (seen(7),), said(RouteState.FAILED, error_code="port-unavailable")))
    assert (step.act, step.code) == (Act.FAILED, "port-unavailable")


def test_a_workload_that_should_be_stopped_is_stopped_and_its_exited_life_is_kept_for_its_log() -> None:
    stopped = wanted(Desired.STOPPED)
    assert next_step(Situation(stopped, (seen(7),))).act is Act.STOP
    assert next_step(Situation(stopped, (seen(7, ObservedState.EXITED),))).act is Act.STOPPED
    assert next_step(Situation(stopped)).act is Act.STOPPED


def test_a_workload_that_should_be_gone_is_forgotten_only_when_nothing_of_it_is_left() -> None:
    removed = wanted(Desired.REMOVED)
    assert next_step(Situation(removed, (seen(7), seen(6)))).act is Act.STOP
    assert next_step(Situation(removed, (seen(7, ObservedState.EXITED),))).act is Act.REMOVE
    assert next_step(Situation(removed)).act is Act.FORGET


def test_a_report_about_another_port_is_not_about_this_one() -> None:
    moved = msgspec.structs.replace(WORKLOAD, config=msgspec.structs.replace(WORKLOAD.config, port=19002))
    former = msgspec.structs.replace(said(RouteState.FAILED, error_code="port-unavailable"), port=19001)
    assert next_step(Situation(moved, (seen(7),), former)).act is Act.WAIT
    assert next_step(Situation(moved, (seen(7),), msgspec.structs.replace(former, port=19002))).act is Act.UNHEALTHY
