"""What control tells the gateway, and what the gateway tells control.

Control writes a :class:`RouteSnapshot` to an atomic 0600 file and sends ``reload`` over the gateway's Unix socket; the
gateway answers with :class:`RouteReport` lines, all of them on connection and each change afterwards.
"""

from __future__ import annotations

from enum import StrEnum

from thv_core.model.document import Document
from thv_core.model.run_config import MiddlewareConfig
from thv_core.model.serving import SessionRedis

__all__ = [
    "ForwardHeader",
    "GatewayCommand",
    "Liveness",
    "Order",
    "Route",
    "RouteReport",
    "RouteSnapshot",
    "RouteState",
    "Seat",
    "SessionRedis",
    "Terms",
]


class Liveness(Document, frozen=True, kw_only=True):
    """How the gateway finds out that a server which was ready answers no more.

    After ``interval`` seconds of silence it is pinged, and has ``timeout`` seconds to answer; with so many ``failures``
    in a row it is ``hung``. While it works on a call that is younger than the request timeout, silence is no failure.
    """

    interval: float = 10.0
    timeout: float = 5.0
    failures: int = 5


class Terms(Document, frozen=True, kw_only=True):
    """How clients meet a route.

    ``socket`` is the path of a Unix socket (0600) that is listened on instead of host and port. ``tls_certificate`` and
    ``tls_key`` are paths of PEM files. ``origins`` are the ``Origin`` values of web pages that may call; the listener's
    own when there are none. ``stateless``: only POST, and no sessions. ``session_ttl`` is in seconds of idleness.
    ``endpoint_prefix`` begins the URL that the first event of ``/sse`` names; with ``trust_proxy_headers`` it follows
    ``X-Forwarded-*``.
    ``session_redis`` shares sessions. With ``seats_per_client`` each session has a process of its own.
    """

    socket: str = ""
    tls_certificate: str = ""
    tls_key: str = ""
    origins: tuple[str, ...] = ()
    stateless: bool = False
    session_ttl: float = 7200.0
    endpoint_prefix: str = ""
    trust_proxy_headers: bool = False
    session_redis: SessionRedis | None = None
    seats_per_client: bool = False
    most_seats: int = 32


class ForwardHeader(Document, frozen=True, kw_only=True):
    """A header field of each request to the server: a ``value``, or the name of a ``secret``."""

    name: str
    value: str = ""
    secret: str = ""

    def __repr__(self) -> str:
        """Name the field and no value: what is written in the clear may still be a credential."""
        return f"ForwardHeader({self.name}{f' by {self.secret}' if self.secret else ''})"


class Seat(Document, frozen=True, kw_only=True):
    """One more process of a server on pipes, for one client session, which ``seat`` names; see :class:`Route`."""

    seat: str
    incarnation: str
    stdin: str
    stdout: str
    lock: str


class Route(Document, frozen=True, kw_only=True):
    """One listener and the server behind it.

    ``incarnation`` (``NAME.GENERATION``) names one life of the server: another incarnation is another process, with
    another handshake. ``stdin`` and ``stdout`` are paths of FIFOs; ``lock`` is a path that is ``flock``-ed by whoever
    reads them; ``log`` is the path of the proxy log. For another transport than ``stdio``, ``target_port`` is where
    the server listens in its own namespace, reached by the connectors that were handed over. ``allow_host`` are the
    names of ``Host`` that reach it, those of loopback when it is empty. ``start_timeout`` and ``request_timeout`` are
    seconds. ``target_url`` is set instead of a port and pipes for a server somewhere else: its whole MCP endpoint.
    ``forward_authorization`` hands the ``Authorization`` of a client on to the server, and its challenge back.
    ``terms`` say how clients meet it, ``forward_headers`` what each request to the server carries; the values of those
    by ``secret`` are no part of this document, they come by :class:`GatewayCommand`.

    A workload is changed without a failed call by four things. ``hold``: requests that arrive wait for what comes next,
    10 seconds at most, whatever state the server is in; those in flight go on. ``candidate``: the next life of the
    workload, as its route will be; it is shaken hands with and reported on under its own incarnation, and no request of
    a client reaches it. When a later snapshot makes the candidate the route, the gateway switches without a gap: held
    requests go on there, sessions are initialised there, and nothing is asked twice. ``retiring``: former incarnations
    that receive nothing new and whose calls in flight are finished.

    With ``terms.seats_per_client`` the gateway says in its report which ``seats`` it wants, a name of its own making
    for each client session; control starts a process for each and publishes them as ``seats``, and ends those that are
    wanted no more. A restarted gateway wants what it finds in the snapshot, until those sessions are too long idle.
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
    terms: Terms = Terms()
    forward_headers: tuple[ForwardHeader, ...] = ()
    seats: tuple[Seat, ...] = ()
    hold: bool = False
    candidate: Route | None = None
    retiring: tuple[str, ...] = ()


class RouteSnapshot(Document, frozen=True, kw_only=True):
    """All routes that should exist; the gateway closes every other listener.

    ``outlets`` are the incarnations, also of jobs without a route, whose sockets the gateway should have; it closes
    those of every other. ``shared_port`` is that of the listener, on ``shared_host``, under which every route is at
    ``/NAME/``; 0 is none.
    """

    routes: tuple[Route, ...] = ()
    outlets: tuple[str, ...] = ()
    shared_port: int = 0
    shared_host: str = "127.0.0.1"


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
    ``stateful`` tells that the server keeps sessions of its own, which another life of it does not know. ``eras`` are
    those that the server speaks. ``seats`` are the names of the seats that the gateway wants now; ``None`` while it
    does not know yet, so that nothing is ended.
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
    eras: tuple[str, ...] = ()
    seats: tuple[str, ...] | None = None


class Order(StrEnum):
    """What control asks of the gateway.

    Read the snapshot again, finish the calls in flight and exit, or take the values of secrets.
    """

    RELOAD = "reload"
    DRAIN = "drain"
    VALUES = "values"


class GatewayCommand(Document, frozen=True, kw_only=True):
    """One line from control to the gateway.

    ``values`` are those of the secrets that the routes name in ``forward_headers``, all of them each time; the gateway
    keeps them in memory only. Control sends them on connection and at each change, before ``reload``.
    """

    order: Order
    values: dict[str, str] = {}  # noqa: RUF012 - msgspec copies it

    def __repr__(self) -> str:
        """Name the order and no value."""
        return f"GatewayCommand({self.order.value}, {len(self.values)} values)"
