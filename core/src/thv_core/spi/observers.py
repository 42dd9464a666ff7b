"""The contract of observers: told what happened, afterwards. Handed over through the hook ``thv_observers``."""

from __future__ import annotations

from typing import Protocol

from thv_core.model.events import WorkloadEvent

__all__ = ["WorkloadObserver"]


class WorkloadObserver(Protocol):
    """Receives frozen events and no kernel; an exception is logged and changes nothing."""

    def on_workload(self, event: WorkloadEvent) -> None:
        """Take note that a workload changed its status; called in a worker thread, in order for each workload."""
        ...
