"""Decide how a workload is changed: whether it needs a new life, in which way, and how patient each phase is. Pure."""

from __future__ import annotations

import msgspec

from thv_core.model.plan import grants_of
from thv_core.model.run_config import RunConfig
from thv_core.model.status import Desired, Status
from thv_core.model.workload import Successor, SwapKind, SwapPhase, Workload

__all__ = [
    "QUIET_WITHIN",
    "SWAP_GRACE",
    "first_phase",
    "grace_of",
    "is_served",
    "needs_new_life",
    "pause_before_holding",
    "readiness_limit",
    "succeeding",
    "swap_kind",
]

QUIET_WITHIN = 3.0
"""Seconds that the calls in flight may take to end while new requests wait; then these are let go on."""

SWAP_GRACE = 1.0
"""Seconds that a life gets to end by itself while requests wait for the next one."""

SOON = 3.0
SOON_LIMIT = 6.0
"""A life whose former one was ready within :data:`SOON` seconds gets so many while requests wait."""

SLOWEST = 30.0

_WITHOUT_EFFECT = ("group", "container_labels", "permission_profile_name_or_path", "proxy_mode")

_OF_THE_GATEWAY = ("allowed_origins", "endpoint_prefix", "trust_proxy_headers", "strict_protocol_validation")
"""What the gateway does by itself, and cannot fail: an address or a certificate can, and is tried by a new life."""


def needs_new_life(current: RunConfig, wanted: RunConfig) -> bool:
    """Tell whether a server must start anew to run by another configuration.

    Who belongs where is no such reason, nor what the gateway alone does otherwise from one request to the next.
    """
    at_once = (*_WITHOUT_EFFECT, *_OF_THE_GATEWAY, *(() if _has_private_talks(wanted) else ("session_ttl",)))
    return msgspec.structs.replace(current, **{name: getattr(wanted, name) for name in at_once}) != wanted


def _has_private_talks(config: RunConfig) -> bool:
    """Tell whether sessions have conversations of their own with the server, which last as long as was said first."""
    return config.stdio_sessions == "per-client" or config.transport == "sse"


def swap_kind(current: RunConfig, wanted: RunConfig, *, runs: bool, stateful: bool) -> SwapKind:
    """Return how a life by ``wanted`` takes the place of one by ``current``.

    :param runs: whether the current life runs.
    :param stateful: whether its server keeps sessions that another life does not know.
    """
    exclusive = stateful or _writes(current) or _writes(wanted)
    return SwapKind.INSTEAD if exclusive or not runs else SwapKind.BESIDE


def first_phase(kind: SwapKind, *, runs: bool) -> SwapPhase:
    """Return where a swap begins: only a life that runs, and has to end first, is waited for."""
    return SwapPhase.ASKED if kind is SwapKind.INSTEAD and runs else SwapPhase.STARTING


def is_served(workload: Workload) -> bool:
    """Tell whether clients were served before a change began, so that their requests may wait for its end."""
    return workload.status in (Status.RUNNING, Status.UNHEALTHY)


def succeeding(workload: Workload) -> Workload:
    """Return the workload as it would be with its successor's configuration and life in its place."""
    successor = workload.successor
    if successor is None:
        return workload
    return msgspec.structs.replace(
        workload, config=successor.config, generation=successor.generation, desired=Desired.RUNNING
    )


def grace_of(workload: Workload, usual: float) -> float:
    """Return the seconds that a life of a workload gets to end by itself: few while requests wait for the next.

    None for what was tried in vain: nobody was served by it.
    """
    successor = workload.successor
    if not _ends_first(successor):
        return usual
    return 0.0 if successor is not None and successor.rolling_back else min(usual, SWAP_GRACE)


def pause_before_holding(attempts: int) -> float:
    """Return the seconds from one vain hold to the next, after so many of them."""
    return min(2.0 ** (attempts - 1), SLOWEST) if attempts else 0.0


def readiness_limit(workload: Workload, former_start: float, usual: float) -> float:
    """Return the seconds that the next life of a workload may take to be ready.

    :param former_start: when the process of the current life began, seconds since the epoch; 0 when that is unknown.
    :param usual: what a start is given otherwise.
    """
    successor = workload.successor
    is_trial = _ends_first(successor) and successor is not None and not successor.rolling_back
    took = workload.started_at - former_start if former_start else SOON + 1
    return SOON_LIMIT if is_trial and is_served(workload) and 0 <= took <= SOON else usual


def _ends_first(successor: Successor | None) -> bool:
    return successor is not None and successor.kind is SwapKind.INSTEAD and successor.phase is SwapPhase.STARTING


def _writes(config: RunConfig) -> bool:
    return any(each.writable for each in grants_of(config))
