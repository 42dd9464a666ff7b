"""What people and programs see of a workload."""

import msgspec
import pytest

from thv_core.model.entry import PackageRoot
from thv_core.model.plan import Deployment, DeploymentPlan, ResourceLimits
from thv_core.model.profile import Grant, Network, Outbound, PermissionProfile
from thv_core.model.route import RouteReport, RouteState
from thv_core.model.run_config import RunConfig
from thv_core.model.status import Status
from thv_core.model.workload import Successor, SwapKind, SwapPhase, Workload
from thv_core.services.describing import isolation, readiness, view
from thv_core.spi.runtimes import Observed, ObservedState, Stdio

WORKLOAD = Workload(
    name="time",
    config=RunConfig(name="time", image="uvx://t@1", port=19001, runtime="sandbox"),
    request_id="r",
    status=Status.RUNNING,
    started_at=1.0,
)
DEPLOYMENT = Deployment(workload="time", generation=1)
PLAN = DeploymentPlan(deployment=DEPLOYMENT, command=("x",), root=PackageRoot(path="/r", command=("x",)))


def test_a_running_workload_shows_its_url_and_pid() -> None:
    observed = Observed(
        deployment=DEPLOYMENT, state=ObservedState.RUNNING, stdio=Stdio(stdin="i", stdout="o", lock="l"), pid=42
    )
    shown = view(WORKLOAD, observed, None)
    assert (shown.url, shown.pid) == ("http://127.0.0.1:19001/mcp", 42)
    assert shown.started_at == "1970-01-01T00:00:01+00:00"


def test_a_stopped_workload_shows_no_pid_and_no_start() -> None:
    stopped = msgspec.structs.replace(WORKLOAD, status=Status.STOPPED)
    shown = view(stopped, None, None)
    assert (shown.pid, shown.started_at) == (0, "")


def test_a_plan_without_grants_has_no_files_of_the_user() -> None:
    assert isolation(PLAN, "sandbox") == "sandbox: no network, no files of yours, 512 MiB, 256 processes"


def test_grants_are_named_by_what_they_allow() -> None:
    grants = (Grant(source="/a", target="/a", writable=False), Grant(source="/b", target="/b", writable=True))
    plan = msgspec.structs.replace(PLAN, grants=grants)
    assert isolation(plan, "sandbox") == "sandbox: no network, reads /a, /b, writes /b, 512 MiB, 256 processes"


def isolated(**more: object) -> str:
    return isolation(msgspec.structs.replace(PLAN, **more), "sandbox")


def test_what_is_reached_is_named_and_that_it_is_all() -> None:
    named = Network(outbound=Outbound(allow_host=("example.com",)))
    text = "sandbox: reaches example.com:80,443 and nothing else, no files of yours, 512 MiB, 256 processes"
    assert isolated(network=named) == text
    assert "reaches any public address on port 443 and nothing" in isolated(
        network=Network(outbound=Outbound(allow_port=(443,)))
    )
    assert "no network" in isolated(network=Network(mode="none", outbound=Outbound(allow_host=("x",))))


def test_of_many_hosts_four_are_named_and_the_others_counted() -> None:
    many = Network(outbound=Outbound(allow_host=tuple(f"{letter}.example:1" for letter in "abcdef")))
    assert "reaches a.example:1, b.example:1, c.example:1, d.example:1, and 2 more and nothing" in isolated(
        network=many
    )


def test_limits_are_named_as_they_are_asked_for() -> None:
    assert isolated(limits=ResourceLimits(memory=1 << 30, pids=32, cpu=2)).endswith("1024 MiB, 32 processes, 2 cores")


def test_sockets_that_a_server_may_connect_to_are_named_and_noted() -> None:
    grants = (Grant(source="/a", target="/a", writable=False),)
    text = "sandbox: no network, reads /a, writes nothing, with their Unix sockets, 512 MiB, 256 processes"
    assert isolated(grants=grants, allow_socket=True) == text
    assert "sockets" not in isolated(allow_socket=True)
    profile = PermissionProfile(read=("/a",), allow_socket=True)
    config = msgspec.structs.replace(WORKLOAD.config, permission_profile=profile)
    (note,) = view(msgspec.structs.replace(WORKLOAD, config=config), None, None).notes
    assert note == "it can reach whatever answers at the Unix sockets in what it can read"


STDIO = Stdio(stdin="i", stdout="o", lock="l")


