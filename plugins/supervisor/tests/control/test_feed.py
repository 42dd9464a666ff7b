"""The events of all workloads for whoever listens."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

import pytest

from thv_core.model.events import WorkloadEvent
from thv_core.model.status import Status
from thv_supervisor.control import feed
from thv_supervisor.control.feed import Feed


def event(number: int) -> WorkloadEvent:
    return WorkloadEvent(workload="w", status=Status.RUNNING, reason="", generation=number, at=0.0)


def play(story: Callable[[Feed], Awaitable[None]]) -> None:
    asyncio.run(asyncio.wait_for(story(Feed()), 10.0))


async def some(heard: Any, count: int) -> list[int]:
    return [(await anext(heard)).generation for _ in range(count)]


def test_whoever_listens_hears_what_is_told_from_then_on() -> None:
    async def story(feed: Feed) -> None:
        feed.tell(event(1))
        one = feed.listen()
        feed.tell(event(2))
        other = feed.listen()
        feed.tell(event(3))
        assert (await some(one, 2), await some(other, 1)) == ([2, 3], [3])

    play(story)


def test_a_listener_that_leaves_is_forgotten() -> None:
    async def story(feed: Feed) -> None:
        heard = feed.listen()
        feed.tell(event(1))
        await some(heard, 1)
        await heard.aclose()
        assert feed._listeners == set()

    play(story)


def test_a_listener_that_falls_behind_is_let_go_and_the_others_are_not(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(feed, "MOST_WAITING", 3)

    async def story(feed: Feed) -> None:
        slow, quick = feed.listen(), feed.listen()
        for number in range(6):
            feed.tell(event(number))
            assert await some(quick, 1) == [number]
        assert [each.generation async for each in slow] == [0, 1, 2]

    play(story)
