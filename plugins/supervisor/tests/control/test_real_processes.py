"""The reconciler over servers that are processes, run by the testkit's runtime without isolation."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

from msgspec.structs import replace

from thv_core.model.status import Status
from thv_supervisor.control.reconciler import Reconciler


def play(rig: Any, story: Callable[[Reconciler], Awaitable[None]]) -> None:
    async def once() -> None:
        async with rig.control() as control:
            await story(control)

    asyncio.run(once())


def test_real_processes_are_run_stopped_and_removed(rig: Any) -> None:
    rig.configuration = replace(rig.configuration, runtime="processes")

    async def story(control: Reconciler) -> None:
        assert (await rig.run(control))[-1] is None
        pid = control.view("echo").pid
        assert pid > 0
        await control.stop("echo", 10.0)
        await rig.becomes(control, "echo", Status.STOPPED)
        (seen,) = rig.processes.observe()
        assert seen.state == "exited"
        await control.remove("echo")
        await rig.gone(control, "echo")
        assert list(rig.processes.observe()) == []

    play(rig, story)


def test_real_processes_that_never_answered_are_ended_and_explained(rig: Any) -> None:
    rig.configuration = replace(rig.configuration, runtime="processes")
    rig.gateway.answer = rig.gateway.silent

    async def story(control: Reconciler) -> None:
        heard = await rig.run(control, rig.request(cmd_args=("--exit", "3")))
        assert heard[-1].message == "echo exited with code 3 before it answered"
        assert "  echo: exits with 3, as it was told" in heard[-1].evidence
        await rig.gone(control, "echo")
        assert list(rig.processes.observe()) == []

    play(rig, story)
