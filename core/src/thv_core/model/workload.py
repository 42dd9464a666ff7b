"""A workload as the state remembers it and as users see it."""

from __future__ import annotations

from thv_core.model.document import Document
from thv_core.model.run_config import RunConfig
from thv_core.model.status import Desired, Status

__all__ = ["Workload", "WorkloadView"]


class Workload(Document, frozen=True, kw_only=True):
    """One row of the state.

    ``generation`` is the life that should run now. ``provisional`` is true until the first time it was ready: a
    workload that fails before that is removed, not restarted. ``restarts`` counts the ends that nobody asked for.
    Times are seconds since the epoch.
    """

    name: str
    config: RunConfig
    request_id: str
    desired: Desired = Desired.RUNNING
    status: Status = Status.STARTING
    reason: str = ""
    generation: int = 1
    provisional: bool = True
    restarts: int = 0
    created_at: float = 0.0
    started_at: float = 0.0


class WorkloadView(Document, frozen=True, kw_only=True):
    """A workload on the API, with the field names of ToolHive's ``core.Workload`` and ours behind them.

    ``reads`` and ``writes`` are the paths of this machine that its server was granted, ``reaches`` says in words what
    it may reach, ``limits`` how each limit is enforced, and ``notes`` what else its user should know.
    """

    name: str
    package: str
    url: str
    port: int
    transport_type: str
    proxy_mode: str
    status: Status
    status_context: str
    created_at: str
    started_at: str
    group: str
    tools: tuple[str, ...] = ()
    remote: bool = False
    runtime: str = ""
    pid: int = 0
    restarts: int = 0
    protocol_version: str = ""
    reads: tuple[str, ...] = ()
    writes: tuple[str, ...] = ()
    reaches: str = ""
    limits: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()
