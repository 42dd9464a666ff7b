"""Move a workload from one state to the next: each returns a new value, none records it."""

from __future__ import annotations

import msgspec

from thv_core.errors import ThvError
from thv_core.model.status import Desired, Status, may_become
from thv_core.model.workload import Successor, SwapKind, SwapPhase, Workload
from thv_core.services.swapping import is_served

__all__ = [
    "became",
    "in_phase",
    "promoted",
    "rolled_back",
    "to_remove",
    "to_start",
    "to_stop",
    "to_succeed",
]


def became(workload: Workload, status: Status, reason: str = "") -> Workload:
    """Return the workload in another status.

    :raises ThvError: when there is no legal way from its status to that one, which is a mistake of ours.
    """
    if not may_become(workload.status, status):
        raise ThvError(f"{workload.name} cannot go from {workload.status} to {status}")
    return msgspec.structs.replace(workload, status=status, reason=reason)


def to_start(workload: Workload, generation: int) -> Workload:
    """Return the workload as one that should run, in a new life; a change under way is discarded."""
    begun = became(workload, Status.STARTING)
    return msgspec.structs.replace(begun, desired=Desired.RUNNING, generation=generation, successor=None)


def to_stop(workload: Workload) -> Workload:
    """Return the workload as one that should not run; a change under way is discarded."""
    following = Status.STOPPED if workload.status is Status.STOPPED else Status.STOPPING
    stopping = became(workload, following)
    return msgspec.structs.replace(stopping, desired=Desired.STOPPED, successor=None)


def to_remove(workload: Workload) -> Workload:
    """Return the workload as one that should not be; a change under way is discarded."""
    removing = became(workload, Status.REMOVING)
    return msgspec.structs.replace(removing, desired=Desired.REMOVED, successor=None)


def to_succeed(workload: Workload, successor: Successor) -> Workload:
    """Return the workload as one that is being changed; one that was stopped is being started by that."""
    if workload.status is Status.STOPPED:
        workload = became(workload, Status.STARTING, workload.reason)
    return msgspec.structs.replace(workload, desired=Desired.RUNNING, successor=successor)


def in_phase(workload: Workload, phase: SwapPhase) -> Workload:
    """Return the workload with its change in another phase; one that is not being changed stays as it is."""
    successor = workload.successor
    if successor is None:
        return workload
    return msgspec.structs.replace(workload, successor=msgspec.structs.replace(successor, phase=phase))


def promoted(workload: Workload, at: float) -> Workload:
    """Return the workload with its ready successor in the place of what was.

    :param at: now, seconds since the epoch.
    """
    successor = _successor(workload)
    if workload.status not in (Status.RUNNING, Status.UNHEALTHY):
        workload = became(workload, Status.STARTING)
    return msgspec.structs.replace(
        became(workload, Status.RUNNING),
        config=successor.config,
        generation=successor.generation,
        successor=None,
        setback=successor.rolling_back,
        provisional=False,
        started_at=at,
    )


def rolled_back(workload: Workload, reason: str, generation: int, *, runs: bool) -> Workload:
    """Return the workload after its change failed: as it was before, or on the way back there.

    :param generation: the number of the life that the former configuration gets, if it has to start anew.
    :param runs: whether the current life still runs.
    """
    successor = _successor(workload)
    before = msgspec.structs.replace(workload, successor=None, setback=successor.rolling_back or reason)
    if runs:
        return before
    if successor.rolling_back:
        # Not even the former configuration became ready: from here on it is a server that failed.
        return msgspec.structs.replace(became(before, Status.STARTING, reason), generation=successor.generation)
    if successor.formerly is Desired.STOPPED:
        return msgspec.structs.replace(became(before, Status.STOPPED, before.reason), desired=Desired.STOPPED)
    if successor.kind is SwapKind.BESIDE or workload.status is Status.ERROR:
        return before
    if is_served(workload):
        return msgspec.structs.replace(workload, successor=_returning(workload, successor, reason, generation))
    return msgspec.structs.replace(before, generation=generation)


def _returning(workload: Workload, failed: Successor, reason: str, generation: int) -> Successor:
    return msgspec.structs.replace(
        failed, config=workload.config, generation=generation, phase=SwapPhase.STARTING, rolling_back=reason
    )


def _successor(workload: Workload) -> Successor:
    if workload.successor is None:
        raise ThvError(f"{workload.name} is not being changed")
    return workload.successor
