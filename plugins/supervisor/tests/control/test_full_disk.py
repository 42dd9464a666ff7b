"""A disk without a free block under the state: what cannot be recorded is not done, and everything goes on later."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

import pytest
from msgspec.structs import replace

from thv_core.errors import StateUnusable
from thv_core.model.request import RunRequest
from thv_core.model.status import Status
from thv_supervisor.control.reconciler import Reconciler


def play(rig: Any, story: Callable[[Reconciler], Awaitable[None]]) -> None:
    async def once() -> None:
        async with rig.control() as control:
            await story(control)

    asyncio.run(once())


def fill(control: Reconciler) -> None:
    """Let nothing be written to the state any more."""
    connection = control.ground.store._database.connection
    connection.execute("PRAGMA query_only = 1")


def free(control: Reconciler) -> None:
    connection = control.ground.store._database.connection
    connection.execute("PRAGMA query_only = 0")


def test_a_database_that_may_not_grow_refuses_a_run_and_keeps_what_it_has(rig: Any) -> None:
    async def story(control: Reconciler) -> None:
        await rig.run(control)
        control.ground.store._database.connection.execute("PRAGMA max_page_count = 1")
        large = {"A": "x" * 200_000}
        with pytest.raises(StateUnusable):
            await control.submit(rig.request(request_id="two", name="two", env_vars=large))
        config = replace(control.ground.store.get("echo").config, env_vars=large)
        with pytest.raises(StateUnusable):
            await control.submit(RunRequest(request_id="edit", replaces="echo", run_config=config))
        assert control.ground.shell_values.all() == {}
        assert (rig.runtime.running(), list(control._keepers)) == (["echo.1"], ["echo"])
        assert control.ground.store.get("echo").successor is None
        await control.stop("echo", 0)
        await rig.becomes(control, "echo", Status.STOPPED)

    play(rig, story)


def test_what_is_asked_of_a_full_disk_is_refused_and_nothing_half_done_remains(rig: Any) -> None:
    async def story(control: Reconciler) -> None:
        await rig.run(control)
        before = control.ground.store.get("echo")
        fill(control)
        config = replace(before.config, env_vars={"A": "1"})
        asked: list[Callable[[], Awaitable[Any]]] = [
            lambda: control.submit(rig.request(request_id="two", name="two")),
            lambda: control.submit(RunRequest(request_id="e", replaces="echo", run_config=config)),
            lambda: control.start("echo"),
            lambda: control.stop("echo", 0),
            lambda: control.remove("echo"),
        ]
        for each in asked:
            with pytest.raises(StateUnusable):
                await each()
        assert control.ground.store.all() == [before]
        assert rig.runtime.running() == ["echo.1"]
        free(control)
        await control.remove("echo")
        await rig.gone(control, "echo")

    play(rig, story)


def test_a_status_that_could_not_be_recorded_is_recorded_later(rig: Any, caplog: pytest.LogCaptureFixture) -> None:
    async def story(control: Reconciler) -> None:
        await rig.run(control)
        fill(control)
        rig.runtime.exit("echo.1", 9)
        await rig.until(lambda: "keeping echo: echo: the state in" in caplog.text)
        assert control.ground.store.get("echo").status is Status.RUNNING
        free(control)
        await rig.until(lambda: control.view("echo").restarts == 1 and control.view("echo").status is Status.RUNNING)
        assert len(rig.runtime.running()) == 1

    play(rig, story)


def test_a_change_that_is_ready_when_the_disk_is_full_is_made_later(rig: Any) -> None:
    async def story(control: Reconciler) -> None:
        await rig.run(control)
        rig.gateway.answer = rig.gateway.silent
        config = replace(control.ground.store.get("echo").config, env_vars={"A": "1"})
        keeper = await control.submit(RunRequest(request_id="e", replaces="echo", run_config=config))
        await rig.until(lambda: rig.gateway.routes["echo"].candidate)
        fill(control)
        control.ground.link.say(rig.gateway.ready(rig.gateway.routes["echo"].candidate))
        await asyncio.sleep(0.05)  # nothing may happen, so there is nothing to wait for
        assert (rig.gateway.routes["echo"].incarnation, len(rig.runtime.running())) == ("echo.1", 2)
        free(control)
        assert (await rig.story(keeper))[-1] is None
        assert control.ground.store.get("echo").config.env_vars == {"A": "1"}

    play(rig, story)
