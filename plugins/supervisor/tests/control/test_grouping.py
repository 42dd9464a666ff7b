"""Groups, while everything that is in them runs on."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

import pytest
from msgspec.structs import replace

from thv_core.errors import AlreadyExists, InvalidRequest, NotFound
from thv_core.model.request import RunRequest
from thv_core.model.status import Status
from thv_supervisor.control.grouping import Groups
from thv_supervisor.control.reconciler import Reconciler


def play(rig: Any, story: Callable[[Reconciler, Groups], Awaitable[None]]) -> None:
    async def once() -> None:
        async with rig.control() as control:
            await story(control, Groups(control))

    asyncio.run(once())


def names(groups: Groups) -> list[str]:
    return [group.name for group in groups.all()]


def test_a_group_is_made_with_its_time_and_found_by_its_name(rig: Any) -> None:
    async def story(control: Reconciler, groups: Groups) -> None:
        assert groups.create("red").created_at == rig.clock.now
        assert names(groups) == ["default", "red"]
        assert groups.get("red").name == "red"
        with pytest.raises(AlreadyExists):
            groups.create("red")
        with pytest.raises(NotFound, match="'read' does not exist") as missing:
            groups.get("read")
        assert missing.value.hint == "Did you mean red? Or create it:  thv group create read"
        with pytest.raises(InvalidRequest):
            groups.create("Red!")

    play(rig, story)


def test_a_server_is_run_in_a_group_that_exists_only(rig: Any) -> None:
    async def story(control: Reconciler, groups: Groups) -> None:
        with pytest.raises(NotFound, match="group 'red' does not exist"):
            await control.submit(rig.request(group="red"))
        groups.create("red")
        await rig.run(control, rig.request(request_id="two", group="red", labels={"team": "a"}))
        assert (control.view("echo").group, control.view("echo").labels) == ("red", {"team": "a"})

    play(rig, story)


def test_moving_and_renaming_start_no_new_life_and_touch_no_route(rig: Any) -> None:
    async def story(control: Reconciler, groups: Groups) -> None:
        await rig.run(control)
        groups.create("red")
        published = list(rig.gateway.published)
        groups.move(["echo"], "red")
        groups.rename("red", "blue")
        control.wake("echo")
        await asyncio.sleep(0.05)  # nothing may happen, so there is nothing to wait for
        assert control.view("echo").group == "blue"
        assert (rig.runtime.lives, rig.gateway.published) == (["echo.1"], published)
        with pytest.raises(NotFound):
            groups.move(["echo", "nobody"], "default")
        assert control.view("echo").group == "blue"

    play(rig, story)


def test_a_group_that_is_removed_leaves_its_workloads_to_the_default_one(rig: Any) -> None:
    async def story(control: Reconciler, groups: Groups) -> None:
        groups.create("red")
        await rig.run(control, rig.request(group="red"))
        assert await groups.remove("red", with_workloads=False) == ["echo"]
        assert (names(groups), control.view("echo").group) == (["default"], "default")
        assert rig.runtime.running() == ["echo.1"]

    play(rig, story)


def test_a_group_that_is_removed_with_its_workloads_waits_until_nothing_of_them_is_left(rig: Any) -> None:
    async def story(control: Reconciler, groups: Groups) -> None:
        groups.create("red")
        for name in ("a", "b"):
            await rig.run(control, rig.request(request_id=name, name=name, group="red"))
        await rig.run(control)
        assert await groups.remove("red", with_workloads=True) == ["a", "b"]
        assert (control.ground.store.names(), names(groups)) == (["echo"], ["default"])
        assert rig.runtime.running() == [f"echo.{control.ground.store.get('echo').generation}"]

    play(rig, story)


def test_the_default_group_is_there_for_ever(rig: Any) -> None:
    async def story(control: Reconciler, groups: Groups) -> None:
        for with_workloads in (True, False):
            with pytest.raises(InvalidRequest, match="cannot be removed"):
                await groups.remove("default", with_workloads)
        with pytest.raises(InvalidRequest, match="cannot be renamed"):
            groups.rename("default", "other")
        with pytest.raises(NotFound):
            await groups.remove("nowhere", with_workloads=True)

    play(rig, story)


def test_a_move_during_a_change_lasts(rig: Any) -> None:
    async def story(control: Reconciler, groups: Groups) -> None:
        groups.create("red")
        await rig.run(control)
        rig.gateway.answer = rig.gateway.silent
        config = replace(control.ground.store.get("echo").config, env_vars={"A": "1"})
        keeper = await control.submit(RunRequest(request_id="e", replaces="echo", run_config=config))
        await rig.until(lambda: rig.gateway.routes["echo"].candidate)
        groups.move(["echo"], "red")
        control.ground.link.say(rig.gateway.ready(rig.gateway.routes["echo"].candidate))
        assert (await rig.story(keeper))[-1] is None
        view = control.view("echo")
        assert (view.group, view.status) == ("red", Status.RUNNING)

    play(rig, story)
