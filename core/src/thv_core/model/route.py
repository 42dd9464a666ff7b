"""What control tells the gateway, and what the gateway tells control.

Control writes a :class:`RouteSnapshot` to an atomic 0600 file and sends ``reload`` over the gateway's Unix socket; the
gateway answers with :class:`RouteReport` lines, all of them on connection and each change afterwards.
"""

from __future__ import annotations

from enum import StrEnum

from thv_core.model.document import Document
from thv_core.model.run_config import MiddlewareConfig

__all__ = ["GatewayCommand", "Liveness", "Order", "Route", "RouteReport", "RouteSnapshot", "RouteState"]


class Liveness(Document, frozen=True, kw_only=True):
    """How the gateway finds out that a server which was ready answers no more.

    After ``interval`` seconds of silence it is pinged, and has ``timeout`` seconds to answer; with so many ``failures``
    in a row it is ``hung``. While it works on a call that is younger than the request timeout, silence is no failure.
    """

    interval: float = 10.0
    timeout: float = 5.0
    failures: int = 5


class Route(Document, frozen=True, kw_only=True):
    """One listener and the server behind it.

    ``incarnation`` (``NAME.GENERATION``) names one life of the server: another incarnation is another process, with
    another handshake. ``stdin`` and ``stdout`` are paths of FIFOs; ``lock`` is a path that is ``flock``-ed by whoever
    reads them; ``log`` is the path of the proxy log. For another transport than ``stdio``, ``target_port`` is where
    the server listens in its own namespace, reached by the connectors that were handed over. ``allow_host`` are the
    names of ``Host`` that reach it, those of loopback when it is empty. ``start_timeout`` and ``request_timeout`` are
    seconds. ``target_url`` is set instead of a port and pipes for a server somewhere else: its whole MCP endpoint.
    ``forward_authorization`` hands the ``Authorization`` of a client on to the server, and its challenge back.

    A workload is changed without a failed call by four things. ``hold``: requests that arrive wait for what comes next,
    10 seconds at most, whatever state the server is in; those in flight go on. ``candidate``: the next life of the
    workload, as its route will be; it is shaken hands with and reported on under its own incarnation, and no request of
    a client reaches it. When a later snapshot makes the candidate the route, the gateway switches without a gap: held
    requests go on there, sessions are initialised there, and nothing is asked twice. ``retiring``: former incarnations
    that receive nothing new and whose calls in flight are finished.
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
    target_url: str = ""
    forward_authorization: bool = False
    start_timeout: float = 60.0
    request_timeout: float = 300.0
    liveness: Liveness = Liveness()
    hold: bool = False
    candidate: Route | None = None
    retiring: tuple[str, ...] = ()


class RouteSnapshot(Document, frozen=True, kw_only=True):
    """All routes that should exist; the gateway closes every other listener.

    ``outlets`` are the incarnations, also of jobs without a route, whose sockets the gateway should have; it closes
    those of every other.
    """

    routes: tuple[Route, ...] = ()
    outlets: tuple[str, ...] = ()


class RouteState(StrEnum):
    """How far an incarnation is.

    ``failed`` did not become ready, ``gone`` was ready and went away, ``hung`` was ready and answers no more.
    """

    STARTING = "starting"
    READY = "ready"
    FAILED = "failed"
    GONE = "gone"
    HUNG = "hung"


class RouteReport(Document, frozen=True, kw_only=True):
    """The state of one incarnation: of a route, of its candidate, or of one that retires.

    ``reason`` is a sentence for people when it failed. ``port`` is the one that the report is about: a route may have
    been given another meanwhile. ``notes`` says what the user of the server should know, such as how much it wrote that
    is not MCP. ``quiet`` tells that no request of a client is in flight to it; it is said only while its route holds,
    and of an incarnation that retires (also of one that this gateway never knew, because it was restarted).
    ``stateful`` tells that the server keeps sessions of its own, which another life of it does not know.
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
    quiet: bool = False
    stateful: bool = False


class Order(StrEnum):
    """What control asks of the gateway: read the snapshot again, or finish the calls in flight and exit."""

    RELOAD = "reload"
    DRAIN = "drain"


class GatewayCommand(Document, frozen=True, kw_only=True):
    """One line from control to the gateway."""

    order: Order
