"""Describe workloads to people and programs: views, and the sentence that says how a server is isolated. Pure."""

from __future__ import annotations

from datetime import UTC, datetime

from thv_core.model.plan import DeploymentPlan, grants_of
from thv_core.model.profile import Grant
from thv_core.model.route import RouteReport
from thv_core.model.run_config import RunConfig
from thv_core.model.status import Status
from thv_core.model.workload import Workload, WorkloadView
from thv_core.services.explaining import files, limited, reach, sockets
from thv_core.spi.runtimes import Observed

__all__ = ["isolation", "readiness", "view", "workload_url"]

MOST_REACHED = 4
"""How many entries of a profile are named in a sentence."""


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
        status_context="" if _runs_again(workload) else workload.reason,
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
        reaches=reach(config.permission_profile.network),
        limits=observed.limits if observed and running else (),
        notes=_notes(workload, observed, report),
    )


def _runs_again(workload: Workload) -> bool:
    """Tell whether the reason of a workload is why it had to be started again, and not what it is doing."""
    return workload.status is Status.RUNNING and bool(workload.reason)


def _notes(workload: Workload, observed: Observed | None, report: RouteReport | None) -> tuple[str, ...]:
    again = (f"it was started again: {workload.reason}",) if _runs_again(workload) else ()
    seen = observed.notes if observed else ()
    heard = report.notes if report else ()
    return (*again, *_cautions(workload.config, grants_of(workload.config)), *seen, *heard)


def isolation(plan: DeploymentPlan, runtime: str) -> str:
    """Say how a server is isolated: ``sandbox: no network, reads /a, writes /b, 512 MiB, 256 processes``."""
    reached = reach(plan.network, MOST_REACHED)
    network = f"reaches {reached} and nothing else" if reached else "no network"
    sight = ", with their Unix sockets" if sockets(plan.allow_socket, plan.grants) else ""
    return f"{runtime}: {network}, {files(plan.grants)}{sight}, {limited(plan.limits)}"


def readiness(report: RouteReport | None) -> str:
    """Say what a ready server offers: ``2 tools: get_current_time, convert_time``."""
    tools = report.tools if report else ()
    if not tools:
        return "no tools"
    shown = ", ".join(tools[:6]) + (", …" if len(tools) > 6 else "")
    return f"{len(tools)} tool{'s' if len(tools) != 1 else ''}: {shown}"


def _cautions(config: RunConfig, granted: tuple[Grant, ...]) -> tuple[str, ...]:
    reached = sockets(config.permission_profile.allow_socket, granted)
    return (f"it can reach {reached}",) if reached else ()


def _instant(seconds: float) -> str:
    return datetime.fromtimestamp(seconds, UTC).isoformat(timespec="seconds") if seconds else ""
