"""One workload: what happens after it was ready, and when it cannot be."""

from __future__ import annotations

import asyncio
import dataclasses
import threading
import time
from collections.abc import Awaitable, Callable
from typing import Any

import pytest
from msgspec.structs import replace

from thv_core.errors import StartFailed, ThvError
from thv_core.model.events import WorkloadEvent
from thv_core.model.plan import Deployment
from thv_core.model.route import RouteReport, RouteState
from thv_core.model.status import Status
from thv_core.services.reconciling import Situation
from thv_core.services.transitions import became
from thv_supervisor.control import driver_calls, keeping, retrying
from thv_supervisor.control.feed import WorkloadProgress
from thv_supervisor.control.ground import ShellValues
from thv_supervisor.control.keeping import Keeper
from thv_supervisor.control.reconciler import Reconciler


def play(rig: Any, story: Callable[[Reconciler], Awaitable[None]]) -> None:
    async def once() -> None:
        async with rig.control() as control:
            await story(control)

    asyncio.run(once())


def test_a_crash_after_it_was_ready_is_a_new_life_with_a_count(rig: Any) -> None:
    async def story(control: Reconciler) -> None:
        await rig.run(control)
        rig.runtime.exit("echo.1", 9)
        await rig.until(lambda: control.view("echo").restarts == 1 and control.view("echo").status is Status.RUNNING)
        workload = control.ground.store.get("echo")
        assert workload.generation > 1
        assert rig.runtime.running() == [f"echo.{workload.generation}"]
        assert rig.gateway.routes["echo"].incarnation == f"echo.{workload.generation}"
        # The state changes first, and observers are told in threads of their own.
        await rig.until(lambda: len(rig.observer.events) > 2)
        assert [each.status for each in rig.observer.events] == [Status.RUNNING, Status.STARTING, Status.RUNNING]
        assert rig.observer.events[1].reason == "echo exited with code 9"

    play(rig, story)


def test_a_crash_that_the_gateway_notices_first_is_explained_by_the_exit(rig: Any) -> None:
    async def story(control: Reconciler) -> None:
        await rig.run(control)
        observe = rig.runtime.observe
        seen = observe()
        looks = iter([seen, seen])
        rig.runtime.observe = lambda: next(looks, None) or observe()
        rig.runtime.exit("echo.1", 7)
        gone = RouteReport(workload="echo", incarnation="echo.1", state=RouteState.GONE, reason="its output ended")
        control.ground.link.say(gone)
        # The state changes first, and observers are told in threads of their own.
        await rig.until(lambda: len(rig.observer.events) > 1)
        assert rig.observer.events[1].reason == "echo exited with code 7"

    play(rig, story)


def test_a_server_that_lives_but_does_not_answer_any_more_is_ended_and_started_anew(rig: Any) -> None:
    async def story(control: Reconciler) -> None:
        await rig.run(control)
        gone = RouteReport(workload="echo", incarnation="echo.1", state=RouteState.GONE, reason="its output ended")
        control.ground.link.say(gone)
        await rig.until(lambda: control.view("echo").restarts == 1 and control.view("echo").status is Status.RUNNING)
        assert "echo.1" not in rig.runtime.running()
        assert rig.observer.events[1].reason == "its output ended"

    play(rig, story)


async def pause_after_a_failure(keeper: Keeper) -> int:
    now = time.monotonic()
    await keeper.retrying._again(StartFailed("x"), keeper.tended.workload())
    return round(keeper.retrying._retry_at - now)


