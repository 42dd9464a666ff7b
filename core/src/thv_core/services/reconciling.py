"""Decide the next step of one workload: compare what is wanted with what is, and name one thing to do. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum

from thv_core.model.plan import Deployment
from thv_core.model.route import Route, RouteReport, RouteState
from thv_core.model.run_config import RunConfig
from thv_core.model.status import Desired
from thv_core.model.workload import Successor, SwapKind, SwapPhase, Workload
from thv_core.spi.runtimes import Observed, ObservedState

__all__ = [
    "Act",
    "Situation",
    "Step",
    "current",
    "is_running",
    "life_of",
    "next_step",
    "report_of",
    "retiring",
    "successor_life",
]


class Act(StrEnum):
    """What to do next. Those of a change are ``hold`` to ``roll-back``; the last two are about seats."""

    WAIT = "wait"
    START = "start"
    STOP = "stop"
    REMOVE = "remove"
    FORGET = "forget"
    READY = "ready"
    STOPPED = "stopped"
    UNHEALTHY = "unhealthy"
    HUNG = "hung"
    FAILED = "failed"
    HOLD = "hold"
    AWAIT_QUIET = "await-quiet"
    ADVANCE = "advance"
    START_NEXT = "start-next"
    AWAIT_NEXT = "await-next"
    PROMOTE = "promote"
    ROLL_BACK = "roll-back"
    SEAT = "seat"
    UNSEAT = "unseat"


@dataclass(frozen=True)
class Step:
    """One thing to do; ``deployment`` is what it is done to, ``reason`` why, ``code`` the error it amounts to."""

    act: Act
    deployment: Deployment | None = None
    reason: str = ""
    code: str = ""


@dataclass(frozen=True)
class Situation:
    """One workload, everything its runtime sees of it, and what the gateway was told and last said of it.

    ``reports`` are by incarnation. ``route`` is the one in the snapshot. ``overdue`` are incarnations whose time to
    finish their calls is over, ``seating`` the generations of the seats that are being started.
    """

    workload: Workload
    observed: tuple[Observed, ...] = ()
    reports: Mapping[str, RouteReport] = field(default_factory=dict[str, RouteReport])
    route: Route | None = None
    overdue: frozenset[str] = frozenset()
    seating: frozenset[int] = frozenset()


def is_running(observed: Observed) -> bool:
    """Tell whether a life runs."""
    return observed.state is ObservedState.RUNNING


def current(situation: Situation) -> Observed | None:
    """Return what is observed of the life that should run now."""
    return _life(situation, situation.workload.generation)


def life_of(situation: Situation, deployment: Deployment) -> Observed | None:
    """Return what is observed of one life."""
    return _life(situation, deployment.generation)


def successor_life(situation: Situation) -> Observed | None:
    """Return what is observed of the life that is to take the place of the current one."""
    successor = situation.workload.successor
    return None if successor is None else _life(situation, successor.generation)


def report_of(situation: Situation, life: Observed | None) -> RouteReport | None:
    """Return what the gateway last said of one life."""
    return None if life is None else situation.reports.get(life.deployment.label)


def retiring(situation: Situation) -> list[Observed]:
    """Return the running former lives that finish their calls.

    Those are the lives that the snapshot served until the current one, then its candidate, took their place: the
    snapshot outlives this process, and nothing else says which former life still has calls.
    """
    named = _retiring_names(situation)
    kept = {situation.workload.generation, *_generation_of(situation.workload.successor)}
    former = (each for each in situation.observed if is_running(each) and each.deployment.generation not in kept)
    return [each for each in former if each.deployment.label in named and not _is_done(situation, each)]


def next_step(situation: Situation) -> Step:
    """Return the next step toward what is wanted; doing it and asking again converges."""
    return _TOWARD[situation.workload.desired](situation)


def _life(situation: Situation, generation: int) -> Observed | None:
    return next((each for each in situation.observed if each.deployment.generation == generation), None)


def _retiring_names(situation: Situation) -> tuple[str, ...]:
    route, present = situation.route, situation.workload
    if route is None:
        return ()
    label = Deployment(workload=present.name, generation=present.generation).label
    if route.incarnation == label:
        return route.retiring
    was_candidate = route.candidate is not None and route.candidate.incarnation == label
    return (route.incarnation, *route.retiring) if was_candidate else ()


def _is_done(situation: Situation, life: Observed) -> bool:
    """Tell whether a life that retires has no calls in flight any more, or none that could still be answered."""
    return life.deployment.label in situation.overdue or _is_quiet(report_of(situation, life))


def _is_quiet(report: RouteReport | None) -> bool:
    return report is not None and (report.quiet or report.state in _SILENT)


def _toward_removed(situation: Situation) -> Step:
    for each in situation.observed:
        return Step(Act.STOP if is_running(each) else Act.REMOVE, each.deployment)
    return Step(Act.FORGET)


def _toward_stopped(situation: Situation) -> Step:
    for each in situation.observed:
        if is_running(each):
            return Step(Act.STOP, each.deployment)
    # One life is kept for its log: the last that was in charge, else the last of all.
    mine = current(situation)
    ended = sorted((each for each in situation.observed if each is not mine), key=_generation)
    for each in ended if mine else ended[:-1]:
        return Step(Act.REMOVE, each.deployment)
    return Step(Act.STOPPED)


def _toward_running(situation: Situation) -> Step:
    mine, workload = current(situation), situation.workload
    if (clearing := _clearing(situation)) is not None:
        return clearing
    if workload.successor is not None:
        return _toward_successor(situation, workload.successor)
    if mine is None:
        return Step(Act.START)
    if not is_running(mine):
        return Step(Act.FAILED, mine.deployment, _exit_reason(workload, mine), "start-failed")
    return _by_report(situation, mine)


def _clearing(situation: Situation) -> Step | None:
    """Return the step that ends or forgets a life which is not wanted any more, if there is one."""
    mine, following, leaving = current(situation), successor_life(situation), retiring(situation)
    sitting = {each.generation for each in situation.workload.seats}
    others = (each for each in situation.observed if _generation(each) not in sitting)
    former = [each for each in others if each not in (mine, following) and each not in leaving]
    for each in former:
        if is_running(each):
            return Step(Act.STOP, each.deployment)
    # The last life is kept for its log: it tells why there had to be another.
    earlier = [each for each in former if _generation(each) < situation.workload.generation]
    kept = max(earlier, key=_generation, default=None)
    for each in sorted(former, key=_generation):
        if each is not kept:
            return Step(Act.REMOVE, each.deployment)
    return None


def _generation(observed: Observed) -> int:
    return observed.deployment.generation


def _generation_of(successor: Successor | None) -> tuple[int, ...]:
    return () if successor is None else (successor.generation,)


def _toward_successor(situation: Situation, successor: Successor) -> Step:
    mine = current(situation)
    runs = mine is not None and is_running(mine)
    deployment = mine.deployment if mine else None
    if successor.phase is SwapPhase.ASKED:
        return Step(Act.HOLD if runs else Act.ADVANCE, deployment)
    if successor.phase is SwapPhase.HOLDING:
        quiet = not runs or _is_quiet(report_of(situation, mine))
        return Step(Act.ADVANCE if quiet else Act.AWAIT_QUIET, deployment)
    if runs and successor.kind is SwapKind.INSTEAD:
        return Step(Act.STOP, deployment)
    return _starting(situation, successor)


def _starting(situation: Situation, successor: Successor) -> Step:
    life = successor_life(situation)
    if life is None:
        return Step(Act.START_NEXT)
    if not is_running(life):
        reason = _exited(situation.workload.name, life, before_it_answered=True)
        return Step(Act.ROLL_BACK, life.deployment, reason, "start-failed")
    report = report_of(situation, life)
    if report is None or not _is_about(report, successor.config, life):
        return Step(Act.AWAIT_NEXT, life.deployment)
    act = _BY_STATE_OF_NEXT.get(report.state, Act.ROLL_BACK)
    return Step(act, life.deployment, report.reason, report.error_code or "start-failed")


def _by_report(situation: Situation, mine: Observed) -> Step:
    report = report_of(situation, mine)
    if report is None or not _is_about(report, situation.workload.config, mine):
        return Step(Act.WAIT)
    if report.state is RouteState.FAILED and report.error_code == "port-unavailable":
        act = Act.FAILED if situation.workload.provisional else Act.UNHEALTHY
        return Step(act, mine.deployment, report.reason, report.error_code)
    return Step(_BY_STATE[report.state], mine.deployment, report.reason, report.error_code or "start-failed")


def _is_about(report: RouteReport, config: RunConfig, life: Observed) -> bool:
    """Tell whether a report is about this life at this port, and not about what was before."""
    return report.incarnation == life.deployment.label and report.port in (0, config.port)


def _exit_reason(workload: Workload, observed: Observed) -> str:
    return _exited(workload.name, observed, before_it_answered=workload.provisional)


def _exited(name: str, observed: Observed, *, before_it_answered: bool) -> str:
    code = "" if observed.exit_code is None else f" with code {observed.exit_code}"
    return f"{name} exited{code}{' before it answered' if before_it_answered else ''}"


_SILENT = (RouteState.FAILED, RouteState.GONE, RouteState.HUNG)

_BY_STATE = {
    RouteState.STARTING: Act.WAIT,
    RouteState.READY: Act.READY,
    RouteState.FAILED: Act.FAILED,
    RouteState.GONE: Act.FAILED,
    RouteState.HUNG: Act.HUNG,
}

_BY_STATE_OF_NEXT = {RouteState.STARTING: Act.AWAIT_NEXT, RouteState.READY: Act.PROMOTE}

_TOWARD = {
    Desired.RUNNING: _toward_running,
    Desired.STOPPED: _toward_stopped,
    Desired.REMOVED: _toward_removed,
}
