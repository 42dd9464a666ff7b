"""All keepers together, over a runtime and a gateway that outlive control."""

from __future__ import annotations

import asyncio
import contextlib
import socket
import threading
from collections.abc import Awaitable, Callable
from typing import Any

import pytest

from thv_core.errors import (
    AlreadyExists,
    Conflict,
    InvalidRequest,
    NotFound,
    PackageNotFound,
    PortUnavailable,
    StartFailed,
    ThvError,
    TimedOut,
)
from thv_core.model.events import Progress
from thv_core.model.status import Status
from thv_core.spi.runtimes import ObservedState
from thv_core.spi.sources import ServerSource
from thv_supervisor.control.reconciler import Reconciler

Story = Callable[[Reconciler], Awaitable[None]]


def play(rig: Any, *stories: Story) -> None:
    """Play each story in a control of its own, one after the other over the same state."""
    for story in stories:

        async def once(story: Story = story) -> None:
            async with rig.control() as control:
                await story(control)

        asyncio.run(once())


def test_a_run_tells_every_step_and_ends_ready(rig: Any) -> None:
    async def story(control: Reconciler) -> None:
        heard = await rig.run(control)
        assert [each.step for each in heard[:-1]] == ["resolved", "prepared", "prepared", "isolated", "ready"]
        assert heard[-1] is None
        assert heard[-2].text == "2 tools: echo, count"
        view = control.view("echo")
        assert (view.status, view.pid, view.tools, view.restarts) == (Status.RUNNING, 1, ("echo", "count"), 0)
        assert rig.gateway.routes["echo"].port == view.port

    play(rig, story)


def test_what_is_being_removed_can_be_neither_started_nor_stopped(rig: Any) -> None:
    ended = threading.Event()
    stop = rig.runtime.stop

    def slowly(deployment: Any, grace: float) -> None:
        ended.wait(10)
        stop(deployment, grace)

    async def story(control: Reconciler) -> None:
        await rig.run(control)
        rig.runtime.stop = slowly
        await control.remove("echo")
        try:
            for act in (control.start("echo"), control.stop("echo", 0)):
                with pytest.raises(Conflict, match="echo is being removed"):
                    await act
            await control.remove("echo")
        finally:
            ended.set()
        await rig.gone(control, "echo")

    play(rig, story)


def test_each_change_of_status_is_announced_with_its_generation(rig: Any) -> None:
    async def story(control: Reconciler) -> None:
        await rig.run(control)
        await control.stop("echo", 1.0)
        await rig.becomes(control, "echo", Status.STOPPED)
        await rig.until(lambda: len(rig.observer.events) > 2)
        assert [each.status for each in rig.observer.events] == [Status.RUNNING, Status.STOPPING, Status.STOPPED]
        assert {(each.workload, each.generation, each.at) for each in rig.observer.events} == {
            ("echo", 1, rig.clock.now)
        }
        await rig.story(await control.start("echo"))
        await rig.until(lambda: len(rig.observer.events) > 4)
        assert [each.status for each in rig.observer.events[3:]] == [Status.STARTING, Status.RUNNING]
        assert {each.generation for each in rig.observer.events[3:]} == {control.ground.store.get("echo").generation}

    play(rig, story)


def test_the_same_request_sent_twice_at_once_is_one_workload(rig: Any) -> None:
    async def story(control: Reconciler) -> None:
        request = rig.request()
        first, second = await asyncio.gather(control.submit(request), control.submit(request))
        assert first is second
        assert await rig.story(first)
        assert (await rig.story(await control.submit(request)))[-1] is None
        assert rig.runtime.lives == ["echo.1"]
        assert len(control.views()) == 1

    play(rig, story)


def test_the_same_request_to_a_later_control_hears_that_it_is_ready(rig: Any) -> None:
    async def first(control: Reconciler) -> None:
        await rig.run(control)

    async def second(control: Reconciler) -> None:
        assert (await rig.run(control))[-1] is None
        assert rig.runtime.lives == ["echo.1"]

    play(rig, first, second)


def test_a_name_that_is_taken_is_refused_and_nothing_changes(rig: Any) -> None:
    async def story(control: Reconciler) -> None:
        await rig.run(control)
        with pytest.raises(AlreadyExists, match="'echo' already exists") as refused:
            await control.submit(rig.request(request_id="two"))
        assert "thv rm echo" in refused.value.hint
        assert [view.name for view in control.views()] == ["echo"]

    play(rig, story)


def test_a_name_that_is_taken_is_refused_for_that_even_with_its_own_port(rig: Any) -> None:
    async def story(control: Reconciler) -> None:
        await rig.run(control)
        port = control.view("echo").port
        with socket.create_server(("127.0.0.1", port)), pytest.raises(AlreadyExists, match="'echo' already exists"):
            await control.submit(rig.request(request_id="two", proxy_port=port))

    play(rig, story)


