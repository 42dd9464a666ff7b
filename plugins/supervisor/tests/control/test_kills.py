"""Control killed between any two steps, and another in its place: every journey ends where it should."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine
from typing import Any

from thv_core.model.profile import Network, Outbound, PermissionProfile
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


async def journey(rig: Any) -> None:
    """Travel as far as the fuse lets, then go on in a new control as a caller would who asks again."""
    leg = 0
    while leg < len(JOURNEY):
        try:
            async with rig.control() as control:
                while leg < len(JOURNEY):
                    await until_death(rig, JOURNEY[leg](control, rig))
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
    asyncio.run(journey(rig))
    moments = len(rig.fuse.burnt)
    assert moments > 15
    for moment in range(moments):
        rig.fuse.burnt.clear()
        rig.runtime.lives.clear()
        rig.fuse.left = moment
        asyncio.run(journey(rig))
        where = f"killed {moment}: {rig.fuse.burnt[moment]}"
        assert rig.runtime.seen == {}, where
        assert (rig.gateway.routes, rig.gateway.outlets) == ({}, {}), where
        assert len(set(rig.runtime.lives)) == len(rig.runtime.lives) == 2, where
