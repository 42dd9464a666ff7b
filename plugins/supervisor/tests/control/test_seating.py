"""Processes for single client sessions: they come when the gateway wants them, and survive control."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

from msgspec.structs import replace

from thv_core.errors import StartFailed
from thv_core.model.route import RouteReport, RouteState
from thv_supervisor.control import seating
from thv_supervisor.control.reconciler import Reconciler


def play(rig: Any, *stories: Callable[[Reconciler], Awaitable[None]]) -> None:
    async def each_in_turn() -> None:
        for story in stories:
            async with rig.control() as control:
                await story(control)

    asyncio.run(each_in_turn())


def want(rig: Any, control: Reconciler, *names: str) -> None:
    label = f"echo.{control.ground.store.get('echo').generation}"
    rig.gateway.say(
        RouteReport(workload="echo", incarnation=label, state=RouteState.READY, tools=("echo",), seats=names)
    )


def seated(rig: Any) -> list[str]:
    return [each.seat for each in rig.gateway.routes["echo"].seats]


def test_each_seat_is_a_life_of_its_own_and_ends_when_it_is_wanted_no_more(rig: Any) -> None:
    async def story(control: Reconciler) -> None:
        await rig.run(control, rig.request(stdio_sessions="per-client"))
        want(rig, control, "a", "b")
        await rig.until(lambda: sorted(seated(rig)) == ["a", "b"])
        assert len(rig.runtime.running()) == 3
        assert len({each.stdin for each in rig.gateway.routes["echo"].seats}) == 2
        want(rig, control, "b")
        await rig.until(lambda: seated(rig) == ["b"] and len(rig.runtime.running()) == 2)
        await control.remove("echo")
        await rig.until(lambda: not rig.runtime.seen)

    play(rig, story)


def test_another_control_keeps_the_seats_that_it_finds(rig: Any) -> None:
    lives: list[str] = []

    async def first(control: Reconciler) -> None:
        await rig.run(control, rig.request(stdio_sessions="per-client"))
        want(rig, control, "a")
        await rig.until(lambda: seated(rig) == ["a"])
        lives.extend(rig.runtime.running())

    async def second(control: Reconciler) -> None:
        want(rig, control, "a", "b")
        await rig.until(lambda: sorted(seated(rig)) == ["a", "b"])
        assert set(lives) < set(rig.runtime.running())

    play(rig, first, second)


def test_a_seat_that_does_not_start_is_tried_again_and_the_server_is_not_to_blame(rig: Any, monkeypatch: Any) -> None:
    async def story(control: Reconciler) -> None:
        await rig.run(control, rig.request(stdio_sessions="per-client"))
        start, failures = seating.start, iter([StartFailed("no memory")])

        async def once_in_vain(*arguments: Any) -> None:
            if (failure := next(failures, None)) is not None:
                raise failure
            await start(*arguments)

        monkeypatch.setattr(seating, "start", once_in_vain)
        want(rig, control, "a")
        await rig.until(lambda: seated(rig) == ["a"])
        assert control.view("echo").restarts == 0

    play(rig, story)


def test_a_restart_ends_the_seats_of_the_former_life(rig: Any) -> None:
    async def story(control: Reconciler) -> None:
        await rig.run(control, rig.request(stdio_sessions="per-client"))
        want(rig, control, "a")
        await rig.until(lambda: seated(rig) == ["a"])
        (seat,) = rig.gateway.routes["echo"].seats
        before = control.ground.store.get("echo").generation
        await control.start("echo")
        await rig.until(lambda: seat.incarnation not in rig.runtime.running())
        await rig.until(lambda: rig.runtime.running() == [f"echo.{control.ground.store.get('echo').generation}"])
        assert control.ground.store.get("echo").generation > before
        assert not seated(rig)

    play(rig, story)


def test_a_seat_is_refused_to_nobody_because_of_another_report(rig: Any) -> None:
    async def story(control: Reconciler) -> None:
        await rig.run(control, rig.request(stdio_sessions="per-client"))
        want(rig, control, "a")
        await rig.until(lambda: seated(rig) == ["a"])
        unknowing = replace(rig.gateway.reports[f"echo.{control.ground.store.get('echo').generation}"], seats=None)
        rig.gateway.say(unknowing)
        await asyncio.sleep(0.1)
        assert seated(rig) == ["a"]

    play(rig, story)


def test_a_seat_that_hangs_keeps_neither_another_waiting_nor_the_end_of_the_workload(
    rig: Any, monkeypatch: Any
) -> None:
    start, hanging, go_on = seating.start, asyncio.Event(), asyncio.Event()

    async def story(control: Reconciler) -> None:
        await rig.run(control, rig.request(stdio_sessions="per-client"))
        firsts = iter([True])

        async def hanging_once(*arguments: Any) -> None:
            if next(firsts, False):
                hanging.set()
                await go_on.wait()
            await start(*arguments)

        monkeypatch.setattr(seating, "start", hanging_once)
        want(rig, control, "a", "b")
        await hanging.wait()
        await rig.until(lambda: seated(rig) == ["b"])
        await control.remove("echo")
        await rig.until(lambda: not rig.runtime.seen)
        assert control.ground.store.names()
        go_on.set()
        await rig.until(lambda: not control.ground.store.names())
        assert not rig.runtime.seen

    play(rig, story)


def test_a_workload_that_is_stopped_has_no_seats_left(rig: Any) -> None:
    async def story(control: Reconciler) -> None:
        await rig.run(control, rig.request(stdio_sessions="per-client"))
        want(rig, control, "a", "b")
        await rig.until(lambda: sorted(seated(rig)) == ["a", "b"])
        await control.stop("echo", 1.0)
        await rig.until(lambda: not rig.runtime.running() and control.view("echo").status == "stopped")
        assert control.ground.store.get("echo").seats == ()

    play(rig, story)


def test_a_seat_that_would_not_end_is_not_the_fault_of_the_server(rig: Any, monkeypatch: Any) -> None:
    async def story(control: Reconciler) -> None:
        await rig.run(control, rig.request(stdio_sessions="per-client"))
        want(rig, control, "a")
        await rig.until(lambda: seated(rig) == ["a"])
        stop, failures = rig.runtime.stop, iter([StartFailed("busy")])

        def once_in_vain(*arguments: Any) -> None:
            if (failure := next(failures, None)) is not None:
                raise failure
            stop(*arguments)

        monkeypatch.setattr(rig.runtime, "stop", once_in_vain)
        want(rig, control)
        await rig.until(lambda: len(rig.runtime.running()) == 1)
        assert control.view("echo").restarts == 0

    play(rig, story)
