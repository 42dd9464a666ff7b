"""What is recorded of floods."""

import pytest

from thv_core.spi import CallInFlight, Network, Outlet, OutletPlan, Verdict, Way
from thv_egress import ledger as ledgers
from thv_egress.ledger import Ledger


class Kept:
    """A recorder in memory."""

    def __init__(self):
        self.records = []
        self.failing = False

    def write(self, record):
        self.records.append(record)

    def flush(self):
        pass


@pytest.fixture
def kept():
    return Kept()


@pytest.fixture
def ledger_of(kept):
    def make(calls=()):
        outlet = Outlet("fetch", "fetch.1", Network(), OutletPlan(), (), calls=lambda: calls)
        return Ledger(outlet, kept)

    return make


def test_a_denied_connection_is_recorded_at_once(kept, ledger_of, run):
    async def scene():
        kept.records.clear()
        ledger = ledger_of([CallInFlight(method="tools/call", name="fetch")])
        ledger.deny(ledger.attempt(Way.NAME, "evil.test", 443), "no rule")
        (record,) = kept.records
        assert (record.host, record.port, record.verdict, record.reason) == (
            "evil.test",
            443,
            Verdict.DENIED,
            "no rule",
        )
        assert record.calls[0].name == "fetch"
        ledger.close()
        assert len(kept.records) == 1

    run(scene())


def test_equal_denials_beyond_the_first_are_counted(kept, ledger_of, run):
    async def scene():
        kept.records.clear()
        ledger = ledger_of()
        for _ in range(1000):
            ledger.deny(ledger.attempt(Way.NAME, "evil.test", 443), "no rule")
        assert len(kept.records) == ledgers.TOLD_EACH
        ledger.close()
        assert len(kept.records) == ledgers.TOLD_EACH + 1
        assert sum(record.times for record in kept.records) == 1000

    run(scene())


def test_the_window_ends_by_itself(kept, ledger_of, run, wait, monkeypatch):
    monkeypatch.setattr(ledgers, "WINDOW", 0.1)

    async def scene():
        kept.records.clear()
        ledger = ledger_of()
        for _ in range(30):
            ledger.deny(ledger.attempt(Way.NAME, "evil.test", 443), "no rule")
        await wait(lambda: sum(record.times for record in kept.records) == 30, "the rest is told")
        ledger.deny(ledger.attempt(Way.NAME, "evil.test", 443), "no rule")
        assert kept.records[-1].times == 1
        ledger.close()

    run(scene())


def test_a_lookup_is_told_once_for_both_kinds_of_address(kept, ledger_of, run, wait):
    async def scene():
        kept.records.clear()
        ledger = ledger_of()
        for _ in range(2):
            ledger.deny(ledger.attempt(Way.DNS, "evil.test"), "no rule")
        assert kept.records == []
        await wait(lambda: bool(kept.records), "it is told soon")
        assert [record.times for record in kept.records] == [2]
        for _ in range(5):
            ledger.deny(ledger.attempt(Way.DNS, "evil.test"), "no rule")
        assert len(kept.records) == 1
        ledger.close()
        assert [record.times for record in kept.records] == [2, 5]

    run(scene())


def test_different_denials_beyond_a_bound_are_counted_together(kept, ledger_of, run):
    async def scene():
        kept.records.clear()
        ledger = ledger_of()
        for number in range(5000):
            ledger.deny(ledger.attempt(Way.NAME, f"n{number}.test", 443), "no rule")
        ledger.close()
        assert len(kept.records) < ledgers.MOST_KINDS + ledgers.TOLD_EACH + 5
        assert sum(record.times for record in kept.records) == 5000

    run(scene())


def test_connections_that_were_made_are_never_counted_together(kept, ledger_of, run):
    async def scene():
        kept.records.clear()
        ledger = ledger_of()
        for _ in range(100):
            ledger.add(ledger.attempt(Way.NAME, "a.test", 443), Verdict.ALLOWED, rule="a.test")
        assert len(kept.records) == 100
        ledger.close()

    run(scene())
