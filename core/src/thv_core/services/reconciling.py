"""Decide the next step of one workload: compare what is wanted with what is, and name one thing to do. Pure."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

from thv_core.model.plan import Deployment
from thv_core.model.route import RouteReport, RouteState
from thv_core.model.status import Desired
from thv_core.model.workload import Workload
from thv_core.spi.runtimes import Observed, ObservedState

__all__ = ["Act", "Situation", "Step", "current", "next_step"]


class Act(StrEnum):
    """What to do next."""

    WAIT = "wait"
    START = "start"
    STOP = "stop"
    REMOVE = "remove"
    FORGET = "forget"
    READY = "ready"
    STOPPED = "stopped"
    UNHEALTHY = "unhealthy"
    FAILED = "failed"


@dataclass(frozen=True)
class Step:
    """One thing to do; ``deployment`` is what it is done to, ``reason`` why, ``code`` the error it amounts to."""

    act: Act
    deployment: Deployment | None = None
    reason: str = ""
    code: str = ""


@dataclass(frozen=True)
class Situation:
    """One workload, everything its runtime sees of it, and what the gateway last said of it."""

    workload: Workload
    observed: tuple[Observed, ...] = ()
    report: RouteReport | None = None


def current(situation: Situation) -> Observed | None:
    """Return what is observed of the life that should run now."""
    return next(
        (each for each in situation.observed if each.deployment.generation == situation.workload.generation), None
    )


def next_step(situation: Situation) -> Step:
    """Return the next step toward what is wanted; doing it and asking again converges."""
    return _TOWARD[situation.workload.desired](situation)


def _toward_removed(situation: Situation) -> Step:
    for each in situation.observed:
        running = each.state is ObservedState.RUNNING
        return Step(Act.STOP if running else Act.REMOVE, each.deployment)
    return Step(Act.FORGET)


def _toward_stopped(situation: Situation) -> Step:
    for each in situation.observed:
        if each.state is ObservedState.RUNNING:
            return Step(Act.STOP, each.deployment)
    return Step(Act.STOPPED)


def _toward_running(situation: Situation) -> Step:
    mine = current(situation)
    former = sorted((each for each in situation.observed if each is not mine), key=_generation)
    for each in former:
        if each.state is ObservedState.RUNNING:
            return Step(Act.STOP, each.deployment)
    for each in former[:-1]:
        # The last life is kept for its log: it tells why there had to be another.
        return Step(Act.REMOVE, each.deployment)
    if mine is None:
        return Step(Act.START)
    if mine.state is ObservedState.EXITED:
        return Step(Act.FAILED, mine.deployment, _exit_reason(situation.workload, mine), "start-failed")
    return _by_report(situation, mine)


def _generation(observed: Observed) -> int:
    return observed.deployment.generation


def _by_report(situation: Situation, mine: Observed) -> Step:
    report = situation.report
    if report is None or not _is_about(report, situation.workload, mine):
        return Step(Act.WAIT)
    if report.state is RouteState.FAILED and report.error_code == "port-unavailable":
        act = Act.FAILED if situation.workload.provisional else Act.UNHEALTHY
        return Step(act, mine.deployment, report.reason, report.error_code)
    return Step(_BY_STATE[report.state], mine.deployment, report.reason, report.error_code or "start-failed")


def _is_about(report: RouteReport, workload: Workload, mine: Observed) -> bool:
    """Tell whether a report is about this life at this port, and not about what was before."""
    return report.incarnation == mine.deployment.label and report.port in (0, workload.config.port)


def _exit_reason(workload: Workload, observed: Observed) -> str:
    code = "" if observed.exit_code is None else f" with code {observed.exit_code}"
    before = " before it answered" if workload.provisional else ""
    return f"{workload.name} exited{code}{before}"


_BY_STATE = {
    RouteState.STARTING: Act.WAIT,
    RouteState.READY: Act.READY,
    RouteState.FAILED: Act.FAILED,
    RouteState.GONE: Act.FAILED,
}

_TOWARD = {
    Desired.RUNNING: _toward_running,
    Desired.STOPPED: _toward_stopped,
    Desired.REMOVED: _toward_removed,
}
