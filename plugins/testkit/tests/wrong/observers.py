"""Observers that are wrong, each caught by the tests that it names."""

import threading
import time

import pytest

from thv_core.spi import Status
from thv_testkit.fakes import RecordingObserver
from thv_testkit.observers import WorkloadObserverContract


class KnowsTwoStatuses(RecordingObserver):
    def on_workload(self, event):
        {Status.RUNNING: "up", Status.STOPPED: "down"}[event.status]


class TakesEachOnce(RecordingObserver):
    def on_workload(self, event):
        assert event not in self.events
        super().on_workload(event)


class ExpectsABeginning(RecordingObserver):
    def on_workload(self, event):
        if event.generation > 1 and not self.events:
            raise LookupError(event.workload)
        super().on_workload(event)


class FormatsReasons(RecordingObserver):
    def on_workload(self, event):
        assert event.reason.format() is not None


class OneThreadOnly(RecordingObserver):
    def on_workload(self, event):
        assert threading.current_thread() is threading.main_thread()


class TakesItsTime(RecordingObserver):
    def on_workload(self, event):
        time.sleep(0.05)


def wrong(observer, *tests, **members):
    fixture = pytest.fixture(lambda self: observer())
    given = {"observer": fixture, "caught_by": tests, **members}
    return type(f"Test{observer.__name__}", (WorkloadObserverContract,), given)


TestKnowsTwoStatuses = wrong(KnowsTwoStatuses, "test_every_status_is_taken")
TestTakesEachOnce = wrong(TakesEachOnce, "test_the_same_event_can_come_twice")
TestExpectsABeginning = wrong(ExpectsABeginning, "test_an_end_without_a_beginning_is_taken")
TestFormatsReasons = wrong(FormatsReasons, "test_any_reason_is_taken")
TestOneThreadOnly = wrong(OneThreadOnly, "test_events_of_several_workloads_come_from_several_threads")
TestTakesItsTime = wrong(TakesItsTime, "test_an_event_does_not_take_long", patience=0.01)