def test_a_port_that_another_workload_remembers_is_refused_even_when_it_is_stopped(rig: Any) -> None:
    async def story(control: Reconciler) -> None:
        await rig.run(control)
        port = control.view("echo").port
        await control.stop("echo", 0)
        await rig.becomes(control, "echo", Status.STOPPED)
        with pytest.raises(PortUnavailable, match=f"port {port} belongs to echo"):
            await control.submit(rig.request(request_id="two", name="two", proxy_port=port))
        assert (await rig.run(control, rig.request(request_id="three", name="three")))[-1] is None
        assert control.view("three").port != port

    play(rig, story)


def test_a_port_that_another_program_has_is_refused(rig: Any) -> None:
    async def story(control: Reconciler) -> None:
        with socket.socket() as taken:
            taken.bind(("127.0.0.1", 0))
            taken.listen()
            with pytest.raises(PortUnavailable, match="in use by another program"):
                await control.submit(rig.request(proxy_port=taken.getsockname()[1]))
        assert control.views() == []

    play(rig, story)


def test_what_cannot_be_admitted_is_not_recorded(rig: Any) -> None:
    async def story(control: Reconciler) -> None:
        for request, error in (
            (rig.request("fake://unknown"), PackageNotFound),
            (rig.request("echo"), InvalidRequest),
            (rig.request("fake://echo", name="../x"), InvalidRequest),
        ):
            with pytest.raises(error):
                await control.submit(request)
        assert control.views() == []
        assert rig.runtime.lives == []

    play(rig, story)


def test_a_first_start_that_fails_is_removed_and_tells_the_last_lines(rig: Any) -> None:
    rig.gateway.answer = rig.gateway.failing("echo did not answer initialize within 2 s")

    async def story(control: Reconciler) -> None:
        heard = await rig.run(control)
        assert isinstance(heard[-1], ThvError)
        assert heard[-1].message == "echo did not answer initialize within 2 s"
        assert heard[-1].evidence == ("its last lines:", "  a line", "  the last line")
        await rig.gone(control, "echo")
        await rig.until(lambda: not rig.gateway.routes)
        assert rig.runtime.seen == {}

    play(rig, story)


def test_a_package_that_cannot_be_built_leaves_nothing(rig: Any) -> None:
    async def story(control: Reconciler) -> None:
        heard = await rig.run(control, rig.request("fake://empty"))
        assert heard[-1].code == "preparation-failed"
        assert heard[-1].evidence == ("it has no entry point",)
        await rig.gone(control, "empty")
        assert rig.runtime.lives == []

    play(rig, story)


def test_a_secret_that_is_not_set_stops_a_first_start(rig: Any) -> None:
    async def story(control: Reconciler) -> None:
        heard = await rig.run(control, rig.request(secrets=("github,target=TOKEN",)))
        assert heard[-1].code == "secret-not-found"
        await rig.gone(control, "echo")
        rig.secrets.set("github", "s3cret")
        again = rig.request(request_id="two", secrets=("github,target=TOKEN",))
        assert (await rig.run(control, again))[-1] is None
        assert rig.runtime.plans[-1].environment.values["TOKEN"] == "s3cret"
        assert b"s3cret" not in rig.paths.database.read_bytes()

    play(rig, story)


def test_stop_start_and_remove_go_where_they_should(rig: Any) -> None:
    async def story(control: Reconciler) -> None:
        await rig.run(control)
        port = control.view("echo").port
        await control.stop("echo", 7.5)
        await rig.becomes(control, "echo", Status.STOPPED)
        assert rig.runtime.stops == [("echo.1", 7.5)]
        assert rig.gateway.routes == {}
        heard = await rig.story(await control.start("echo"))
        assert heard[-1] is None
        assert rig.runtime.running() == [f"echo.{control.ground.store.get('echo').generation}"]
        assert rig.runtime.running() != ["echo.1"]
        assert control.view("echo").port == port
        assert rig.gateway.routes["echo"].incarnation == rig.runtime.running()[0]
        await control.remove("echo")
        await rig.gone(control, "echo")
        assert (rig.runtime.seen, rig.gateway.routes) == ({}, {})

    play(rig, story)


def test_a_start_of_what_runs_is_a_new_life_and_the_former_is_ended(rig: Any) -> None:
    async def story(control: Reconciler) -> None:
        await rig.run(control)
        assert (await rig.story(await control.start("echo")))[-1] is None
        former, present = rig.runtime.lives
        assert rig.runtime.running() == [present]
        assert rig.runtime.seen[former].state is ObservedState.EXITED
        assert control.view("echo").restarts == 0

    play(rig, story)


def test_a_change_of_what_is_not_there_is_refused(rig: Any) -> None:
    async def story(control: Reconciler) -> None:
        for change in (control.start, control.remove, lambda name: control.stop(name, 1.0)):
            with pytest.raises(NotFound):
                await change("echo")
        with pytest.raises(NotFound):
            control.view("echo")

    play(rig, story)


CHANGES: dict[str, Callable[[Reconciler], Awaitable[Any]]] = {
    "start": lambda control: control.start("echo"),
    "stop": lambda control: control.stop("echo", 0),
    "remove": lambda control: control.remove("echo"),
}


