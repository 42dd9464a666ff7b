"""What people and programs see of a workload."""

import msgspec

from thv_core.model.entry import PackageRoot
from thv_core.model.plan import Deployment, DeploymentPlan
from thv_core.model.profile import Grant
from thv_core.model.route import RouteReport, RouteState
from thv_core.model.run_config import RunConfig
from thv_core.model.status import Status
from thv_core.model.workload import Workload
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
    assert isolation(PLAN, "sandbox") == "sandbox: no network, no files of yours"


def test_grants_are_named_by_what_they_allow() -> None:
    grants = (Grant(source="/a", target="/a", writable=False), Grant(source="/b", target="/b", writable=True))
    plan = msgspec.structs.replace(PLAN, grants=grants)
    assert isolation(plan, "sandbox") == "sandbox: no network, reads /a, /b, writes /b"


def test_tools_are_counted_and_named_up_to_six() -> None:
    tools = tuple(f"t{number}" for number in range(8))
    report = RouteReport(workload="time", incarnation="time.1", state=RouteState.READY, tools=tools)
    assert readiness(report) == "8 tools: t0, t1, t2, t3, t4, t5, …"
    assert readiness(None) == "no tools"
