"""What servers reached, asked of the control API."""

from __future__ import annotations

import asyncio
import json
import time
from typing import Any

import msgspec
import pytest
from litestar.types import ASGIApp

from thv_core.errors import StateUnusable
from thv_core.model.egress import CallInFlight, EgressRecord, Verdict, Way
from thv_core.spi.egress import Egress
from thv_supervisor.control import egress_reading
from thv_supervisor.control.reconciler import Reconciler

EGRESS = "/api/v1beta/egress"
WORKLOADS = "/api/v1beta/workloads"


def record(number: int, workload: str = "echo", **more: Any) -> EgressRecord:
    given: dict[str, Any] = {"way": Way.NAME, "verdict": Verdict.ALLOWED, "host": "a.example", "port": 443}
    return EgressRecord(at=float(number), workload=workload, incarnation=f"{workload}.1", **(given | more))


def denied(number: int, workload: str = "echo") -> EgressRecord:
    return record(number, workload, verdict=Verdict.DENIED, reason="not in profile")


def instants(reply: Any) -> list[float]:
    assert reply.status == 200, reply.body
    return [each["at"] for each in reply.lines()]


def test_records_are_streamed_whole_with_the_group_of_their_workload(
    play: Any, asked: Any, rig: Any, ledger: Any
) -> None:
    known = record(1, calls=(CallInFlight(method="tools/call", name="fetch", session="s"),), sent=5, address="1.2.3.4")
    ledger.batches = [[known, record(2, "removed")]]

    async def story(app: ASGIApp, control: Reconciler) -> None:
        await rig.run(control)
        reply = await asked(app, "GET", EGRESS)
        assert reply.headers["content-type"].startswith("application/x-ndjson")
        first, second = reply.lines()
        assert first == json.loads(msgspec.json.encode(known)) | {"group": "default"}
        assert (second["workload"], second["group"]) == ("removed", "")

    play(story)


@pytest.mark.parametrize(
    ("query", "expected"),
    [
        ("", [1, 2, 3, 4, 5]),
        ("?workload=echo", [1, 2, 4]),
        ("?denied=true", [2, 5]),
        ("?denied=false", [1, 2, 3, 4, 5]),
        ("?workload=echo&denied=true", [2]),
        ("?tail=2", [4, 5]),
        ("?tail=0", []),
        (f"?tail={'9' * 30}", [1, 2, 3, 4, 5]),
        ("?tail=1&denied=true", [5]),
        ("?workload=echo&tail=1&denied=true", [2]),
    ],
)
def test_what_is_wanted_is_chosen(
    play: Any, asked: Any, rig: Any, ledger: Any, query: str, expected: list[int]
) -> None:
    ledger.batches = [[record(1), denied(2)], [record(3, "other")], [record(4), denied(5, "other")]]

    async def story(app: ASGIApp, control: Reconciler) -> None:
        await rig.run(control)
        assert instants(await asked(app, "GET", f"{EGRESS}{query}")) == expected

    play(story)


def test_an_unknown_workload_is_not_found_unless_it_left_records(play: Any, asked: Any, rig: Any, ledger: Any) -> None:
    ledger.batches = [[record(1, "removed")]]

    async def story(app: ASGIApp, control: Reconciler) -> None:
        await rig.run(control)
        assert instants(await asked(app, "GET", f"{EGRESS}?workload=removed")) == [1]
        assert instants(await asked(app, "GET", f"{EGRESS}?workload=echo")) == []
        for query in ("workload=ecoh", "workload=ecoh&follow=true", "workload=ecoh&tail=1"):
            reply = await asked(app, "GET", f"{EGRESS}?{query}")
            assert (reply.status, reply.json()["code"], reply.json()["hint"]) == (
                404,
                "not-found",
                "Did you mean echo?",
            )

    play(story)


@pytest.mark.parametrize("query", ["tail=x", "tail=-1", "tail=", "tail=1.5", "tail=%C2%B2"])
def test_a_malformed_query_is_the_callers_mistake(play: Any, asked: Any, ledger: Any, query: str) -> None:
    async def story(app: ASGIApp, control: Reconciler) -> None:
        reply = await asked(app, "GET", f"{EGRESS}?{query}")
        assert (reply.status, reply.json()["code"]) == (400, "invalid-request")

    play(story)


def test_an_egress_that_is_not_installed_is_the_answer(play: Any, asked: Any, rig: Any) -> None:
    del rig.drivers.handed[Egress, "names"]

    async def story(app: ASGIApp, control: Reconciler) -> None:
        for path in (EGRESS, f"{EGRESS}/report?by=host"):
            reply = await asked(app, "GET", path)
            assert (reply.status, reply.json()["code"]) == (500, "plugin-not-found")

    play(story)