@pytest.mark.parametrize("first", CHANGES)
@pytest.mark.parametrize("second", ["start", "stop", "remove"])
def test_two_changes_at_once_converge_on_the_later(rig: Any, first: str, second: str) -> None:
    async def story(control: Reconciler) -> None:
        await rig.run(control)
        await CHANGES[first](control)
        with contextlib.suppress(ThvError):
            await CHANGES[second](control)
            await converged(rig, control, second)
            return
        # Only what is being removed refuses to become anything else.
        assert first == "remove"
        await converged(rig, control, "remove")

    play(rig, story)


async def converged(rig: Any, control: Reconciler, change: str) -> None:
    if change == "remove":
        await rig.gone(control, "echo")
        assert rig.runtime.seen == {}
    elif change == "stop":
        await rig.becomes(control, "echo", Status.STOPPED)
        assert rig.runtime.running() == []
    else:
        workload = await rig.becomes(control, "echo", Status.RUNNING)
        assert rig.runtime.running() == [f"echo.{workload.generation}"]
    await rig.until(lambda: ("echo" in rig.gateway.routes) == (change == "start"))


@pytest.mark.parametrize(("change", "said"), [("stop", "stopped"), ("remove", "removed")])
def test_who_waits_for_a_start_hears_that_somebody_else_ended_it(rig: Any, change: str, said: str) -> None:
    rig.gateway.answer = rig.gateway.silent

    async def story(control: Reconciler) -> None:
        keeper = await control.submit(rig.request())
        waiting = asyncio.create_task(rig.story(keeper))
        await rig.until(rig.runtime.running)
        await CHANGES[change](control)
        heard = await waiting
        assert isinstance(heard[-1], ThvError)
        assert said in heard[-1].message

    play(rig, story)


def test_a_request_for_what_was_stopped_meanwhile_is_told_so(rig: Any) -> None:
    async def story(control: Reconciler) -> None:
        request = rig.request()
        await rig.run(control, request)
        await control.stop("echo", 0)
        await rig.becomes(control, "echo", Status.STOPPED)
        heard = await rig.run(control, request)
        assert isinstance(heard[-1], ThvError)

    play(rig, story)


def test_waiting_for_a_state_is_bounded(rig: Any) -> None:
    async def story(control: Reconciler) -> None:
        with pytest.raises(TimedOut, match="did not get there within 0 s"):
            await control.until("echo", lambda workload: workload is not None, 0)

    play(rig, story)


def test_progress_is_made_of_words(rig: Any) -> None:
    async def story(control: Reconciler) -> None:
        keeper = await control.submit(rig.request("fake://echo@1.0.0"))
        heard = await rig.story(keeper)
        assert isinstance(heard[0], Progress)
        assert heard[0].text == "echo 1.0.0 from a fake"

    play(rig, story)


def refuse_to_build(rig: Any) -> None:
    def build(package: object, report: object, workshop: object) -> None:
        raise PackageNotFound("the index is gone")

    rig.builder.build = build


def lose_the_secret(rig: Any) -> None:
    rig.secrets.delete("github")


@pytest.mark.parametrize("obstacle", [refuse_to_build, lose_the_secret])
def test_a_start_that_could_not_succeed_leaves_what_runs_alone(rig: Any, obstacle: Callable[[Any], None]) -> None:
    async def story(control: Reconciler) -> None:
        rig.secrets.set("github", "s3cret")
        await rig.run(control, rig.request(secrets=("github,target=TOKEN",)))
        before = control.ground.store.get("echo")
        obstacle(rig)
        with pytest.raises(ThvError):
            await control.start("echo")
        assert control.ground.store.get("echo") == before
        assert rig.runtime.running() == ["echo.1"]
        assert [each.status for each in rig.observer.events] == [Status.RUNNING]

    play(rig, story)


def test_an_abandoned_request_is_removed_whether_it_is_ready_or_not(rig: Any) -> None:
    async def story(control: Reconciler) -> None:
        await rig.run(control)
        await rig.run(control, rig.request(request_id="other", name="other"))
        rig.gateway.answer = rig.gateway.silent
        await control.submit(rig.request(request_id="two", name="two"))
        assert await control.abandon("two") == ["two"]
        assert await control.abandon("one") == ["echo"]
        await rig.gone(control, "two")
        await rig.gone(control, "echo")
        assert [view.name for view in control.views()] == ["other"]
        assert await control.abandon("unheard-of") == []

    play(rig, story)


def test_a_request_that_is_abandoned_while_it_is_admitted_is_refused(rig: Any) -> None:
    admitting, go = threading.Event(), threading.Event()
    source = rig.drivers.get(ServerSource, "fake")
    resolve = source.resolve

    def slowly(reference: str) -> Any:
        admitting.set()
        assert go.wait(20)
        return resolve(reference)

    source.resolve = slowly

    async def story(control: Reconciler) -> None:
        submitting = asyncio.create_task(control.submit(rig.request()))
        await rig.until(admitting.is_set)
        assert await control.abandon("one") == []
        go.set()
        with pytest.raises(StartFailed, match="interrupted"):
            await submitting
        assert control.views() == []
        assert (await rig.run(control, rig.request(request_id="two")))[-1] is None

    play(rig, story)
