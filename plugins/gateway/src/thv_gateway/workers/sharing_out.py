"""Which routes a worker serves, and which of their requests it answers by itself."""

from __future__ import annotations

import hashlib
from pathlib import Path

from thv_core.model.route import RouteSnapshot, RouteState
from thv_gateway.eras.classification import era_of
from thv_gateway.servers.several import is_common
from thv_gateway.servers.upstream import Endpoint
from thv_gateway.stages.chain import Arrival, Chain
from thv_gateway.stages.origin import OriginStage

__all__ = ["METHODS", "inner_socket", "is_native", "is_refused", "of_workers"]

METHODS = frozenset({"POST", "GET", "DELETE"})
"""What is handed on; what is asked with another method is refused by whoever it comes to."""

_VERSION = b"mcp-protocol-version"


def of_workers(snapshot: RouteSnapshot) -> RouteSnapshot:
    """Return the part of a snapshot that workers serve."""
    return RouteSnapshot(routes=tuple(route for route in snapshot.routes if is_common(route)))


def is_native(arrival: Arrival, endpoint: Endpoint) -> bool:
    """Tell whether a request is relayed as it is, which any process can do; what is translated has a memory."""
    link = endpoint.link
    return link.state is RouteState.READY and era_of(None, arrival.fields.get(_VERSION)) in link.eras


def is_refused(arrival: Arrival, chain: Chain) -> bool:
    """Tell whether a request is not even handed on: where it would go nobody knows the name of this listener."""
    origins = (step for step in chain.steps if isinstance(step, OriginStage))
    return any(step.at_once(arrival) is not None for step in origins)


def inner_socket(folder: Path, workload: str) -> Path:
    """Return where the principal listens for the requests of a workload that workers hand on."""
    return folder / f"inner-{hashlib.sha256(workload.encode()).hexdigest()[:16]}.sock"
