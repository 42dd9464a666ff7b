"""What control tells the gateway, and what the gateway tells control.

Control writes a :class:`RouteSnapshot` to an atomic 0600 file and sends ``reload`` over the gateway's Unix socket; the
gateway answers with :class:`RouteReport` lines, all of them on connection and each change afterwards.
"""

from __future__ import annotations

from enum import StrEnum

from thv_core.model.document import Document
from thv_core.model.run_config import MiddlewareConfig

__all__ = ["GatewayCommand", "Order", "Route", "RouteReport", "RouteSnapshot", "RouteState"]


class Route(Document, frozen=True, kw_only=True):
    """One listener and the server behind it.

    ``incarnation`` (``NAME.GENERATION``) names one life of the server: another incarnation is another process, with
    another handshake. ``stdin`` and ``stdout`` are paths of FIFOs; ``lock`` is a path that is ``flock``-ed by whoever
    reads them; ``log`` is the path of the proxy log. ``start_timeout`` and ``request_timeout`` are seconds.
    """

    workload: str
    incarnation: str
    port: int
    stdin: str
    stdout: str
    lock: str
    log: str
    host: str = "127.0.0.1"
    middleware: tuple[MiddlewareConfig, ...] = ()
    start_timeout: float = 60.0
    request_timeout: float = 300.0


class RouteSnapshot(Document, frozen=True, kw_only=True):
    """All routes that should exist; the gateway closes every other listener."""

    routes: tuple[Route, ...] = ()


class RouteState(StrEnum):
    """How far a route is: ``failed`` did not become ready, ``gone`` was ready and its server went away."""

    STARTING = "starting"
    READY = "ready"
    FAILED = "failed"
    GONE = "gone"


class RouteReport(Document, frozen=True, kw_only=True):
    """The state of one route; ``reason`` is a sentence for people when it failed.

    ``port`` is the one that the report is about: a route may have been given another meanwhile.
    """

    workload: str
    incarnation: str
    state: RouteState
    reason: str = ""
    error_code: str = ""
    protocol_version: str = ""
    tools: tuple[str, ...] = ()
    port: int = 0


class Order(StrEnum):
    """What control asks of the gateway: read the snapshot again, or finish the calls in flight and exit."""

    RELOAD = "reload"
    DRAIN = "drain"


class GatewayCommand(Document, frozen=True, kw_only=True):
    """One line from control to the gateway."""

    order: Order
