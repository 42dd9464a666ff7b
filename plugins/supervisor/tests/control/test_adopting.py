"""What a control finds when it starts: workloads of an earlier one, and what belongs to nobody."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Awaitable, Callable
from typing import Any

import pytest

from thv_core.errors import PluginNotFound, RuntimeUnavailable, SettingsError, ThvError
from thv_core.model.entry import PackageRoot
from thv_core.model.plan import Deployment, DeploymentPlan
from thv_core.model.route import Route
from thv_core.model.status import Status
from thv_core.spi.runtimes import Runtime
from thv_core.state.store import StateStore
from thv_supervisor.control.ground import ShellValues
from thv_supervisor.control.reconciler import Reconciler

Story = Callable[[Reconciler], Awaitable[None]]


def play(rig: Any, *stories: Story) -> None:
    """Play each story in a control of its own, one after the other over the same state."""
    for story in stories:

        async def once(story: Story = story) -> None:
            async with rig.control() as control:
                await story(control)

        asyncio.run(once())


def test_a_stray_deployment_is_ended_after_a_look(rig: Any) -> None:
    stray = Deployment(workload="stray", generation=3)
    plan = DeploymentPlan(deployment=stray, command=("x",), root=PackageRoot(path="/", command=("x",)))
    rig.runtime.deploy(plan, lambda namespace: None)

    async def story(control: Reconciler) -> None:
        await rig.until(lambda: not rig.runtime.seen)
        assert control.views() == []

    play(rig, story)


def test_a_stray_that_cannot_be_ended_does_not_keep_control_from_starting(
    rig: Any, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    stray = Deployment(workload="stray", generation=3)
    plan = DeploymentPlan(deployment=stray, command=("x",), root=PackageRoot(path="/", command=("x",)))
    rig.runtime.deploy(plan, lambda namespace: None)

    def remove(deployment: Deployment) -> None:
        raise RuntimeUnavailable("the engine is gone")

    monkeypatch.setattr(rig.runtime, "remove", remove)

    async def story(control: Reconciler) -> None:
        await rig.until(lambda: "stray.3 could not be ended: the engine is gone" in caplog.text)
        assert (await rig.run(control))[-1] is None

    play(rig, story)


def test_a_later_control_finds_a_running_server_and_keeps_it(rig: Any) -> None:
    async def first(control: Reconciler) -> None:
        await rig.run(control)

    async def second(control: Reconciler) -> None:
        await rig.until(lambda: control.view("echo").pid)
        view = control.view("echo")
        assert (view.status, view.pid, view.restarts, view.tools) == (Status.RUNNING, 1, 0, ("echo", "count"))

    play(rig, first, second)
    assert rig.runtime.lives == ["echo.1"]
    assert len(rig.gateway.published) == 1


def test_a_runtime_that_cannot_be_asked_keeps_routes_and_records_no_failure(rig: Any, broken_engine: Exception) -> None:
    async def first(control: Reconciler) -> None:
        await rig.run(control)

    async def second(control: Reconciler) -> None:
        rig.runtime.unobservable = broken_engine
        await rig.until(lambda: control.ground.observatory.sees("memory", "echo") is None)
        control.wake("echo")
        await asyncio.sleep(0.1)  # nothing may happen, so there is nothing to wait for
        assert rig.gateway.routes["echo"].incarnation == "echo.1"
        workload = control.ground.store.get("echo")
        assert (workload.status, workload.restarts) == (Status.RUNNING, 0)
        rig.runtime.unobservable = None
        await rig.until(lambda: control.ground.observatory.sees("memory", "echo"))

    play(rig, first, second)
    assert rig.runtime.lives == ["echo.1"]


@pytest.mark.parametrize("refusal", [SettingsError("uid_range '5' is no range"), PluginNotFound("no runtime memory")])
def test_a_runtime_that_cannot_be_made_harms_no_server_and_its_repair_finds_them_again(
    rig: Any, refusal: ThvError
) -> None:
    get = rig.drivers.get

    def refuse(contract: type[Any], name: str) -> Any:
        if (contract, name) == (Runtime, "memory"):
            raise refusal
        return get(contract, name)

    async def first(control: Reconciler) -> None:
        await rig.run(control)
        rig.drivers.get = refuse

    async def second(control: Reconciler) -> None:
        await rig.until(lambda: control.view("echo").status is Status.UNHEALTHY)
        await asyncio.sleep(0.1)  # nothing more may happen, so there is nothing to wait for
        workload = control.ground.store.get("echo")
        assert (workload.reason, workload.restarts, workload.generation) == (refusal.message, 0, 1)
        rig.drivers.get = get

    async def third(control: Reconciler) -> None:
        await rig.until(lambda: control.view("echo").status is Status.RUNNING)
        assert control.view("echo").pid == 1

    play(rig, first, second, third)
    assert rig.runtime.lives == ["echo.1"]


def test_a_runtime_whose_own_code_fails_does_not_keep_control_from_starting(rig: Any) -> None:
    rig.runtime.unobservable = ValueError("a vendor's mistake")

    async def story(control: Reconciler) -> None:
        assert control.views() == []
        rig.runtime.unobservable = None
        assert (await rig.run(control))[-1] is None

    play(rig, story)


def test_an_adoption_ends_routes_of_nobody_and_asks_no_runtime(rig: Any) -> None:
    rig.gateway.routes["stray"] = Route(
        workload="stray", incarnation="stray.1", port=1, stdin="i", stdout="o", lock="l", log="g"
    )
    rig.runtime.observe = lambda: pytest.fail("a runtime was asked")

    async def once() -> None:
        store = StateStore(rig.paths.database)
        try:
            control = Reconciler(rig.ground(lambda workload: None, store))
            await control.adopt()
            assert rig.gateway.routes == {}
            assert control.ground.observatory.sees("memory", "stray") is None
        finally:
            store.close()

    asyncio.run(once())


def test_an_adoption_clears_away_outlets_values_and_drafts_of_nobody(rig: Any) -> None:
    rig.gateway.outlets |= {"stray": frozenset({"stray.1"}), "prepare-x-1": frozenset({"prepare-x-1.1"})}
    rig.shell = ShellValues({"stray": {"env:T": "v"}, "stray (changed)": {"env:T": "v"}})
    drafts = [rig.paths.gateway / ".routes.json.77.0a1b2c3d", rig.paths.state / ".control.error.77.0a1b2c3d"]
    others = [rig.paths.gateway / ".handshakes.json.77.0a1b2c3d", rig.paths.gateway / ".routes.json.77.other"]
    for path in (*drafts, *others):
        path.write_text("{")

    async def story(control: Reconciler) -> None:
        assert rig.gateway.outlets == {}
        assert control.ground.shell_values.all() == {}
        assert [path.exists() for path in (*drafts, *others)] == [False, False, True, True]

    play(rig, story)


def test_nothing_of_a_workload_that_was_being_forgotten_is_left(rig: Any) -> None:
    async def first(control: Reconciler) -> None:
        await rig.run(control)
        rig.paths.proxy_log("echo").write_text("a line")
        store = control.ground.store
        store.remove = lambda name: (_ for _ in ()).throw(rig.killed("now"))
        with contextlib.suppress(rig.killed):
            await control.remove("echo")
        await rig.until(lambda: not rig.runtime.seen)
        await rig.until(lambda: not rig.paths.proxy_log("echo").exists())

    async def second(control: Reconciler) -> None:
        await rig.gone(control, "echo")
        assert list(rig.paths.logs.iterdir()) == []

    rig.fuse.blown.clear()
    play(rig, first, second)
