"""Which routes a worker serves, and which of their requests it answers by itself."""

from __future__ import annotations

import zlib
from pathlib import Path

from thv_core.model.route import RouteSnapshot, RouteState
from thv_core.spi.middleware import Reply
from thv_gateway.eras.classification import era_of
from thv_gateway.servers.several import is_common
from thv_gateway.servers.upstream import Endpoint
from thv_gateway.stages.chain import Arrival, Chain
from thv_gateway.stages.origin import OriginStage

__all__ = ["inner_socket", "is_native", "of_workers", "refused"]

_VERSION = b"mcp-protocol-version"


def of_workers(snapshot: RouteSnapshot) -> RouteSnapshot:
    """Return the part of a snapshot that workers serve."""
    return RouteSnapshot(routes=tuple(route for route in snapshot.routes if is_common(route)))


def is_native(arrival: Arrival, endpoint: Endpoint) -> bool:
    """Tell whether a request is relayed as it is, which any process can do; what is translated has a memory."""
    link = endpoint.link
    return link.state is RouteState.READY and era_of(None, arrival.fields.get(_VERSION)) in link.eras


def refused(arrival: Arrival, chain: Chain) -> Reply | None:
    """Return why a request is not even handed on: where it goes nobody knows the name of this listener."""
    origins = (step for step in chain.steps if isinstance(step, OriginStage))
    return next((reply for step in origins if (reply := step.at_once(arrival)) is not None), None)


def inner_socket(folder: Path, workload: str) -> Path:
    """Return where the principal listens for the requests of a workload that workers hand on."""
    return folder / f"inner-{zlib.crc32(workload.encode()):08x}.sock"
