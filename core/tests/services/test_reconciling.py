"""The next step of a workload."""

import msgspec
import pytest

from thv_core.model.plan import Deployment
from thv_core.model.route import Route, RouteReport, RouteState
from thv_core.model.run_config import RunConfig
from thv_core.model.status import Desired
from thv_core.model.workload import Successor, SwapKind, SwapPhase, Workload
from thv_core.services.reconciling import Act, Situation, Step, next_step, retiring
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


def judged(workload: Workload, observed: tuple[Observed, ...], *reports: RouteReport | None) -> Step:
    return next_step(Situation(workload, observed, {each.incarnation: each for each in reports if each}))


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
    step = judged(WORKLOAD, (seen(7), *ended), said(RouteState.READY))
    assert (step.act, step.deployment) == (Act.REMOVE, Deployment(workload="time", generation=5))
    assert judged(WORKLOAD, (seen(7), ended[0]), said(RouteState.READY)).act is Act.READY


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
        (said(RouteState.HUNG, reason="no answer"), Act.HUNG),
        (said(RouteState.FAILED, error_code="port-unavailable"), Act.UNHEALTHY),
    ],
)
def test_a_running_server_is_judged_by_what_the_gateway_says_of_this_life(report: RouteReport | None, act: Act) -> None:
    assert judged(WORKLOAD, (seen(7),), report).act is act


def test_a_first_start_whose_port_is_taken_has_failed() -> None:
    provisional = wanted(Desired.RUNNING, provisional=True)
    step = judged(provisional, (seen(7),), said(RouteState.FAILED, error_code="port-unavailable"))
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
    assert judged(moved, (seen(7),), former).act is Act.WAIT
    assert judged(moved, (seen(7),), msgspec.structs.replace(former, port=19002)).act is Act.UNHEALTHY


def test_of_a_stopped_workload_the_life_that_was_in_charge_is_kept_and_no_other() -> None:
    ended = tuple(seen(generation, ObservedState.EXITED) for generation in (6, 7, 8))
    step = judged(wanted(Desired.STOPPED), ended)
    assert (step.act, step.deployment) == (Act.REMOVE, Deployment(workload="time", generation=6))
    assert judged(wanted(Desired.STOPPED), ended[1:]).deployment == Deployment(workload="time", generation=8)
    assert judged(wanted(Desired.STOPPED), ended[1:2]).act is Act.STOPPED
    assert judged(wanted(Desired.STOPPED), (ended[0],)).act is Act.STOPPED


# A change ------------------------------------------------------------------------------------------------------------


def changed(kind: SwapKind = SwapKind.INSTEAD, phase: SwapPhase = SwapPhase.STARTING, **more: object) -> Workload:
    config = msgspec.structs.replace(WORKLOAD.config, env_vars={"A": "1"}, port=19005)
    successor = Successor(config=config, generation=9, request_id="s", kind=kind, phase=phase)
    return wanted(Desired.RUNNING, successor=successor, **more)


EXITED = ObservedState.EXITED
ASKED, HOLDING, STARTING = SwapPhase.ASKED, SwapPhase.HOLDING, SwapPhase.STARTING


@pytest.mark.parametrize(
    ("phase", "observed", "reports", "act"),
    [
        (ASKED, (seen(7),), (), Act.HOLD),
        (ASKED, (seen(7, EXITED),), (), Act.ADVANCE),
        (ASKED, (), (), Act.ADVANCE),
        (HOLDING, (seen(7),), (), Act.AWAIT_QUIET),
        (HOLDING, (seen(7),), (said(RouteState.READY),), Act.AWAIT_QUIET),
        (HOLDING, (seen(7),), (msgspec.structs.replace(said(RouteState.READY), quiet=True),), Act.ADVANCE),
        (HOLDING, (seen(7),), (said(RouteState.HUNG),), Act.ADVANCE),
        (HOLDING, (seen(7, EXITED),), (), Act.ADVANCE),
        (STARTING, (seen(7),), (), Act.STOP),
        (STARTING, (seen(7, EXITED),), (), Act.START_NEXT),
        (STARTING, (seen(9),), (), Act.AWAIT_NEXT),
        (STARTING, (seen(9),), (said(RouteState.STARTING, 9),), Act.AWAIT_NEXT),
        (STARTING, (seen(9),), (said(RouteState.READY, 7),), Act.AWAIT_NEXT),
        (STARTING, (seen(9),), (said(RouteState.READY, 9),), Act.PROMOTE),
        (STARTING, (seen(9),), (said(RouteState.FAILED, 9),), Act.ROLL_BACK),
        (STARTING, (seen(9),), (said(RouteState.FAILED, 9, error_code="port-unavailable"),), Act.ROLL_BACK),
        (STARTING, (seen(9),), (said(RouteState.HUNG, 9),), Act.ROLL_BACK),
        (STARTING, (seen(9, EXITED),), (), Act.ROLL_BACK),
    ],
)
def test_a_change_instead_goes_from_phase_to_phase(
    phase: SwapPhase, observed: tuple[Observed, ...], reports: tuple[RouteReport, ...], act: Act
) -> None:
    assert judged(changed(phase=phase), observed, *reports).act is act


