"""The conformance class of observers (:class:`thv_core.spi.WorkloadObserver`)."""

# ruff: noqa: D102 - the name of a test is its sentence

from __future__ import annotations

import time
from concurrent.futures import ThreadPoolExecutor

import pytest

from thv_core.spi import Status, WorkloadEvent, WorkloadObserver

__all__ = ["WorkloadObserverContract"]


class WorkloadObserverContract:
    """What every observer does. Give the fixture ``observer``."""

    patience: float = 1.0
    """Seconds that one event may take, at most: the next event of the workload waits for it."""

    @pytest.fixture
    def observer(self) -> WorkloadObserver:
        """Give the observer under test."""
        raise NotImplementedError("give a fixture named observer")

    @pytest.mark.parametrize("status", list(Status))
    def test_every_status_is_taken(self, observer: WorkloadObserver, status: Status) -> None:
        observer.on_workload(_event(status))

    def test_the_same_event_can_come_twice(self, observer: WorkloadObserver) -> None:
        observer.on_workload(_event(Status.RUNNING))
        observer.on_workload(_event(Status.RUNNING))

    def test_an_end_without_a_beginning_is_taken(self, observer: WorkloadObserver) -> None:
        observer.on_workload(_event(Status.REMOVING, workload="never-seen", generation=9))

    def test_any_reason_is_taken(self, observer: WorkloadObserver) -> None:
        for reason in ("", "x" * 10_000, "zwei\nZeilen: ünïcode {braces} %s \x1b[31m"):
            observer.on_workload(_event(Status.ERROR, reason=reason))

    def test_events_of_several_workloads_come_from_several_threads(self, observer: WorkloadObserver) -> None:
        def tell(workload: str) -> None:
            for status in (Status.STARTING, Status.RUNNING, Status.STOPPED):
                observer.on_workload(_event(status, workload=workload))

        with ThreadPoolExecutor(8) as workers:
            list(workers.map(tell, (f"workload-{number}" for number in range(8))))

    def test_an_event_does_not_take_long(self, observer: WorkloadObserver) -> None:
        before = time.monotonic()
        observer.on_workload(_event(Status.RUNNING))
        assert time.monotonic() - before < self.patience


def _event(
    status: Status, workload: str = "time", generation: int = 1, reason: str = "as it was told"
) -> WorkloadEvent:
    return WorkloadEvent(workload=workload, status=status, reason=reason, generation=generation, at=1_800_000_000.0)
