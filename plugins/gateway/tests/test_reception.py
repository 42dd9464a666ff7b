"""Requests that wait for a life of their server: how long, how many, and what ends it."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Awaitable, Callable
from types import SimpleNamespace
from typing import Any

import pytest

from thv_core.model.message import Kind, Message
from thv_core.model.route import RouteState
from thv_core.spi import Reply
from thv_gateway.stages.chain import Arrival
from thv_gateway.web import reception as module
from thv_gateway.web.reception import Reception

CALL = Message(kind=Kind.REQUEST, id=b"7", method="tools/call", params={}, has_params=True)


class FakeEndpoint:
    """A life: which state it is in, what it owns, and whom it knows."""

    def __init__(self, state: RouteState = RouteState.READY) -> None:
        self.link = SimpleNamespace(state=state, reason="it ended" if state is RouteState.GONE else "")
        self.owned: list[Arrival] = []
        self.known = True
        self.introduced = 0
        self.introduction: Callable[[], Reply | None] = lambda: None

    def owns(self, arrival: Arrival) -> bool:
        return arrival in self.owned

    def needs_server(self, arrival: Arrival) -> bool:
        return arrival.message is not None

    def knows(self, arrival: Arrival) -> bool:
        return self.known

    async def introduce(self, arrival: Arrival) -> Reply | None:
        self.introduced += 1
        await asyncio.sleep(0)
        return self.introduction()


class LeavingPeer:
    """A client that goes away when it is told to."""

    is_gone = False

    def __init__(self) -> None:
        self._acts: list[Callable[[], None]] = []

    def leave(self) -> None:
        for act in self._acts:
            act()

    def on_gone(self, act: Callable[[], None]) -> Callable[[], None]:
        self._acts.append(act)
        return lambda: self._acts.remove(act)


def arriving(peer: LeavingPeer | None = None, message: Message | None = CALL) -> Arrival:
    """Return a request of a client."""
    client: Any = peer or LeavingPeer()
    return Arrival(workload="w", method="POST", path="/mcp", headers=(), peer=client, message=message)


def run(work: Callable[[], Awaitable[None]]) -> None:
    async def bounded() -> None:
        async with asyncio.timeout(10):
            await work()

    asyncio.run(bounded())


async def waiting(desk: Reception, *arrivals: Arrival) -> list[asyncio.Task[Any]]:
    tasks = [asyncio.create_task(desk.place(each)) for each in arrivals]
    for _ in range(3):
        await asyncio.sleep(0)
    assert not any(task.done() for task in tasks)
    return tasks


def held(current: FakeEndpoint, *former: FakeEndpoint) -> Reception:
    desk = Reception("w", current)  # type: ignore[arg-type] # it is as much of an endpoint as is asked for
    desk.arrange(current, former, held=True)  # type: ignore[arg-type] # as above
    return desk


def text_of(answer: Any) -> str:
    assert isinstance(answer, Reply)
    assert (answer.status, json.loads(answer.body)["id"]) == (503, 7)
    assert (b"retry-after", b"1") in answer.headers
    return json.loads(answer.body)["error"]["message"]


def test_an_open_reception_is_passed_by() -> None:
    current = FakeEndpoint()
    desk = Reception("w", current)  # type: ignore[arg-type] # it is as much of an endpoint as is asked for
    for state, held_now, is_open in ((RouteState.READY, False, True), (RouteState.READY, True, False)):
        current.link.state = state
        desk.arrange(current, (), held=held_now)  # type: ignore[arg-type] # as above
        assert desk.is_open is is_open
    current.link.state = RouteState.HUNG
    desk.arrange(current, (), held=False)  # type: ignore[arg-type] # as above
    assert not desk.is_open


def test_whoever_waits_goes_to_the_life_that_is_current_afterwards() -> None:
    async def work() -> None:
        old, new = FakeEndpoint(RouteState.GONE), FakeEndpoint()
        desk = held(old)
        tasks = await waiting(desk, arriving(), arriving())
        desk.arrange(new, (), held=True)
        assert not (await asyncio.wait(tasks, timeout=0.05))[0]
        desk.arrange(new, (), held=False)
        assert [await task for task in tasks] == [new, new]

    run(work)


def test_the_wait_is_bounded_in_time_over_all_that_happens_meanwhile(monkeypatch: pytest.MonkeyPatch) -> None:
    async def work() -> None:
        current = FakeEndpoint()
        desk = held(current)
        began = asyncio.get_running_loop().time()
        (task,) = await waiting(desk, arriving())
        while not task.done():
            await asyncio.sleep(0.02)
            # News, but not those that were waited for.
            desk.arrange(FakeEndpoint(), (), held=True)
        assert 0.3 <= asyncio.get_running_loop().time() - began < 1
        assert text_of(await task) == "w is exchanged"

    monkeypatch.setattr(module, "HOLD_SECONDS", 0.3)
    run(work)


def test_the_hold_lasts_ten_seconds() -> None:
    assert module.HOLD_SECONDS == 10


def test_so_many_wait_and_no_more_and_who_leaves_makes_room(monkeypatch: pytest.MonkeyPatch) -> None:
    async def work() -> None:
        current, client = FakeEndpoint(), LeavingPeer()
        desk = held(current)
        leaving, staying = await waiting(desk, arriving(client), arriving())
        assert text_of(await desk.place(arriving())) == "Too many requests wait for the server"
        client.leave()
        assert text_of(await leaving) == "The client went away"
        (third,) = await waiting(desk, arriving())
        desk.arrange(current, (), held=False)
        assert [await staying, await third] == [current, current]

    monkeypatch.setattr(module, "MAX_WAITING", 2)
    run(work)


def test_what_belongs_to_a_call_in_flight_does_not_wait() -> None:
    async def work() -> None:
        old, current = FakeEndpoint(), FakeEndpoint()
        desk = held(current, old)
        mine, ours, stream = arriving(), arriving(), arriving(message=None)
        old.owned.append(mine)
        current.owned.append(ours)
        assert [await desk.place(each) for each in (mine, ours, stream)] == [old, current, current]

    run(work)


@pytest.mark.parametrize(("state", "text"), [(RouteState.GONE, "it ended"), (RouteState.HUNG, "w is starting")])
def test_without_a_hold_a_server_that_is_away_is_told_at_once(state: RouteState, text: str) -> None:
    async def work() -> None:
        desk = Reception("w", FakeEndpoint(state))  # type: ignore[arg-type] # as much of an endpoint as is asked for
        assert text_of(await desk.place(arriving())) == text

    run(work)


def test_a_session_that_the_life_does_not_know_is_introduced_and_everything_asked_again() -> None:
    async def work() -> None:
        old, new = FakeEndpoint(), FakeEndpoint()
        desk = Reception("w", old)  # type: ignore[arg-type] # it is as much of an endpoint as is asked for
        old.known = new.known = False

        def left_meanwhile() -> Reply:
            desk.arrange(new, (), held=False)  # type: ignore[arg-type] # as above
            return Reply(503, b"", ())

        def known() -> None:
            new.known = True

        old.introduction, new.introduction = left_meanwhile, known
        assert await desk.place(arriving()) is new
        assert (old.introduced, new.introduced) == (1, 1)

    run(work)


def test_what_an_introduction_says_is_the_answer() -> None:
    async def work() -> None:
        current = FakeEndpoint()
        current.known = False
        current.introduction = lambda: Reply(404, b"", ())
        desk = Reception("w", current)  # type: ignore[arg-type] # it is as much of an endpoint as is asked for
        assert (await desk.place(arriving())).status == 404

    run(work)


def test_a_request_that_comes_to_the_end_of_the_gateway_is_refused() -> None:
    async def work() -> None:
        desk = Reception("w", FakeEndpoint())  # type: ignore[arg-type] # it is as much of an endpoint as is asked for
        desk.abandon("w was removed")
        assert text_of(await desk.place(arriving())) == "w was removed"

    run(work)


def test_those_who_wait_go_on_in_the_order_in_which_they_came() -> None:
    async def work() -> None:
        desk = held(FakeEndpoint(RouteState.GONE))
        placed: list[int] = []

        async def place(number: int) -> None:
            await desk.place(arriving())
            placed.append(number)

        async with asyncio.TaskGroup() as group:
            for number in range(50):
                group.create_task(place(number))
            await asyncio.sleep(0.05)
            desk.arrange(FakeEndpoint(), (), held=False)  # type: ignore[arg-type] # as much of an endpoint as is asked for
        assert placed == list(range(50))

    run(work)


def test_an_end_of_the_gateway_ends_the_wait() -> None:
    async def work() -> None:
        desk = held(FakeEndpoint())
        (task,) = await waiting(desk, arriving())
        desk.abandon("the gateway is being restarted")
        assert text_of(await task) == "the gateway is being restarted"

    run(work)
