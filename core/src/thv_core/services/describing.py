"""Describe workloads to people and programs: views, and the sentence that says how a server is isolated. Pure."""

from __future__ import annotations

from datetime import UTC, datetime

from thv_core.model.plan import DeploymentPlan, grants_of
from thv_core.model.profile import Grant
from thv_core.model.route import RouteReport, RouteState
from thv_core.model.run_config import RunConfig
from thv_core.model.status import Status
from thv_core.model.workload import Successor, SwapPhase, Workload, WorkloadView
from thv_core.services.explaining import files, limited, reach, sockets
from thv_core.services.serving import client_url
from thv_core.spi.runtimes import Observed

__all__ = ["isolation", "readiness", "view", "workload_url"]

MOST_REACHED = 4
"""How many entries of a profile are named in a sentence."""

_PHASES = {
    SwapPhase.ASKED: "it is about to begin",
    SwapPhase.HOLDING: "requests wait until those in flight are answered",
    SwapPhase.STARTING: "the new server is becoming ready",
}
_HEALTH = {RouteState.READY: "healthy", RouteState.STARTING: "unknown"}


def workload_url(workload: Workload) -> str:
    """Return the URL that an MCP client uses."""
    return client_url(workload.config)


def view(workload: Workload, observed: Observed | None, report: RouteReport | None) -> WorkloadView:
    """Return the workload as the API shows it."""
    config = workload.config
    running = workload.status in (Status.RUNNING, Status.UNHEALTHY)
    granted = grants_of(config)
    return WorkloadView(
        name=workload.name,
        package=config.image or config.remote_url.partition("?")[0],
        remote=bool(config.remote_url),
        url=workload_url(workload),
        port=config.port,
        transport_type=config.transport,
        proxy_mode=config.proxy_mode,
        status=workload.status,
        status_context="" if _runs_again(workload) else workload.reason,
        created_at=_instant(workload.created_at),
        started_at=_instant(workload.started_at) if running else "",
        group=config.group,
        labels=config.container_labels,
        tools=report.tools if report else (),
        health=_health(workload, report),
        runtime=config.runtime,
        pid=observed.pid if observed and running else 0,
        restarts=workload.restarts,
        protocol_version=report.protocol_version if report else "",
        eras=report.eras if report else (),
        tls_certificate=config.tls_certificate,
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
    cautions = (*_cautions(workload.config, grants_of(workload.config)), *_deprecations(workload.config))
    return (*_changes(workload), *again, *_seating(workload), *cautions, *seen, *heard)


def _seating(workload: Workload) -> tuple[str, ...]:
    count = sum(each.beside == workload.generation for each in workload.seats)
    whose = "1 client session has a process" if count == 1 else f"{count} client sessions have processes"
    return (f"{whose} of its own" if count == 1 else f"{whose} of their own",) if count else ()


def _changes(workload: Workload) -> tuple[str, ...]:
    """Say what is being changed, and why the last change was undone."""
    under_way = f"a change is under way: {_progress(workload.successor)}" if workload.successor else ""
    setback = f"the last change was rolled back: {workload.setback}" if workload.setback else ""
    return tuple(note for note in (under_way, setback) if note)


def _progress(successor: Successor) -> str:
    if successor.rolling_back:
        return f"the former configuration comes back, because {successor.rolling_back}"
    return _PHASES[successor.phase]


def _health(workload: Workload, report: RouteReport | None) -> str:
    if workload.status is Status.UNHEALTHY:
        return "unhealthy"
    if workload.status is not Status.RUNNING or report is None:
        return "unknown"
    return _HEALTH.get(report.state, "unhealthy")


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


def _deprecations(config: RunConfig) -> tuple[str, ...]:
    legacy = "clients are shown /sse, which is deprecated; /mcp is served as well"
    return (legacy,) if config.proxy_mode == "sse" else ()


def _instant(seconds: float) -> str:
    return datetime.fromtimestamp(seconds, UTC).isoformat(timespec="seconds") if seconds else ""
