"""Sums over what was reached."""

from __future__ import annotations

from thv_core.model.egress import EgressRecord, Verdict, Way
from thv_core.services.egress_report import By, EgressSum, sums

GROUPS = {"a": "team", "b": "team", "c": "default"}


def record(workload: str = "a", host: str = "x.example", **more: object) -> EgressRecord:
    given: dict[str, object] = {"at": 1.0, "way": Way.NAME, "verdict": Verdict.ALLOWED, "incarnation": f"{workload}.1"}
    return EgressRecord(**(given | {"workload": workload, "host": host} | more))


def keys(records: list[EgressRecord], by: By) -> list[str]:
    return [each.key for each in sums(records, by, GROUPS)]


def test_nothing_is_no_sum() -> None:
    assert sums([], By.WORKLOAD, GROUPS) == []


def test_each_key_has_one_sum_in_order() -> None:
    records = [record("c", "y.example"), record("a"), record("b", "y.example"), record("a", "z.example")]
    assert keys(records, By.WORKLOAD) == ["a", "b", "c"]
    assert keys(records, By.GROUP) == ["default", "team"]
    assert keys(records, By.HOST) == ["x.example", "y.example", "z.example"]


def test_a_workload_that_was_removed_has_no_group() -> None:
    assert keys([record("gone"), record("a")], By.GROUP) == ["", "team"]


def test_bytes_and_instants_are_of_all_records() -> None:
    records = [record(at=5.0, sent=1, received=10), record(at=3.0, sent=2, received=20), record(at=4.0)]
    assert sums(records, By.HOST, GROUPS) == [
        EgressSum(key="x.example", connections=3, sent=3, received=30, first_at=3.0, last_at=5.0)
    ]


def test_verdicts_are_counted_apart_and_an_answered_look_up_is_no_connection() -> None:
    records = [
        record(),
        record(verdict=Verdict.DENIED),
        record(verdict=Verdict.DENIED, way=Way.DNS, times=4),
        record(verdict=Verdict.FAILED),
        record(way=Way.DNS, times=9),
        record(way=Way.CONNECT),
    ]
    (found,) = sums(records, By.WORKLOAD, GROUPS)
    assert (found.connections, found.denied, found.failed) == (2, 5, 1)
