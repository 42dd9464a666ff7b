"""A workload is changed: beside the former life, or instead of it, and back again when the change does not work."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest
from msgspec.structs import replace

from thv_core.errors import Conflict, InvalidRequest, NotFound, PreparationFailed, RolledBack, RuntimeUnavailable
from thv_core.model.group import Group
from thv_core.model.profile import Network, Outbound, PermissionProfile
from thv_core.model.request import RunRequest
from thv_core.model.route import Route, RouteReport, RouteState
from thv_core.model.status import Desired, Status
from thv_core.model.workload import SwapKind, SwapPhase
from thv_core.services import swapping
from thv_core.spi.runtimes import ObservedState
from thv_supervisor.control import changing
from thv_supervisor.control.feed import WorkloadProgress
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


def edit(control: Reconciler, request_id: str = "edit", **changes: Any) -> RunRequest:
    """Return the request that replaces the configuration of ``echo`` by a changed one."""
    config = control.ground.store.get("echo").config
    return RunRequest(request_id=request_id, replaces="echo", run_config=replace(config, **changes))


def steps(heard: list[Any]) -> list[str]:
    return [each.step for each in heard if hasattr(each, "step")]


@pytest.fixture
def writes(tmp_path: Path) -> dict[str, Any]:
    """A grant that only one life at a time may have."""
    folder = tmp_path / "data"
    folder.mkdir()
    return {"volumes": (f"{folder}:/data",)}


def broken(rig: Any, reason: str = "it is broken") -> Callable[[Route], RouteReport | None]:
    """Return an answer that is good for the first life, and for those that run what it ran."""
    good = rig.runtime.plans[0].environment.values

    def answer(route: Route) -> RouteReport | None:
        plan = next(each for each in rig.runtime.plans if each.deployment.label == route.incarnation)
        return (rig.gateway.ready if plan.environment.values == good else rig.gateway.failing(reason))(route)

    return answer


# Beside --------------------------------------------------------------------------------------------------------------


def test_a_change_becomes_ready_beside_what_runs_and_then_takes_its_place(rig: Any) -> None:
    async def story(control: Reconciler) -> None:
        await rig.run(control)
        rig.gateway.begin("echo.1")
        heard = await rig.run(control, edit(control, env_vars={"A": "1"}))
        assert steps(heard) == ["prepared", "prepared", "prepared", "isolated", "ready", "swapped"]
        assert (heard[-2].text, heard[-1]) == ("no call was interrupted", None)
        workload = control.ground.store.get("echo")
        assert (workload.config.env_vars, workload.successor, workload.setback) == ({"A": "1"}, None, "")
        assert (workload.status, workload.restarts) == (Status.RUNNING, 0)
        label = f"echo.{workload.generation}"
        route = rig.gateway.routes["echo"]
        assert (route.incarnation, route.candidate, route.hold, route.retiring) == (label, None, False, ("echo.1",))
        assert rig.runtime.running() == ["echo.1", label]
        rig.gateway.finish("echo.1")
        await rig.until(lambda: rig.runtime.running() == [label])
        assert rig.gateway.routes["echo"].retiring == ()
        assert rig.gateway.cut == []
        assert [each.status for each in rig.observer.events] == [Status.RUNNING]

    play(rig, story)


def test_a_call_that_outlasts_every_limit_is_cut_in_the_end(rig: Any) -> None:
    rig.configuration = replace(rig.configuration, request_timeout=0.1)

    async def story(control: Reconciler) -> None:
        await rig.run(control)
        rig.gateway.begin("echo.1")
        await rig.run(control, edit(control, env_vars={"A": "1"}))
        await rig.until(lambda: rig.gateway.cut == ["echo.1"])
        await rig.until(lambda: len(rig.runtime.running()) == 1)

    play(rig, story)


def test_a_retiring_life_that_will_not_end_is_not_hurried(rig: Any) -> None:
    rig.configuration = replace(rig.configuration, request_timeout=0.05)
    attempts: list[str] = []

    def stubborn(deployment: Any, grace: float) -> None:
        attempts.append(deployment.label)
        raise RuntimeUnavailable("it will not end")

    async def story(control: Reconciler) -> None:
        await rig.run(control)
        rig.gateway.begin("echo.1")
        rig.runtime.stop = stubborn
        keeper = await control.submit(edit(control, env_vars={"A": "1"}))
        await rig.until(lambda: attempts)
        assert keeper.changing.soonest(1.0) == 1.0

    play(rig, story)


def test_a_broken_change_touches_nothing_and_says_why(rig: Any) -> None:
    async def story(control: Reconciler) -> None:
        await rig.run(control)
        rig.gateway.begin("echo.1")
        before = control.ground.store.get("echo")
        rig.gateway.answer = broken(rig)
        fed = control.ground.feed.listen()
        heard = await rig.run(control, edit(control, env_vars={"A": "1"}))
        told = [await anext(fed)]
        while not (isinstance(told[-1], WorkloadProgress) and told[-1].progress.step == "rolled-back"):
            told.append(await asyncio.wait_for(anext(fed), 5.0))
        assert told[-1].progress.text == "it is broken"
        assert isinstance(heard[-1], RolledBack)
        assert heard[-1].evidence == (
            "it is broken", "its last lines:", "  a line", "  the last line", "Nothing was left behind.",
        )  # fmt: skip
        assert control.ground.store.get("echo") == replace(before, setback="it is broken")
        await rig.until(lambda: list(rig.runtime.seen) == ["echo.1"])
        await rig.until(lambda: rig.gateway.routes["echo"].candidate is None)
        assert (rig.gateway.routes["echo"].incarnation, rig.gateway.cut) == ("echo.1", [])

    play(rig, story)


def test_a_next_life_that_exits_is_explained_by_its_exit(rig: Any) -> None:
    async def story(control: Reconciler) -> None:
        await rig.run(control)
        rig.gateway.answer = rig.gateway.silent
        keeper = await control.submit(edit(control, env_vars={"A": "1"}))
        await rig.until(lambda: len(rig.runtime.running()) == 2)
        rig.runtime.exit(rig.runtime.lives[-1], 3)
        heard = await rig.story(keeper)
        assert heard[-1].evidence[0] == "echo exited with code 3 before it answered"

    play(rig, story)


@pytest.mark.parametrize("kind", SwapKind)
def test_the_exit_of_a_next_life_explains_it_though_the_gateway_noticed_first(
    rig: Any, writes: dict[str, Any], kind: SwapKind
) -> None:
    observe = rig.runtime.observe

    def late() -> Any:
        seen = observe()
        candidate = rig.gateway.routes["echo"].candidate if rig.gateway.routes else None
        if candidate is not None:
            rig.runtime.exit(candidate.incarnation, 3)
        return seen

    async def story(control: Reconciler) -> None:
        await rig.run(control, rig.request(**(writes if kind is SwapKind.INSTEAD else {})))
        rig.gateway.answer = broken(rig, "echo ended")
        rig.runtime.observe = late
        heard = await rig.run(control, edit(control, env_vars={"A": "1"}))
        reason = "echo exited with code 3 before it answered"
        assert heard[-1].evidence[:4] == (reason, "its last lines:", "  a line", "  the last line")
        assert control.ground.store.get("echo").setback == reason

    play(rig, story)


def test_a_next_life_that_never_answers_is_given_up(rig: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(changing, "PATIENCE", 0.1)
    rig.configuration = replace(rig.configuration, start_timeout=0.1)

    async def story(control: Reconciler) -> None:
        await rig.run(control)
        rig.gateway.answer = rig.gateway.silent
        heard = await rig.run(control, edit(control, env_vars={"A": "1"}))
        assert heard[-1].evidence[0] == "the gateway does not say whether it answers within 0.2 s"

    play(rig, story)


def test_what_runs_may_end_while_its_successor_starts_and_requests_wait_for_that(rig: Any) -> None:
    async def story(control: Reconciler) -> None:
        await rig.run(control)
        rig.gateway.answer = rig.gateway.silent
        keeper = await control.submit(edit(control, env_vars={"A": "1"}))
        await rig.until(lambda: rig.gateway.routes["echo"].candidate)
        rig.runtime.exit("echo.1", 9)
        await rig.until(lambda: rig.gateway.routes["echo"].hold)
        control.ground.link.say(rig.gateway.ready(rig.gateway.routes["echo"].candidate))
        assert (await rig.story(keeper))[-1] is None
        assert rig.gateway.routes["echo"].hold is False
        assert control.view("echo").restarts == 0

    play(rig, story)


def test_a_crash_during_a_change_that_fails_counts_as_any_other(rig: Any) -> None:
    async def story(control: Reconciler) -> None:
        await rig.run(control)
        rig.gateway.answer = rig.gateway.silent
        keeper = await control.submit(edit(control, env_vars={"A": "1"}))
        await rig.until(lambda: rig.gateway.routes["echo"].candidate)
        rig.runtime.exit("echo.1", 9)
        candidate = rig.gateway.routes["echo"].candidate
        rig.gateway.answer = rig.gateway.ready
        control.ground.link.say(rig.gateway.failing("no")(candidate))
        assert isinstance((await rig.story(keeper))[-1], RolledBack)
        await rig.until(lambda: control.view("echo").restarts == 1 and control.view("echo").status is Status.RUNNING)
        assert control.ground.store.get("echo").config.env_vars == {}

    play(rig, story)


def test_both_lives_have_their_sockets_as_long_as_they_run(rig: Any) -> None:
    profile = PermissionProfile(name="some", network=Network(outbound=Outbound(allow_host=("example.test",))))

    async def story(control: Reconciler) -> None:
        await rig.run(control, rig.request(permission_profile=profile))
        rig.gateway.begin("echo.1")
        await rig.run(control, edit(control, env_vars={"A": "1"}))
        label = f"echo.{control.ground.store.get('echo').generation}"
        assert rig.gateway.outlets == {"echo": {"echo.1", label}}
        assert rig.gateway.served == {"echo.1", label}
        rig.gateway.finish("echo.1")
        await rig.until(lambda: rig.gateway.outlets == {"echo": {label}})
        await rig.run(control, edit(control, "shut", permission_profile=PermissionProfile(name="none")))
        await rig.until(lambda: rig.gateway.outlets == {})

    play(rig, story)


# Instead -------------------------------------------------------------------------------------------------------------


def test_a_life_that_writes_ends_before_the_next_begins_and_requests_wait(rig: Any, writes: dict[str, Any]) -> None:
    lived: list[int] = []
    deploy = rig.runtime.deploy

    def counted(plan: Any, connect: Any) -> Any:
        lived.append(len(rig.runtime.running()))
        return deploy(plan, connect)

    rig.runtime.deploy = counted

    async def story(control: Reconciler) -> None:
        await rig.run(control, rig.request(**writes))
        rig.gateway.begin("echo.1")
        keeper = await control.submit(edit(control, env_vars={"A": "1"}))
        await rig.until(lambda: rig.gateway.routes["echo"].hold)
        assert rig.runtime.running() == ["echo.1"]
        rig.gateway.finish("echo.1")
        heard = await rig.story(keeper)
        assert (heard[-2].step, heard[-2].text[:15], heard[-1]) == ("swapped", "requests waited", None)
        assert lived == [0, 0]
        assert rig.gateway.cut == []
        route = rig.gateway.routes["echo"]
        assert (route.hold, route.candidate, route.retiring) == (False, None, ())
        assert rig.runtime.stops == [("echo.1", swapping.SWAP_GRACE)]

    play(rig, story)


def test_the_life_of_a_stateful_server_is_not_doubled(rig: Any) -> None:
    def stateful(route: Route) -> RouteReport:
        return replace(rig.gateway.ready(route), stateful=True)

    rig.gateway.answer = stateful

    async def story(control: Reconciler) -> None:
        await rig.run(control)
        await control.submit(edit(control, env_vars={"A": "1"}))
        successor = control.ground.store.get("echo").successor
        assert successor is not None
        assert (successor.kind, successor.phase) == (SwapKind.INSTEAD, SwapPhase.ASKED)

    play(rig, story)


def test_a_broken_change_that_ended_what_ran_brings_it_back_under_the_same_hold(
    rig: Any, writes: dict[str, Any]
) -> None:
    holds: list[bool] = []

    async def story(control: Reconciler) -> None:
        await rig.run(control, rig.request(**writes))
        rig.gateway.answer = broken(rig)
        publish = control.ground.link.publish

        async def watched(workload: str, route: Route | None) -> None:
            holds.append(route is not None and route.hold)
            await publish(workload, route)

        control.ground.link.publish = watched
        heard = await rig.run(control, edit(control, env_vars={"A": "1"}))
        assert isinstance(heard[-1], RolledBack)
        assert heard[-1].evidence[0] == "it is broken"
        workload = control.ground.store.get("echo")
        assert (workload.config.env_vars, workload.successor, workload.setback) == ({}, None, "it is broken")
        assert (workload.status, workload.restarts) == (Status.RUNNING, 0)
        assert rig.runtime.running() == [f"echo.{workload.generation}"]
        first = holds.index(True)
        assert all(holds[first : len(holds) - holds[::-1].index(True)])
        assert rig.gateway.routes["echo"].hold is False
        assert [each.status for each in rig.observer.events] == [Status.RUNNING]

    play(rig, story)


def test_a_configuration_that_does_not_come_back_either_is_a_server_that_failed(
    rig: Any, writes: dict[str, Any]
) -> None:
    async def story(control: Reconciler) -> None:
        await rig.run(control, rig.request(**writes))
        rig.gateway.answer = rig.gateway.failing("nothing works")
        heard = await rig.run(control, edit(control, env_vars={"A": "1"}))
        assert isinstance(heard[-1], RolledBack)
        assert "does not run any more" in heard[-1].evidence[-1]
        await rig.until(lambda: control.view("echo").restarts > 0)
        rig.gateway.answer = rig.gateway.ready
        workload = await rig.becomes(control, "echo", Status.RUNNING)
        assert (workload.config.env_vars, workload.setback) == ({}, "nothing works")

    play(rig, story)


def test_requests_do_not_wait_for_a_call_that_lasts_and_the_change_is_tried_again(
    rig: Any, writes: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(changing, "QUIET_WITHIN", 0.05)
    monkeypatch.setattr(swapping, "SLOWEST", 0.05)

    async def story(control: Reconciler) -> None:
        await rig.run(control, rig.request(**writes))
        rig.gateway.begin("echo.1")
        keeper = await control.submit(edit(control, env_vars={"A": "1"}))
        for hold in (True, False, True, False):
            await rig.until(lambda hold=hold: rig.gateway.routes["echo"].hold is hold)
        rig.gateway.finish("echo.1")
        assert (await rig.story(keeper))[-1] is None
        assert rig.gateway.cut == []

    play(rig, story)


def test_a_change_that_a_call_never_lets_begin_is_given_up_and_nothing_was_touched(
    rig: Any, writes: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(changing, "QUIET_WITHIN", 0.02)
    monkeypatch.setattr(swapping, "SLOWEST", 0.02)
    rig.configuration = replace(rig.configuration, request_timeout=0.2)

    async def story(control: Reconciler) -> None:
        await rig.run(control, rig.request(**writes))
        rig.gateway.begin("echo.1")
        heard = await rig.run(control, edit(control, env_vars={"A": "1"}))
        assert "calls in flight did not end" in heard[-1].evidence[0]
        await rig.until(lambda: not rig.gateway.routes["echo"].hold)
        assert (rig.runtime.lives, rig.gateway.cut) == (["echo.1"], [])

    play(rig, story)


def test_a_hung_server_keeps_nobody_waiting(rig: Any, writes: dict[str, Any]) -> None:
    async def story(control: Reconciler) -> None:
        await rig.run(control, rig.request(**writes))
        rig.gateway.begin("echo.1")
        keeper = await control.submit(edit(control, env_vars={"A": "1"}))
        await rig.until(lambda: rig.gateway.routes["echo"].hold)
        control.ground.link.say(RouteReport(workload="echo", incarnation="echo.1", state=RouteState.HUNG, reason="x"))
        assert (await rig.story(keeper))[-1] is None

    play(rig, story)


# What needs no life, or has none -------------------------------------------------------------------------------------


def test_the_same_configuration_is_ready_at_once_and_writes_nothing(rig: Any) -> None:
    async def story(control: Reconciler) -> None:
        await rig.run(control)
        before = control.ground.store.get("echo")
        rig.fuse.burnt.clear()
        assert await rig.run(control, edit(control)) == [None]
        assert control.ground.store.get("echo") == before
        assert [each for each in rig.fuse.burnt if "deploy" in each] == []
        assert rig.runtime.lives == ["echo.1"]

    play(rig, story)


def test_who_belongs_where_is_changed_without_another_life(rig: Any) -> None:
    async def story(control: Reconciler) -> None:
        await rig.run(control)
        heard = await rig.run(control, edit(control, container_labels={"team": "search"}))
        assert heard == [None]
        assert control.view("echo").labels == {"team": "search"}
        assert rig.runtime.lives == ["echo.1"]

    play(rig, story)


@pytest.mark.parametrize("works", [True, False])
def test_a_stopped_workload_runs_by_a_good_change_and_stays_stopped_by_a_broken_one(rig: Any, works: bool) -> None:
    async def story(control: Reconciler) -> None:
        await rig.run(control)
        await control.stop("echo", 0)
        await rig.becomes(control, "echo", Status.STOPPED)
        if not works:
            rig.gateway.answer = broken(rig)
        heard = await rig.run(control, edit(control, env_vars={"A": "1"}))
        workload = await rig.becomes(control, "echo", Status.RUNNING if works else Status.STOPPED)
        if works:
            assert heard[-2].text == "it was not running before"
            assert rig.gateway.routes["echo"].incarnation == f"echo.{workload.generation}"
            assert rig.runtime.running() == [f"echo.{workload.generation}"]
        else:
            assert isinstance(heard[-1], RolledBack)
            assert (workload.desired, workload.setback, workload.config.env_vars) == (
                Desired.STOPPED, "it is broken", {},
            )  # fmt: skip
            await rig.until(lambda: not rig.runtime.running())
            await rig.until(lambda: not rig.gateway.routes)
            await rig.until(lambda: list(rig.runtime.seen) == ["echo.1"])

    play(rig, story)


def test_a_workload_that_was_given_up_runs_by_a_good_change(rig: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    from thv_supervisor.control import retrying

    monkeypatch.setattr(retrying, "MOST_FAILURES", 0)

    async def story(control: Reconciler) -> None:
        await rig.run(control)
        good = rig.gateway.answer
        rig.gateway.answer = rig.gateway.failing("bad")
        rig.runtime.exit("echo.1", 1)
        failed = await rig.becomes(control, "echo", Status.ERROR)
        heard = await rig.run(control, edit(control, env_vars={"A": "1"}))
        assert isinstance(heard[-1], RolledBack)
        workload = control.ground.store.get("echo")
        assert (workload.status, workload.reason) == (Status.ERROR, failed.reason)
        rig.gateway.answer = good
        assert (await rig.run(control, edit(control, "two", env_vars={"A": "1"})))[-1] is None
        assert (await rig.becomes(control, "echo", Status.RUNNING)).setback == ""

    play(rig, story)


# Who comes between ---------------------------------------------------------------------------------------------------


def test_a_second_change_is_refused_and_the_same_request_again_is_the_same_change(rig: Any) -> None:
    async def story(control: Reconciler) -> None:
        await rig.run(control)
        rig.gateway.answer = rig.gateway.silent
        request = edit(control, env_vars={"A": "1"})
        keeper = await control.submit(request)
        assert await control.submit(request) is keeper
        with pytest.raises(Conflict, match="echo is being changed"):
            await control.submit(edit(control, "two", env_vars={"A": "2"}))

    play(rig, story)


def test_what_only_the_gateway_does_otherwise_is_done_at_once_and_disturbs_no_server(rig: Any) -> None:
    async def story(control: Reconciler) -> None:
        await rig.run(control)
        (life,) = rig.runtime.lives
        keeper = await control.submit(edit(control, allowed_origins=("https://a.example",), session_ttl="5m"))
        assert await rig.story(keeper) == [None]
        await rig.until(lambda: rig.gateway.routes["echo"].terms.origins == ("https://a.example",))
        route = rig.gateway.routes["echo"]
        assert (route.incarnation, route.terms.session_ttl, route.candidate) == (life, 300.0, None)
        assert (rig.runtime.lives, control.ground.store.get("echo").successor) == ([life], None)

    play(rig, story)


def test_a_retiring_life_has_as_long_as_a_call_to_its_workload_may_take(rig: Any) -> None:
    async def story(control: Reconciler) -> None:
        keeper = await control.submit(rig.request(request_timeout="30m"))
        assert keeper.tended.request_timeout == 1800.0

    play(rig, story)


def test_what_somebody_else_changed_while_a_change_was_prepared_is_not_lost(rig: Any) -> None:
    build = rig.builder.build

    async def story(control: Reconciler) -> None:
        await rig.run(control)
        control.ground.store.add_group(Group(name="team"))

        def meanwhile(*given: Any) -> Any:
            control.ground.store.move(["echo"], "team")
            return build(*given)

        rig.builder.build = meanwhile
        with pytest.raises(Conflict, match="echo was changed by somebody else meanwhile"):
            await control.submit(edit(control, env_vars={"A": "1"}))
        workload = control.ground.store.get("echo")
        assert (workload.config.group, workload.successor) == ("team", None)

    play(rig, story)


@pytest.mark.parametrize("kind", ["beside", "instead"])
@pytest.mark.parametrize("act", ["stop", "remove", "start", "abandon"])
def test_whoever_decides_otherwise_discards_a_change_and_its_listener_is_told(
    rig: Any, writes: dict[str, Any], kind: str, act: str
) -> None:
    async def story(control: Reconciler) -> None:
        await rig.run(control, rig.request(**(writes if kind == "instead" else {})))
        rig.gateway.answer = rig.gateway.silent
        keeper = await control.submit(edit(control, env_vars={"A": "1"}))
        listening = asyncio.create_task(rig.story(keeper))
        await rig.until(lambda: rig.gateway.routes["echo"].candidate)
        rig.gateway.answer = rig.gateway.ready
        acts = {
            "stop": lambda: control.stop("echo", 0),
            "remove": lambda: control.remove("echo"),
            "start": lambda: control.start("echo"),
            "abandon": lambda: control.abandon("edit"),
        }
        await acts[act]()
        assert isinstance((await listening)[-1], RolledBack)
        await settled(rig, control, act)

    play(rig, story)


async def settled(rig: Any, control: Reconciler, act: str) -> None:
    if act == "remove":
        await rig.gone(control, "echo")
        assert (rig.runtime.seen, rig.gateway.routes) == ({}, {})
        return
    await rig.becomes(control, "echo", Status.STOPPED if act == "stop" else Status.RUNNING)
    workload = control.ground.store.get("echo")
    expected = [] if act == "stop" else [f"echo.{workload.generation}"]
    await rig.until(lambda: rig.runtime.running() == expected)
    await rig.until(lambda: act == "stop" or rig.gateway.routes["echo"].candidate is None)
    assert (workload.config.env_vars, workload.successor) == ({}, None)
    assert [each.state for each in rig.runtime.seen.values()].count(ObservedState.EXITED) <= 1


def test_an_interruption_after_the_change_was_made_removes_nothing(rig: Any) -> None:
    async def story(control: Reconciler) -> None:
        await rig.run(control)
        await rig.run(control, edit(control, env_vars={"A": "1"}))
        assert await control.abandon("edit") == []
        assert control.view("echo").status is Status.RUNNING

    play(rig, story)


def test_a_change_that_could_not_start_is_refused_before_anything_is_recorded(rig: Any) -> None:
    async def story(control: Reconciler) -> None:
        await rig.run(control)
        before = control.ground.store.get("echo")
        refused = (
            (edit(control, image="fake://empty@1.0.0"), PreparationFailed),
            (edit(control, secrets=("gone,target=T",)), NotFound),
            (edit(control, group="nowhere"), NotFound),
            (edit(control, runtime="processes"), InvalidRequest),
            (edit(control, name="other"), InvalidRequest),
            (RunRequest(request_id="x", replaces="nobody", server="fake://echo"), NotFound),
        )
        for request, error in refused:
            with pytest.raises(error):
                await control.submit(request)
        assert control.ground.store.get("echo") == before

    play(rig, story)


def test_a_change_keeps_the_version_the_port_and_the_group_that_it_does_not_name(rig: Any) -> None:
    async def story(control: Reconciler) -> None:
        await rig.run(control, rig.request("fake://echo@1.0.0"))
        before = control.ground.store.get("echo").config
        await rig.run(control, RunRequest(request_id="e", replaces="echo", server="fake://echo", env_vars={"A": "1"}))
        after = control.ground.store.get("echo").config
        assert after == replace(before, env_vars={"A": "1"})
        await rig.run(control, RunRequest(request_id="g", replaces="echo", server="fake://echo@1.1.0"))
        assert control.ground.store.get("echo").config == replace(before, image="fake://echo@1.1.0")

    play(rig, story)


def test_a_value_from_a_shell_is_kept_for_a_change_and_replaced_by_a_new_one(rig: Any) -> None:
    async def story(control: Reconciler) -> None:
        await rig.run(control, rig.request(secrets=("env:T,target=TOKEN",), shell_values={"env:T": "old"}))
        await rig.run(control, edit(control, env_vars={"A": "1"}))
        assert rig.runtime.plans[-1].environment.values["TOKEN"] == "old"
        request = replace(edit(control, "two", env_vars={"A": "2"}), shell_values={"env:T": "new"})
        await rig.run(control, request)
        assert rig.runtime.plans[-1].environment.values["TOKEN"] == "new"
        rig.gateway.answer = rig.gateway.failing("no")
        request = replace(edit(control, "three", env_vars={"A": "3"}), shell_values={"env:T": "wrong"})
        assert isinstance((await rig.run(control, request))[-1], RolledBack)
        assert control.ground.shell_values.all() == {"echo": {"env:T": "new"}}

    play(rig, story)


def test_a_change_whose_values_are_lost_ends_before_what_runs_does(
    rig: Any, writes: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    from thv_supervisor.control import retrying

    monkeypatch.setattr(retrying, "RECALL", 0.0)

    async def first(control: Reconciler) -> None:
        values = {"secrets": ("env:T,target=TOKEN",), "shell_values": {"env:T": "v"}}
        await rig.run(control, rig.request(**values, **writes))
        rig.gateway.begin("echo.1")
        await control.submit(edit(control, env_vars={"A": "1"}))
        await rig.until(lambda: rig.gateway.routes["echo"].hold)
        rig.shell = ShellValues({})

    async def second(control: Reconciler) -> None:
        rig.gateway.finish("echo.1")
        monkeypatch.setattr(changing, "QUIET_WITHIN", 0.0)
        await rig.until(lambda: control.ground.store.get("echo").successor is None)
        assert control.ground.store.get("echo").config.env_vars == {}

    play(rig, first, second)
    assert rig.runtime.running()
