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
    reads them; ``log`` is the path of the proxy log. For another transport than ``stdio``, ``target_port`` is where
    the server listens in its own namespace, reached by the connectors that were handed over. ``allow_host`` are the
    names of ``Host`` that reach it, those of loopback when it is empty. ``start_timeout`` and ``request_timeout`` are
    seconds.
    """

    workload: str
    incarnation: str
    port: int
    log: str
    stdin: str = ""
    stdout: str = ""
    lock: str = ""
    host: str = "127.0.0.1"
    middleware: tuple[MiddlewareConfig, ...] = ()
    transport: str = "stdio"
    target_port: int = 0
    allow_host: tuple[str, ...] = ()
    start_timeout: float = 60.0
    request_timeout: float = 300.0


class RouteSnapshot(Document, frozen=True, kw_only=True):
    """All routes that should exist; the gateway closes every other listener.

    ``outlets`` are the incarnations, also of jobs without a route, whose sockets the gateway should have; it closes
    those of every other.
    """

    routes: tuple[Route, ...] = ()
    outlets: tuple[str, ...] = ()


class RouteState(StrEnum):
    """How far a route is: ``failed`` did not become ready, ``gone`` was ready and its server went away."""

    STARTING = "starting"
    READY = "ready"
    FAILED = "failed"
    GONE = "gone"


class RouteReport(Document, frozen=True, kw_only=True):
    """The state of one route; ``reason`` is a sentence for people when it failed.

    ``port`` is the one that the report is about: a route may have been given another meanwhile. ``notes`` says what
    the user of the server should know, such as how much it wrote that is not MCP.
    """

    workload: str
    incarnation: str
    state: RouteState
    reason: str = ""
    error_code: str = ""
    protocol_version: str = ""
    tools: tuple[str, ...] = ()
    port: int = 0
    notes: tuple[str, ...] = ()


class Order(StrEnum):
    """What control asks of the gateway: read the snapshot again, or finish the calls in flight and exit."""

    RELOAD = "reload"
    DRAIN = "drain"


class GatewayCommand(Document, frozen=True, kw_only=True):
    """One line from control to the gateway."""

    order: Order
