"""A workload as the state remembers it and as users see it."""

from __future__ import annotations

from enum import StrEnum

import msgspec

from thv_core.model.document import Document
from thv_core.model.run_config import RunConfig
from thv_core.model.status import Desired, Status

__all__ = ["SeatLife", "Successor", "SwapKind", "SwapPhase", "Workload", "WorkloadView"]


class SwapKind(StrEnum):
    """How a life takes the place of another.

    ``beside``: it becomes ready while the former one serves. ``instead``: the former one ends first, because both would
    hold something exclusive; new requests wait meanwhile.
    """

    BESIDE = "beside"
    INSTEAD = "instead"


class SwapPhase(StrEnum):
    """How far a swap is.

    ``asked``: the former life serves. ``holding``: new requests wait for its calls in flight to end. ``starting``: the
    former life has ended, or need not end first, and the new one becomes ready.
    """

    ASKED = "asked"
    HOLDING = "holding"
    STARTING = "starting"


class Successor(Document, frozen=True, kw_only=True):
    """A configuration that is to take the place of the current one, once a life of it is ready.

    ``request_id`` is that of the request that asked for it. ``formerly`` is what was wanted of the workload before and
    is wanted again if this fails. ``rolling_back`` says why the configuration that was tried before this one was given
    up; it is empty unless this one is the former configuration on its way back.
    """

    config: RunConfig
    generation: int
    request_id: str
    kind: SwapKind
    phase: SwapPhase = SwapPhase.ASKED
    formerly: Desired = Desired.RUNNING
    rolling_back: str = ""


class SeatLife(Document, frozen=True, kw_only=True):
    """A further process of a workload, for the one client session that the gateway calls ``seat``.

    ``generation`` is its number, ``beside`` that of the life in whose place it answers.
    """

    seat: str
    generation: int
    beside: int


class Workload(Document, frozen=True, kw_only=True):
    """One row of the state.

    ``generation`` is the life that should run now. ``provisional`` is true until the first time it was ready: a
    workload that fails before that is removed, not restarted. ``restarts`` counts the ends that nobody asked for.
    ``successor`` is the change under way, if there is one; ``setback`` says why the last one was rolled back.
    ``seats`` are the processes that client sessions have for themselves.
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
    successor: Successor | None = None
    setback: str = ""
    seats: tuple[SeatLife, ...] = ()


class WorkloadView(Document, frozen=True, kw_only=True):
    """A workload on the API, with the field names of ToolHive's ``core.Workload`` and ours behind them.

    ``reads`` and ``writes`` are the paths of this machine that its server was granted, ``reaches`` says in words what
    it may reach, ``limits`` how each limit is enforced, and ``notes`` what else its user should know. ``health`` is
    ``healthy``, ``unhealthy`` or ``unknown``. ``eras`` are those of the protocol that its server speaks, ``legacy``
    and ``modern``. ``tls_certificate`` is the path of the certificate that its ``url`` shows, if it is https.
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
    labels: dict[str, str] = msgspec.field(default_factory=dict[str, str])
    tools: tuple[str, ...] = ()
    remote: bool = False
    health: str = "unknown"
    runtime: str = ""
    pid: int = 0
    restarts: int = 0
    protocol_version: str = ""
    eras: tuple[str, ...] = ()
    tls_certificate: str = ""
    reads: tuple[str, ...] = ()
    writes: tuple[str, ...] = ()
    reaches: str = ""
    limits: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()