def test_each_failure_waits_longer_up_to_a_bound(rig: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(retrying, "SLOWEST", 8.0)

    async def story(control: Reconciler) -> None:
        keeper = await control.submit(rig.request())
        await rig.story(keeper)
        assert [await pause_after_a_failure(keeper) for _ in range(6)] == [1, 2, 4, 8, 8, 8]
        await control.start("echo")
        assert await pause_after_a_failure(keeper) == 1

    play(rig, story)


def test_it_is_given_up_after_too_many_failures_and_a_start_tries_again(
    rig: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(retrying, "MOST_FAILURES", 3)

    async def story(control: Reconciler) -> None:
        await rig.run(control)
        rig.gateway.answer = rig.gateway.failing("it does not answer")
        rig.runtime.exit("echo.1", 1)
        workload = await rig.becomes(control, "echo", Status.ERROR)
        assert workload.reason == "it does not answer"
        assert workload.restarts == 4
        assert not workload.provisional
        await rig.until(lambda: not rig.runtime.running())
        lives = len(rig.runtime.lives)
        assert lives == 4
        rig.gateway.answer = rig.gateway.ready
        assert (await rig.story(await control.start("echo")))[-1] is None
        assert len(rig.runtime.lives) == lives + 1

    play(rig, story)


def test_a_stable_life_forgives_earlier_failures(rig: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(retrying, "MOST_FAILURES", 2)
    monkeypatch.setattr(retrying, "STABLE", 0.0)

    async def story(control: Reconciler) -> None:
        await rig.run(control)
        for life in range(5):
            control.wake("echo")
            await rig.until(lambda: control._keepers["echo"].retrying._failures == 0)
            (label,) = rig.runtime.running()
            rig.runtime.exit(label, 1)
            await rig.until(lambda life=life: control.view("echo").restarts == life + 1)
            await rig.becomes(control, "echo", Status.RUNNING)

    play(rig, story)


def test_a_value_from_a_shell_reaches_the_server_and_no_disk(rig: Any) -> None:
    async def story(control: Reconciler) -> None:
        request = rig.request(secrets=("env:T,target=TOKEN",), shell_values={"env:T": "v4lue"})
        assert (await rig.run(control, request))[-1] is None
        assert rig.runtime.plans[-1].environment.values["TOKEN"] == "v4lue"
        for file in rig.paths.state.rglob("*"):
            assert not file.is_file() or b"v4lue" not in file.read_bytes()
        await control.remove("echo")
        await rig.gone(control, "echo")
        assert control.ground.shell_values.all() == {}

    play(rig, story)


def test_a_value_that_was_lost_is_an_error_at_once_and_a_start_with_the_value_helps(rig: Any) -> None:
    async def story(control: Reconciler) -> None:
        request = rig.request(secrets=("env:T,target=TOKEN",), shell_values={"env:T": "v4lue"})
        await rig.run(control, request)
        control.ground.shell_values.forget("echo")
        rig.runtime.exit("echo.1", 1)
        workload = await rig.becomes(control, "echo", Status.ERROR)
        assert workload.reason == "secret env:T came from a shell and is gone"
        # The crash, and the one attempt that found the value gone.
        assert workload.restarts == 2
        assert rig.runtime.lives == ["echo.1"]

    play(rig, story)


def test_a_first_start_waits_for_its_caller_to_bring_the_value_again(rig: Any) -> None:
    request = rig.request(secrets=("env:T,target=TOKEN",), shell_values={"env:T": "v4lue"})
    rig.builder.build = lambda package, report: threading.Event().wait(0.2)  # the first control ends meanwhile

    async def first(control: Reconciler) -> None:
        await control.submit(request)

    play(rig, first)
    del rig.builder.build
    rig.shell = ShellValues({})

    async def second(control: Reconciler) -> None:
        assert control.view("echo").status is Status.STARTING
        assert (await rig.run(control, request))[-1] is None
        assert rig.runtime.plans[-1].environment.values["TOKEN"] == "v4lue"

    play(rig, second)


def test_a_first_start_without_its_value_is_removed_when_nobody_brings_it(
    rig: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(retrying, "RECALL", 0.0)

    async def story(control: Reconciler) -> None:
        heard = await rig.run(control, rig.request(secrets=("env:T,target=TOKEN",)))
        assert heard[-1].code == "secret-not-found"
        await rig.gone(control, "echo")

    play(rig, story)


def test_a_gateway_that_never_speaks_ends_a_first_start(rig: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(keeping, "PATIENCE", 0.1)
    rig.configuration = replace(rig.configuration, start_timeout=0.1)
    rig.gateway.answer = rig.gateway.silent

    async def story(control: Reconciler) -> None:
        heard = await rig.run(control)
        assert heard[-1].code == "unavailable"
        await rig.gone(control, "echo")

    play(rig, story)


def test_a_report_of_an_earlier_life_changes_nothing(rig: Any) -> None:
    async def story(control: Reconciler) -> None:
        await rig.run(control)
        await rig.story(await control.start("echo"))
        stale = RouteReport(workload="echo", incarnation="echo.1", state=RouteState.GONE, reason="late")
        control.ground.link.say(stale)
        await asyncio.sleep(0.05)  # nothing may happen, so there is nothing to wait for
        assert (control.view("echo").restarts, control.view("echo").status) == (0, Status.RUNNING)

    play(rig, story)


def test_a_driver_with_a_mistake_of_its_own_ends_a_first_start_and_is_named(rig: Any) -> None:
    def build(package: object, report: object, workshop: object) -> None:
        raise KeyError("a vendor's mistake")

    rig.builder.build = build

    async def story(control: Reconciler) -> None:
        heard = await rig.run(control)
        assert isinstance(heard[-1], ThvError)
        assert heard[-1].code == "plugin-broken"
        assert "builder fake" in heard[-1].message
        assert "KeyError" in heard[-1].evidence[0]
        await rig.gone(control, "echo")

    play(rig, story)


def test_an_observer_that_fails_changes_nothing(rig: Any, caplog: pytest.LogCaptureFixture) -> None:
    def fail(event: WorkloadEvent) -> None:
        raise ValueError(event.workload)

    rig.observer.on_workload = fail

    async def story(control: Reconciler) -> None:
        assert (await rig.run(control))[-1] is None
        assert control.view("echo").status is Status.RUNNING

    play(rig, story)
    assert "observer recording failed" in caplog.text


def test_a_stop_during_preparation_never_deploys(rig: Any) -> None:
    going_on, go = threading.Event(), threading.Event()
    build = rig.builder.build

    def slowly(package: Any, report: Any, workshop: Any) -> Any:
        going_on.set()
        assert go.wait(20)
        return build(package, report, workshop)

    rig.builder.build = slowly

    async def story(control: Reconciler) -> None:
        await control.submit(rig.request())
        await rig.until(going_on.is_set)
        await control.stop("echo", 0)
        go.set()
        await rig.becomes(control, "echo", Status.STOPPED)
        assert rig.runtime.lives == []

    play(rig, story)


def test_a_gateway_that_never_speaks_makes_a_later_start_unhealthy_and_nothing_more(
    rig: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(keeping, "PATIENCE", 0.1)
    rig.configuration = replace(rig.configuration, start_timeout=0.1)

    async def story(control: Reconciler) -> None:
        await rig.run(control)
        rig.gateway.answer = rig.gateway.silent
        heard = await rig.story(await control.start("echo"))
        assert heard[-1].code == "unavailable"
        workload = await rig.becomes(control, "echo", Status.UNHEALTHY)
        assert (workload.reason, workload.restarts) == (heard[-1].message, 0)
        assert rig.runtime.running() == [f"echo.{workload.generation}"]
        control.ground.link.say(rig.gateway.ready(rig.gateway.routes["echo"]))
        assert (await rig.becomes(control, "echo", Status.RUNNING)).reason == ""

    play(rig, story)


def test_a_keeper_goes_on_after_a_mistake_of_ours(rig: Any, caplog: pytest.LogCaptureFixture) -> None:
    async def story(control: Reconciler) -> None:
        await rig.run(control)
        keeper = control._keepers["echo"]
        situation = keeper.tended.situation

        def mistaken() -> None:
            keeper.tended.situation = situation
            raise ZeroDivisionError("a mistake")

        keeper.tended.situation = mistaken
        keeper.wake()
        await rig.until(lambda: "keeping echo failed" in caplog.text)
        await control.stop("echo", 0)
        await rig.becomes(control, "echo", Status.STOPPED)

    play(rig, story)


def test_a_server_that_takes_its_time_to_end_keeps_no_other_from_starting(rig: Any) -> None:
    release = threading.Event()
    stop = rig.runtime.stop
    ending: list[str] = []

    def slowly(deployment: Deployment, grace: float) -> None:
        ending.append(deployment.label)
        assert release.wait(20)
        stop(deployment, grace)

    rig.runtime.stop = slowly

    async def story(control: Reconciler) -> None:
        names = [f"w{each}" for each in range(driver_calls.WORKERS)]
        try:
            for name in names:
                await rig.run(control, rig.request(request_id=name, name=name))
                await control.stop(name, 0)
            await rig.until(lambda: len(ending) == len(names))
            assert (await rig.run(control, rig.request(request_id="more", name="more")))[-1] is None
        finally:
            release.set()
        for name in names:
            await rig.becomes(control, name, Status.STOPPED)

    play(rig, story)


def test_only_the_newest_former_life_is_kept_for_its_log(rig: Any) -> None:
    async def story(control: Reconciler) -> None:
        await rig.run(control)
        for life in range(3):
            (label,) = rig.runtime.running()
            control._keepers["echo"].retry_now()
            rig.runtime.exit(label, 9)
            await rig.until(lambda life=life: control.view("echo").restarts == life + 1)
            await rig.becomes(control, "echo", Status.RUNNING)
            workload = control.ground.store.get("echo")
            assert list(rig.runtime.seen) == [label, f"echo.{workload.generation}"]

    play(rig, story)


def test_a_start_that_fails_after_another_was_asked_for_is_not_the_end_of_that(rig: Any) -> None:
    going_on, go = threading.Event(), threading.Event()
    prepare = rig.runtime.prepare

    def failing_once(plan: Any, report: Any) -> None:
        if going_on.is_set():
            return prepare(plan, report)
        going_on.set()
        assert go.wait(20)
        raise StartFailed("the former start")

    async def story(control: Reconciler) -> None:
        await rig.run(control)
        rig.runtime.prepare = failing_once
        await control.start("echo")
        await rig.until(going_on.is_set)
        keeper = await control.start("echo")
        go.set()
        assert (await rig.story(keeper))[-1] is None
        assert control.view("echo").restarts == 0

    play(rig, story)


def test_what_was_seen_of_a_former_life_makes_no_later_one_ready(rig: Any) -> None:
    held, go = asyncio.Event(), asyncio.Event()

    async def story(control: Reconciler) -> None:
        await rig.run(control)
        keeper = control._keepers["echo"]
        await keeper.tended.update(lambda workload: became(workload, Status.UNHEALTHY, "for a moment"))
        keep = keeper.reconnection.keep

        async def slowly(situation: Situation) -> None:
            held.set()
            await go.wait()
            await keep(situation)

        keeper.reconnection.keep = slowly
        keeper.wake()
        await held.wait()
        await control.start("echo")
        go.set()
        assert (await rig.story(keeper))[-1] is None
        assert rig.runtime.running() == [f"echo.{control.ground.store.get('echo').generation}"]

    play(rig, story)


def test_a_server_that_hangs_is_unhealthy_and_then_another_takes_its_place(rig: Any) -> None:
    async def story(control: Reconciler) -> None:
        await rig.run(control)
        hung = RouteReport(workload="echo", incarnation="echo.1", state=RouteState.HUNG, reason="it answers no ping")
        control.ground.link.say(hung)
        await rig.until(lambda: control.view("echo").restarts == 1 and control.view("echo").status is Status.RUNNING)
        assert "echo.1" not in rig.runtime.running()
        await rig.until(lambda: len(rig.observer.events) > 3)
        assert [(each.status, each.reason) for each in rig.observer.events[1:]] == [
            (Status.UNHEALTHY, "it answers no ping"),
            (Status.STARTING, "it answers no ping"),
            (Status.RUNNING, "it answers no ping"),
        ]

    play(rig, story)


def test_a_server_that_is_missing_is_started_again_with_a_pause(rig: Any) -> None:
    async def story(control: Reconciler) -> None:
        await rig.run(control)
        rig.runtime.seen.clear()
        await rig.until(lambda: control.view("echo").restarts == 1 and control.view("echo").status is Status.RUNNING)
        assert rig.observer.events[1].reason == "echo is gone: its runtime does not know it any more"
        assert len(rig.runtime.running()) == 1

    play(rig, story)


def test_earlier_failures_are_forgiven_after_half_a_minute_of_the_clock_that_never_jumps(rig: Any) -> None:
    now = [1000.0]
    ground = rig.ground
    rig.ground = lambda changed, store: dataclasses.replace(ground(changed, store), monotonic=lambda: now[0])

    async def story(control: Reconciler) -> None:
        await rig.run(control)
        kept = control._keepers["echo"].retrying
        kept._failures = 7
        for seconds, failures in ((retrying.STABLE, 7), (1.0, 0)):
            now[0] += seconds
            rig.clock.advance(-86_400)
            control.wake("echo")
            await asyncio.sleep(0.05)  # nothing else may happen, so there is nothing to wait for
            assert kept._failures == failures

    play(rig, story)


def test_everything_that_happens_is_told_to_whoever_listens_to_the_feed(rig: Any) -> None:
    async def story(control: Reconciler) -> None:
        heard: list[Any] = []

        async def listen() -> None:
            async for each in control.ground.feed.listen():
                heard[:] = [*heard, each]

        listening = asyncio.create_task(listen())
        await asyncio.sleep(0)
        await rig.run(control)
        await control.stop("echo", 0)
        await rig.becomes(control, "echo", Status.STOPPED)
        await rig.until(lambda: len(heard) >= 9)
        listening.cancel()
        steps = [each.progress.step for each in heard if isinstance(each, WorkloadProgress)]
        assert steps == ["resolved", "prepared", "prepared", "isolated", "ready"]
        statuses = [each.status for each in heard if isinstance(each, WorkloadEvent)]
        assert statuses == [Status.STARTING, Status.RUNNING, Status.STOPPING, Status.STOPPED]

    play(rig, story)
