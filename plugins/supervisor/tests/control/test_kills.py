"""Control killed between any two steps, and another in its place: every journey ends where it should."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine, Sequence
from pathlib import Path
from typing import Any

import pytest
from msgspec.structs import replace

from thv_core.model.profile import Network, Outbound, PermissionProfile
from thv_core.model.request import RunRequest
from thv_core.model.route import Route, RouteReport
from thv_core.model.status import Desired, Status
from thv_supervisor.control.reconciler import Reconciler

PROFILE = PermissionProfile(name="some", network=Network(outbound=Outbound(allow_host=("example.test",))))


async def run_it(control: Reconciler, rig: Any) -> None:
    if "echo" not in control.ground.store.names():
        await control.submit(rig.request(permission_profile=PROFILE))
    await rig.becomes(control, "echo", Status.RUNNING)


async def stop_it(control: Reconciler, rig: Any) -> None:
    if control.ground.store.get("echo").desired is not Desired.STOPPED:
        await control.stop("echo", 0)
    await rig.becomes(control, "echo", Status.STOPPED)


async def start_it(control: Reconciler, rig: Any) -> None:
    if control.ground.store.get("echo").desired is not Desired.RUNNING:
        await control.start("echo")
    await rig.becomes(control, "echo", Status.RUNNING)


async def remove_it(control: Reconciler, rig: Any) -> None:
    if "echo" in control.ground.store.names():
        await control.remove("echo")
    await rig.gone(control, "echo")


JOURNEY = (run_it, stop_it, start_it, remove_it)


Leg = Callable[[Reconciler, Any], Coroutine[Any, Any, None]]


async def journey(rig: Any, legs: Sequence[Leg]) -> None:
    """Travel as far as the fuse lets, then go on in a new control as a caller would who asks again."""
    leg = 0
    while leg < len(legs):
        try:
            async with rig.control() as control:
                while leg < len(legs):
                    await until_death(rig, legs[leg](control, rig))
                    leg += 1
        except rig.killed:
            rig.fuse.left = -1
            rig.fuse.blown.clear()


async def until_death(rig: Any, step: Coroutine[Any, Any, None]) -> None:
    """Await a step, but not beyond the end of the process."""
    task = asyncio.create_task(step)
    await rig.until(lambda: task.done() or rig.fuse.blown.is_set())
    if not task.done():
        raise rig.killed
    await task


def test_a_kill_between_any_two_steps_converges(rig: Any) -> None:
    asyncio.run(journey(rig, JOURNEY))
    moments = len(rig.fuse.burnt)
    assert moments > 15
    for moment in range(moments):
        rig.fuse.burnt.clear()
        rig.runtime.lives.clear()
        rig.fuse.left = moment
        asyncio.run(journey(rig, JOURNEY))
        where = f"killed {moment}: {rig.fuse.burnt[moment]}"
        assert rig.runtime.seen == {}, where
        assert (rig.gateway.routes, rig.gateway.outlets) == ({}, {}), where
        assert len(set(rig.runtime.lives)) == len(rig.runtime.lives) == 2, where


# A change ------------------------------------------------------------------------------------------------------------


def changing(volumes: tuple[str, ...]) -> Sequence[Leg]:
    """Return a journey through one change, good or broken."""

    async def begin(control: Reconciler, rig: Any) -> None:
        if "echo" not in control.ground.store.names():
            await control.submit(rig.request(volumes=volumes))
        await rig.becomes(control, "echo", Status.RUNNING)

    async def change(control: Reconciler, rig: Any) -> None:
        before = control.ground.store.get("echo")
        if not (before.successor or before.setback or before.config.env_vars):
            config = replace(before.config, env_vars={"A": "1"})
            await control.submit(RunRequest(request_id="edit", replaces="echo", run_config=config))
        await rig.until(lambda: control.ground.store.get("echo").successor is None)
        await rig.becomes(control, "echo", Status.RUNNING)
        label = f"echo.{control.ground.store.get('echo').generation}"
        await rig.until(lambda: rig.runtime.running() == [label])
        await rig.until(lambda: settled(rig.gateway.routes["echo"]) and rig.gateway.routes["echo"].incarnation == label)

    return (begin, change, remove_it)


def settled(route: Route) -> bool:
    return not (route.hold or route.candidate or route.retiring)


def judging(rig: Any) -> Callable[[Route], RouteReport]:
    """Return an answer by which only what was there before a change becomes ready."""

    def answer(route: Route) -> RouteReport:
        plan = next(each for each in rig.runtime.plans if each.deployment.label == route.incarnation)
        broken = "A" in plan.environment.values
        return (rig.gateway.failing("it is broken") if broken else rig.gateway.ready)(route)

    return answer


def together(rig: Any) -> Callable[[Any, Any], Any]:
    """Return a ``deploy`` that notes how many lives there are once a life has begun."""
    deploy = rig.runtime.deploy
    rig.most = 0

    def counted(plan: Any, connect: Any) -> Any:
        try:
            return deploy(plan, connect)
        finally:
            rig.most = max(rig.most, len(rig.runtime.running()))

    return counted


@pytest.mark.parametrize("works", [True, False], ids=["good", "broken"])
@pytest.mark.parametrize("kind", ["beside", "instead"])
def test_a_kill_at_any_moment_of_a_change_ends_swapped_or_rolled_back(
    rig: Any, tmp_path: Path, kind: str, works: bool
) -> None:
    (tmp_path / "data").mkdir()
    legs = changing((f"{tmp_path / 'data'}:/data",) if kind == "instead" else ())
    rig.runtime.deploy = together(rig)
    rig.gateway.answer = rig.gateway.ready if works else judging(rig)
    asyncio.run(journey(rig, legs))
    moments = len(rig.fuse.burnt)
    assert moments > 20
    for moment in range(moments):
        rig.fuse.burnt.clear()
        rig.fuse.left = moment
        rig.gateway.published.clear()
        asyncio.run(journey(rig, legs))
        where = f"killed {moment}: {rig.fuse.burnt[moment]}"
        assert rig.runtime.seen == {}, where
        assert (rig.gateway.routes, rig.gateway.outlets) == ({}, {}), where
        assert rig.most == (1 if kind == "instead" else 2), where