def test_a_change_beside_starts_while_the_former_life_runs() -> None:
    beside = changed(SwapKind.BESIDE)
    assert judged(beside, (seen(7),)).act is Act.START_NEXT
    assert judged(beside, (seen(7), seen(9)), said(RouteState.READY, 9)).act is Act.PROMOTE


def test_a_next_life_is_judged_by_what_is_said_of_its_own_port() -> None:
    former = msgspec.structs.replace(said(RouteState.READY, 9), port=WORKLOAD.config.port or 19001)
    assert judged(changed(), (seen(9),), former).act is Act.AWAIT_NEXT
    assert judged(changed(), (seen(9),), msgspec.structs.replace(former, port=19005)).act is Act.PROMOTE


def test_the_exit_of_a_next_life_is_its_reason() -> None:
    assert judged(changed(), (seen(9, EXITED, 3),)).reason == "time exited with code 3 before it answered"


def test_a_life_that_is_neither_current_nor_next_is_ended_and_removed_first() -> None:
    assert judged(changed(), (seen(8), seen(9)), said(RouteState.READY, 9)).act is Act.STOP
    step = judged(changed(), (seen(8, EXITED), seen(9)), said(RouteState.READY, 9))
    assert (step.act, step.deployment) == (Act.REMOVE, Deployment(workload="time", generation=8))
    assert judged(changed(), (seen(6, EXITED), seen(9)), said(RouteState.READY, 9)).act is Act.PROMOTE


def test_the_life_of_a_change_that_failed_is_removed_and_not_kept_for_its_log() -> None:
    step = judged(WORKLOAD, (seen(7), seen(9, EXITED)), said(RouteState.READY))
    assert (step.act, step.deployment) == (Act.REMOVE, Deployment(workload="time", generation=9))


# What retires --------------------------------------------------------------------------------------------------------


def routed(generation: int, **more: object) -> Route:
    return Route(workload="time", incarnation=f"time.{generation}", port=1, log="l", **more)


@pytest.mark.parametrize(
    ("route", "labels"),
    [
        (None, []),
        (routed(7), []),
        (routed(7, retiring=("time.6",)), ["time.6"]),
        (routed(6), []),
        (routed(6, candidate=routed(7)), ["time.6"]),
        (routed(5, candidate=routed(7), retiring=("time.6",)), ["time.5", "time.6"]),
        (routed(6, candidate=routed(8)), []),
    ],
)
def test_what_the_snapshot_served_until_its_candidate_took_over_retires(route: Route | None, labels: list[str]) -> None:
    situation = Situation(WORKLOAD, (seen(5), seen(6), seen(7)), route=route)
    assert [each.deployment.label for each in retiring(situation)] == labels
    first = next_step(situation)
    assert (first.act is Act.STOP) is (len(labels) < 2)


@pytest.mark.parametrize("done", ["quiet", "gone", "overdue", "exited"])
def test_a_life_retires_until_it_is_quiet_or_gone_or_its_time_is_over(done: str) -> None:
    observed = (seen(6, EXITED) if done == "exited" else seen(6), seen(7))
    report = msgspec.structs.replace(
        said(RouteState.GONE if done == "gone" else RouteState.READY, 6), quiet=done == "quiet"
    )
    situation = Situation(
        WORKLOAD,
        observed,
        {"time.6": report, "time.7": said(RouteState.READY)},
        routed(7, retiring=("time.6",)),
        frozenset({"time.6"} if done == "overdue" else ()),
    )
    assert retiring(situation) == []
    assert next_step(situation).act is (Act.READY if done == "exited" else Act.STOP)


def test_a_life_that_retires_holds_up_nothing() -> None:
    reports = {"time.6": said(RouteState.READY, 6), "time.7": said(RouteState.READY)}
    situation = Situation(WORKLOAD, (seen(6), seen(7)), reports, routed(7, retiring=("time.6",)))
    assert next_step(situation).act is Act.READY
