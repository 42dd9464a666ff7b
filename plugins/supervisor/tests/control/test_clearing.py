"""Servers that take their time to end."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Awaitable, Callable
from typing import Any

import pytest

from thv_core.errors import RuntimeUnavailable
from thv_core.model.plan import Deployment
from thv_core.model.status import Status
from thv_supervisor.control import keeping
from thv_supervisor.control.reconciler import Reconciler


def play(rig: Any, story: Callable[[Reconciler], Awaitable[None]]) -> None:
    async def once() -> None:
        async with rig.control() as control:
            await story(control)

    asyncio.run(once())


@pytest.fixture
def stubborn(rig: Any) -> list[float]:
    """Let servers end only when a grace is over that is shorter than a minute; return the graces that were given."""
    graces: list[float] = []
    ended = threading.Event()
    stop = rig.runtime.stop

    def slowly(deployment: Deployment, grace: float) -> None:
        graces.append(grace)
        if grace < 60:
            stop(deployment, grace)
            ended.set()
        assert ended.wait(20)

    rig.runtime.stop = slowly
    return graces


ACTS: dict[str, Callable[[Reconciler], Awaitable[Any]]] = {
    "a stop": lambda control: control.stop("echo", 1.0),
    "a removal": lambda control: control.remove("echo"),
    "a start": lambda control: control.start("echo"),
}


@pytest.mark.parametrize("act", ACTS)
def test_a_long_grace_ends_when_a_shorter_one_is_given(rig: Any, stubborn: list[float], act: str) -> None:
    async def story(control: Reconciler) -> None:
        await rig.run(control)
        await control.stop("echo", 600.0)
        await rig.until(lambda: stubborn == [600.0])
        await control.stop("echo", 900.0)
        await asyncio.sleep(0.05)  # nothing may happen, so there is nothing to wait for
        assert stubborn == [600.0]
        await ACTS[act](control)
        await rig.until(lambda: len(stubborn) == 2)
        if act == "a removal":
            await rig.gone(control, "echo")
        else:
            await rig.becomes(control, "echo", Status.STOPPED if act == "a stop" else Status.RUNNING)

    play(rig, story)


def test_servers_with_a_long_grace_keep_no_other_from_ending(rig: Any, stubborn: list[float]) -> None:
    async def story(control: Reconciler) -> None:
        names = [f"w{number}" for number in range(6)]
        for name in [*names, "quick"]:
            await rig.run(control, rig.request(request_id=name, name=name))
        for name in names:
            await control.stop(name, 600.0)
        await control.stop("quick", 1.0)
        await rig.becomes(control, "quick", Status.STOPPED)
        for name in names:
            await control.remove(name)
        for name in names:
            await rig.gone(control, name)

    play(rig, story)


def test_what_cannot_be_ended_is_tried_again_and_costs_no_good_server_its_life(
    rig: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(keeping, "RETRY", 0.01)
    remove = rig.runtime.remove

    def refuse(deployment: Deployment) -> None:
        raise RuntimeUnavailable("the engine is busy")

    async def story(control: Reconciler) -> None:
        await rig.run(control)
        for life in range(2):
            (label,) = rig.runtime.running()
            rig.runtime.exit(label, 9)
            control._keepers["echo"].retry_now()
            await rig.until(lambda life=life: control.view("echo").restarts == life + 1)
            if life == 0:
                await rig.becomes(control, "echo", Status.RUNNING)
                rig.runtime.remove = refuse
        workload = await rig.becomes(control, "echo", Status.UNHEALTHY)
        assert (workload.reason, workload.restarts) == ("the engine is busy", 2)
        rig.runtime.remove = remove
        await rig.becomes(control, "echo", Status.RUNNING)

    play(rig, story)
