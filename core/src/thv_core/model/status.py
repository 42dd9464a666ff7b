"""The statuses of a workload and the legal ways between them."""

from __future__ import annotations

from enum import StrEnum

__all__ = ["Desired", "Status", "may_become"]


class Status(StrEnum):
    """What a workload is doing, in ToolHive's words plus ``locked``."""

    STARTING = "starting"
    RUNNING = "running"
    STOPPING = "stopping"
    STOPPED = "stopped"
    ERROR = "error"
    UNHEALTHY = "unhealthy"
    REMOVING = "removing"
    LOCKED = "locked"
    UNAUTHENTICATED = "unauthenticated"
    AUTH_RETRYING = "auth_retrying"
    POLICY_STOPPED = "policy_stopped"
    UNKNOWN = "unknown"


class Desired(StrEnum):
    """What its user wants of a workload."""

    RUNNING = "running"
    STOPPED = "stopped"
    REMOVED = "removed"


_ALIVE = {Status.RUNNING, Status.UNHEALTHY, Status.UNAUTHENTICATED, Status.AUTH_RETRYING}
_ENDED = {Status.STOPPED, Status.ERROR, Status.LOCKED, Status.POLICY_STOPPED}
_EVERYWHERE = {Status.REMOVING, Status.UNKNOWN}
_NEXT: dict[Status, set[Status]] = {
    Status.STARTING: _ALIVE | _ENDED | {Status.STOPPING},
    Status.STOPPING: {Status.STOPPED, Status.ERROR, Status.STARTING},
    Status.REMOVING: set(),
    Status.UNKNOWN: set(Status),
    **{status: _ALIVE | _ENDED | {Status.STOPPING, Status.STARTING} for status in _ALIVE},
    **{status: {Status.STARTING, Status.STOPPED, Status.STOPPING, Status.ERROR} for status in _ENDED},
}


def may_become(current: Status, following: Status) -> bool:
    """Tell whether a workload may go from ``current`` to ``following``; staying is always legal."""
    if current is following:
        return True
    return following in _NEXT[current] or (following in _EVERYWHERE and current is not Status.REMOVING)