def test_a_view_says_what_is_reached_and_what_the_runtime_observes() -> None:
    profile = PermissionProfile(network=Network(outbound=Outbound(allow_host=("x.example:1",))))
    config = msgspec.structs.replace(WORKLOAD.config, permission_profile=profile)
    observed = Observed(
        deployment=DEPLOYMENT, state=ObservedState.RUNNING, stdio=STDIO, limits=("memory",), notes=("loud",)
    )
    shown = view(msgspec.structs.replace(WORKLOAD, config=config), observed, None)
    assert (shown.reaches, shown.limits, shown.notes) == ("x.example:1", ("memory",), ("loud",))
    assert (view(WORKLOAD, None, None).reaches, view(WORKLOAD, None, None).limits) == ("", ())


def test_a_server_that_runs_again_has_a_note_of_why_it_was_started_again() -> None:
    again = msgspec.structs.replace(WORKLOAD, status=Status.RUNNING, reason="time wrote a line that is too long")
    shown = view(again, None, None)
    assert (shown.status_context, shown.notes) == ("", ("it was started again: time wrote a line that is too long",))


def test_what_the_gateway_notes_is_told_behind_what_the_runtime_notes() -> None:
    observed = Observed(deployment=DEPLOYMENT, state=ObservedState.RUNNING, stdio=STDIO, notes=("loud",))
    report = RouteReport(workload="time", incarnation="time.1", state=RouteState.READY, notes=("noisy",))
    assert view(WORKLOAD, observed, report).notes == ("loud", "noisy")


def test_of_a_server_that_does_not_run_the_notes_remain_and_the_limits_do_not() -> None:
    ended = msgspec.structs.replace(WORKLOAD, status=Status.ERROR)
    observed = Observed(
        deployment=DEPLOYMENT, state=ObservedState.EXITED, stdio=STDIO, limits=("m",), notes=("killed",)
    )
    shown = view(ended, observed, None)
    assert (shown.limits, shown.notes) == ((), ("killed",))


def test_tools_are_counted_and_named_up_to_six() -> None:
    tools = tuple(f"t{number}" for number in range(8))
    report = RouteReport(workload="time", incarnation="time.1", state=RouteState.READY, tools=tools)
    assert readiness(report) == "8 tools: t0, t1, t2, t3, t4, t5, …"
    assert readiness(None) == "no tools"


def test_group_and_labels_are_shown() -> None:
    config = msgspec.structs.replace(WORKLOAD.config, group="search", container_labels={"team": "x"})
    shown = view(msgspec.structs.replace(WORKLOAD, config=config), None, None)
    assert (shown.group, shown.labels) == ("search", {"team": "x"})


SUCCESSOR = Successor(config=WORKLOAD.config, generation=2, request_id="r2", kind=SwapKind.INSTEAD)


@pytest.mark.parametrize(
    ("change", "text"),
    [
        ({}, "it is about to begin"),
        ({"phase": SwapPhase.HOLDING}, "requests wait until those in flight are answered"),
        ({"phase": SwapPhase.STARTING}, "the new server is becoming ready"),
        (
            {"phase": SwapPhase.STARTING, "rolling_back": "t exited with code 1"},
            "the former configuration comes back, because t exited with code 1",
        ),
    ],
)
def test_a_change_under_way_is_noted_with_how_far_it_is(change: dict[str, object], text: str) -> None:
    changing = msgspec.structs.replace(WORKLOAD, successor=msgspec.structs.replace(SUCCESSOR, **change))
    assert view(changing, None, None).notes == (f"a change is under way: {text}",)


def test_a_change_that_was_rolled_back_is_noted_with_its_reason_before_all_else() -> None:
    setback = msgspec.structs.replace(WORKLOAD, setback="t exited with code 1", reason="t wrote too much")
    assert view(setback, None, None).notes == (
        "the last change was rolled back: t exited with code 1",
        "it was started again: t wrote too much",
    )


@pytest.mark.parametrize(
    ("status", "state", "health"),
    [
        (Status.RUNNING, RouteState.READY, "healthy"),
        (Status.RUNNING, RouteState.HUNG, "unhealthy"),
        (Status.RUNNING, RouteState.GONE, "unhealthy"),
        (Status.RUNNING, RouteState.STARTING, "unknown"),
        (Status.RUNNING, None, "unknown"),
        (Status.UNHEALTHY, RouteState.READY, "unhealthy"),
        (Status.UNHEALTHY, None, "unhealthy"),
        (Status.STARTING, RouteState.STARTING, "unknown"),
        (Status.STOPPED, RouteState.READY, "unknown"),
        (Status.ERROR, None, "unknown"),
    ],
)
def test_health_is_what_is_known_of_it(status: Status, state: RouteState | None, health: str) -> None:
    report = None if state is None else RouteReport(workload="time", incarnation="time.1", state=state)
    assert view(msgspec.structs.replace(WORKLOAD, status=status), None, report).health == health