def test_damage_that_is_met_on_the_way_ends_the_stream_with_its_error(play: Any, asked: Any, ledger: Any) -> None:
    ledger.batches = [[record(1)], [record(2)]]
    ledger.damage = StateUnusable("the record is damaged")

    async def story(app: ASGIApp, control: Reconciler) -> None:
        *records, last = (await asked(app, "GET", EGRESS)).lines()
        assert [each["at"] for each in records] == [1, 2]
        assert last["error"]["code"] == "state-unusable"

    play(story)


# Following -----------------------------------------------------------------------------------------------------------


class Follower:
    """A caller that reads a stream as it comes, and hangs up."""

    def __init__(self) -> None:
        self.body = b""
        self.gone = asyncio.Event()

    def instants(self) -> list[float]:
        return [json.loads(line)["at"] for line in self.body.splitlines()]

    async def receive(self) -> dict[str, Any]:
        await self.gone.wait()
        return {"type": "http.disconnect"}

    async def send(self, message: dict[str, Any]) -> None:
        self.body += message.get("body", b"")

    def follow(self, app: ASGIApp, query: str) -> asyncio.Task[None]:
        scope = {
            "type": "http",
            "asgi": {"version": "3.0"},
            "http_version": "1.1",
            "method": "GET",
            "scheme": "http",
            "path": EGRESS,
            "raw_path": EGRESS.encode(),
            "root_path": "",
            "query_string": query.encode(),
            "headers": [],
            "client": None,
            "server": ("control", 80),
        }
        return asyncio.create_task(app(scope, self.receive, self.send))


@pytest.mark.parametrize(
    ("query", "past"), [("follow=true", [1, 2]), ("follow=true&tail=1", [2]), ("follow=true&tail=0", [])]
)
def test_what_is_to_come_is_streamed_as_it_comes_until_the_caller_hangs_up(
    play: Any, rig: Any, ledger: Any, query: str, past: list[float]
) -> None:
    ledger.batches = [[record(1)], [record(2)]]

    async def story(app: ASGIApp, control: Reconciler) -> None:
        follower = Follower()
        following = follower.follow(app, query)
        await rig.until(lambda: ledger.looks > 1)
        assert follower.instants() == past
        ledger.batches.append([record(3), record(4, "other")])
        await rig.until(lambda: follower.instants() == [*past, 3, 4])
        follower.gone.set()
        await asyncio.wait_for(following, 10.0)
        await rig.until(lambda: ledger.ended)

    play(story)


def test_nobody_looks_at_a_quiet_log_without_a_pause(
    play: Any, rig: Any, ledger: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    pauses: list[float] = []
    sleep = time.sleep
    monkeypatch.setattr(egress_reading.time, "sleep", lambda seconds: (pauses.append(seconds), sleep(0.001)))

    async def story(app: ASGIApp, control: Reconciler) -> None:
        follower = Follower()
        following = follower.follow(app, "follow=true")
        await rig.until(lambda: ledger.looks > 3)
        assert len(pauses) >= ledger.looks - 2
        follower.gone.set()
        await asyncio.wait_for(following, 10.0)

    play(story)


# Reports -------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("query", "by", "keys"),
    [
        ("", "workload", [("echo", 2, 1), ("removed", 1, 0)]),
        ("?by=workload", "workload", [("echo", 2, 1), ("removed", 1, 0)]),
        ("?by=group", "group", [("", 1, 0), ("default", 2, 1)]),
        ("?by=host", "host", [("a.example", 2, 1), ("b.example", 1, 0)]),
        ("?by=host&workload=echo", "host", [("a.example", 2, 1)]),
        ("?workload=nobody", "workload", []),
    ],
)
def test_a_report_sums_up_by_what_is_asked(
    play: Any, asked: Any, rig: Any, ledger: Any, query: str, by: str, keys: list[tuple[str, int, int]]
) -> None:
    ledger.batches = [[record(1), denied(2)], [record(3), record(4, "removed", host="b.example")]]

    async def story(app: ASGIApp, control: Reconciler) -> None:
        await rig.run(control)
        report = (await asked(app, "GET", f"{EGRESS}/report{query}")).json()
        assert report["by"] == by
        assert [(each["key"], each["connections"], each["denied"]) for each in report["sums"]] == keys

    play(story)


@pytest.mark.parametrize("by", ["", "day", "WORKLOAD"])
def test_a_report_by_something_else_is_refused_with_what_there_is(play: Any, asked: Any, ledger: Any, by: str) -> None:
    async def story(app: ASGIApp, control: Reconciler) -> None:
        reply = await asked(app, "GET", f"{EGRESS}/report?by={by}")
        assert (reply.status, reply.json()["message"]) == (400, f"by={by} is not one of workload, group, host")

    play(story)
