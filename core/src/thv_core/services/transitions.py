"""Move a workload from one state to the next: each returns a new value, none records it."""

from __future__ import annotations

import msgspec

from thv_core.errors import ThvError
from thv_core.model.status import Desired, Status, may_become
from thv_core.model.workload import Workload

__all__ = ["became", "to_remove", "to_start", "to_stop"]


def became(workload: Workload, status: Status, reason: str = "") -> Workload:
    """Return the workload in another status.

    :raises ThvError: when there is no legal way from its status to that one, which is a mistake of ours.
    """
    if not may_become(workload.status, status):
        raise ThvError(f"{workload.name} cannot go from {workload.status} to {status}")
    return msgspec.structs.replace(workload, status=status, reason=reason)


def to_start(workload: Workload, generation: int) -> Workload:
    """Return the workload as one that should run, in a new life."""
    begun = became(workload, Status.STARTING)
    return msgspec.structs.replace(begun, desired=Desired.RUNNING, generation=generation)


def to_stop(workload: Workload) -> Workload:
    """Return the workload as one that should not run."""
    following = Status.STOPPED if workload.status is Status.STOPPED else Status.STOPPING
    return msgspec.structs.replace(became(workload, following), desired=Desired.STOPPED)


def to_remove(workload: Workload) -> Workload:
    """Return the workload as one that should not be."""
    return msgspec.structs.replace(became(workload, Status.REMOVING), desired=Desired.REMOVED)
