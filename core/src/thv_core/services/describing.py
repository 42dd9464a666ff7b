"""Describe workloads to people and programs: views, and the sentence that says how a server is isolated. Pure."""

from __future__ import annotations

from datetime import UTC, datetime

from thv_core.model.plan import DeploymentPlan, grants_of
from thv_core.model.route import RouteReport
from thv_core.model.status import Status
from thv_core.model.workload import Workload, WorkloadView
from thv_core.spi.runtimes import Observed

__all__ = ["isolation", "readiness", "view", "workload_url"]


def workload_url(workload: Workload) -> str:
    """Return the URL that an MCP client uses."""
    host = f"[{workload.config.host}]" if ":" in workload.config.host else workload.config.host
    return f"http://{host}:{workload.config.port}/mcp"


def view(workload: Workload, observed: Observed | None, report: RouteReport | None) -> WorkloadView:
    """Return the workload as the API shows it."""
    config = workload.config
    running = workload.status in (Status.RUNNING, Status.UNHEALTHY)
    granted = grants_of(config)
    return WorkloadView(
        name=workload.name,
        package=config.image,
        url=workload_url(workload),
        port=config.port,
        transport_type=config.transport,
        proxy_mode="streamable-http",
        status=workload.status,
        status_context=workload.reason,
        created_at=_instant(workload.created_at),
        started_at=_instant(workload.started_at) if running else "",
        group=config.group,
        tools=report.tools if report else (),
        runtime=config.runtime,
        pid=observed.pid if observed and running else 0,
        restarts=workload.restarts,
        protocol_version=report.protocol_version if report else "",
        reads=tuple(each.source for each in granted),
        writes=tuple(each.source for each in granted if each.writable),
    )


def isolation(plan: DeploymentPlan, runtime: str) -> str:
    """Say how a server is isolated: ``sandbox: no network, reads /a, writes /b``."""
    reads = [each.source for each in plan.grants if not each.writable]
    writes = [each.source for each in plan.grants if each.writable]
    if not plan.grants:
        return f"{runtime}: no network, no files of yours"
    return f"{runtime}: no network, reads {_listed(reads + writes)}, writes {_listed(writes)}"


def readiness(report: RouteReport | None) -> str:
    """Say what a ready server offers: ``2 tools: get_current_time, convert_time``."""
    tools = report.tools if report else ()
    if not tools:
        return "no tools"
    shown = ", ".join(tools[:6]) + (", …" if len(tools) > 6 else "")
    return f"{len(tools)} tool{'s' if len(tools) != 1 else ''}: {shown}"


def _listed(paths: list[str]) -> str:
    return ", ".join(paths) if paths else "nothing"


def _instant(seconds: float) -> str:
    return datetime.fromtimestamp(seconds, UTC).isoformat(timespec="seconds") if seconds else ""
