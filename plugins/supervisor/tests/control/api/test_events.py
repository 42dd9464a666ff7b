"""The stream of events: what is told, how it shows that it lives, and who is let go."""

from __future__ import annotations

import asyncio
import json
from typing import Any

import pytest
from litestar.types import ASGIApp

from thv_core.model.events import WorkloadEvent
from thv_core.model.status import Status
from thv_supervisor.control import feed
from thv_supervisor.control.api import events
from thv_supervisor.control.reconciler import Reconciler

EVENTS = "/api/v1beta/events"


def told(body: bytes) -> list[tuple[str, Any]]:
    """Return the events of a stream: the kind and the document of each."""
    found: list[tuple[str, Any]] = []
    for block in body.decode().split("\n\n"):
        fields = dict(line.split(": ", 1) for line in block.splitlines() if not line.startswith(":"))
        if fields:
            found.append((fields["event"], json.loads(fields["data"])))
    return found


def test_changes_and_steps_are_told_as_they_come_until_the_listener_hangs_up(play: Any, caller: Any, rig: Any) -> None:
    async def story(app: ASGIApp, control: Reconciler) -> None:
        listener = caller("GET", EVENTS)
        listening = listener.ask(app)
        await listener.begun.wait()
        assert listener.reply.status == 200
        assert listener.reply.headers["content-type"].startswith("text/event-stream")
        assert listener.reply.body == b": \n\n"
        await rig.run(control)
        await rig.until(lambda: b'"status":"running"' in listener.reply.body)
        steps = [each["progress"]["step"] for kind, each in told(listener.reply.body) if kind == "progress"]
        assert {"prepared", "ready"} <= set(steps)
        statuses = [each["status"] for kind, each in told(listener.reply.body) if kind == "workload"]
        assert statuses == ["starting", "running"]
        assert {each["workload"] for _, each in told(listener.reply.body)} == {"echo"}
        assert len(control.ground.feed._listeners) == 1
        await control.remove("echo")
        await rig.until(lambda: b'"step":"removed"' in listener.reply.body)
        listener.gone.set()
        await asyncio.wait_for(listening, 10.0)
        assert control.ground.feed._listeners == set()

    play(story)


def test_a_silent_stream_shows_that_it_lives(play: Any, caller: Any, rig: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(events, "HEARTBEAT", 0.01)

    async def story(app: ASGIApp, control: Reconciler) -> None:
        listener = caller("GET", EVENTS)
        listening = listener.ask(app)
        await rig.until(lambda: listener.reply.body.count(b": \n\n") > 3)
        listener.gone.set()
        await asyncio.wait_for(listening, 10.0)

    play(story)


def event(number: int) -> WorkloadEvent:
    return WorkloadEvent(workload="w", status=Status.RUNNING, reason=str(number), generation=1, at=0.0)


def test_a_listener_that_falls_behind_hears_what_fits_and_is_let_go(
    play: Any, caller: Any, rig: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(feed, "MOST_WAITING", 5)

    async def story(app: ASGIApp, control: Reconciler) -> None:
        listener = caller("GET", EVENTS)
        listening = listener.ask(app)
        await listener.begun.wait()
        listener.takes.clear()
        for number in range(20):
            control.ground.feed.tell(event(number))
        assert control.ground.feed._listeners == set()
        listener.takes.set()
        await asyncio.wait_for(listening, 10.0)
        assert [each["reason"] for _, each in told(listener.reply.body)] == ["0", "1", "2", "3", "4"]

    play(story)


def test_a_listener_that_takes_nothing_is_let_go_and_hears_no_end(
    play: Any, caller: Any, rig: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(events, "PATIENCE", 0.05)

    async def story(app: ASGIApp, control: Reconciler) -> None:
        listener = caller("GET", EVENTS)
        listening = listener.ask(app)
        await listener.begun.wait()
        listener.takes.clear()
        control.ground.feed.tell(event(1))
        await asyncio.wait_for(listening, 10.0)
        assert not listener.gone.is_set()
        assert control.ground.feed._listeners == set()

    play(story)
