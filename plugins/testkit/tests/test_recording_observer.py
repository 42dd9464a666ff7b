import pytest

from thv_core.spi import Status, WorkloadEvent
from thv_testkit.fakes import RecordingObserver
from thv_testkit.observers import WorkloadObserverContract


class TestRecordingObserver(WorkloadObserverContract):
    @pytest.fixture
    def observer(self):
        return RecordingObserver()

    def test_it_remembers_what_it_was_told_in_order(self, observer):
        events = [
            WorkloadEvent(workload="time", status=status, reason="", generation=1, at=1.0)
            for status in (Status.STARTING, Status.RUNNING)
        ]
        for event in events:
            observer.on_workload(event)
        assert observer.events == events
