from __future__ import annotations

import contextlib
import functools
import http.client
import json
import os
import re
import socket
import subprocess
import sys
from collections.abc import Callable, Generator, Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest

from thv_core.model.document import decode_document, encode_document
from thv_core.model.network import Handover, MadeSocket, NetworkReport, OutletPlan, SocketKind
from thv_core.model.route import Order, Route, RouteSnapshot, RouteState
from thv_core.spi import MiddlewareConfig, Network
from thv_core.spi.gateways import NETWORK_SOCKET, ROUTES_FILE
from thv_testkit.gateways import McpClient, RunningGateway, RunningServer, free_port, serve_command
from thv_testkit.waiting import eventually

PROGRAMS = Path(__file__).parent / "programs"

ACCEPT = {"accept": "application/json, text/event-stream", "content-type": "application/json"}


class Stream:
    """One request whose answer is read event by event."""

    def __init__(self, client: McpClient, method: str, body: dict[str, Any] | None = None, **headers: str) -> None:
        self.connection = http.client.HTTPConnection("127.0.0.1", client.port, timeout=20)
        data = json.dumps(body).encode() if body else None
        more = {name.replace("_", "-"): value for name, value in headers.items()}
        self.connection.request(method, "/mcp", data, ACCEPT | {"mcp-session-id": client.session} | more)
        self.response: http.client.HTTPResponse | None = None

    def begin(self) -> str:
        """Wait for the head of the answer and return its media type."""
        self.response = self.response or self.connection.getresponse()
        return self.response.headers["content-type"]

    def message(self) -> dict[str, Any]:
        """Return the next message: of an event, or the whole body."""
        if self.begin() == "application/json":
            return json.loads(self.response.read())
        for line in self.response:
            if line.startswith(b"data: ") and line[6:].strip():
                return json.loads(line[6:])
        raise EOFError

    def at_end(self) -> bool:
        """Tell whether the answer ends without another message."""
        self.begin()
        return not any(line[6:].strip() for line in self.response if line.startswith(b"data: "))


StartServer = Callable[..., RunningServer]
Connect = Callable[..., McpClient]


@pytest.fixture
def gateway(tmp_path: Path) -> Iterator[RunningGateway]:
    gateway = RunningGateway(serve_command("thv_gateway.gateway:HttpGateway"), tmp_path / "gateway")
    yield gateway
    gateway.cut_lifeline()
    gateway.kill()


@pytest.fixture
def staged_gateway(tmp_path: Path) -> Iterator[RunningGateway]:
    gateway = RunningGateway([sys.executable, str(PROGRAMS / "serve_with_stages.py")], tmp_path / "gateway")
    yield gateway
    gateway.cut_lifeline()
    gateway.kill()


@pytest.fixture
def start_server(tmp_path: Path) -> Iterator[StartServer]:
    running: list[RunningServer] = []

    def start(program: str = "", script: dict[str, Any] | None = None, **options: Any) -> RunningServer:
        command = [sys.executable, str(PROGRAMS / program)] if program else []
        if script is not None:
            command.append(json.dumps(script))
        running.append(RunningServer(tmp_path / "servers", command, **options))
        return running[-1]

    yield start
    for server in running:
        server.stop()


@pytest.fixture
def connect() -> Iterator[Connect]:
    clients: list[McpClient] = []

    def serve_and_connect(
        gateway: RunningGateway, server: RunningServer, *middleware: MiddlewareConfig, **seconds: float
    ) -> McpClient:
        client = McpClient(free_port())
        clients.append(client)
        if gateway.process is None:
            gateway.start()
        gateway.serve(server.route(client.port, middleware, **seconds))
        gateway.until(RouteState.READY, f"{server.name}.{server.generation}")
        client.initialize()
        return client

    yield serve_and_connect
    for client in clients:
        client.close()


@pytest.fixture
def another() -> Iterator[Callable[[McpClient], McpClient]]:
    """Open another session at the gateway of a client."""
    clients: list[McpClient] = []

    def open_session(client: McpClient, **capabilities: Any) -> McpClient:
        clients.append(McpClient(client.port))
        clients[-1].initialize(**capabilities)
        return clients[-1]

    yield open_session
    for client in clients:
        client.close()


@pytest.fixture
def stream() -> Iterator[Callable[..., Stream]]:
    """Open requests whose answers are read event by event."""
    streams: list[Stream] = []

    def open_stream(
        client: McpClient, method: str = "GET", body: dict[str, Any] | None = None, **headers: str
    ) -> Stream:
        streams.append(Stream(client, method, body, **headers))
        return streams[-1]

    yield open_stream
    for each in streams:
        each.connection.close()
        if each.response is not None:
            each.response.close()


MODERN = "2026-07-28"
META = "io.modelcontextprotocol/"
MIRRORED = {"tools/call": "name", "prompts/get": "name", "resources/read": "uri"}


class ModernAnswer:
    """The answer to one request of the modern era, read as far as it is asked for."""

    def __init__(self, connection: http.client.HTTPConnection) -> None:
        self._connection = connection

    @functools.cached_property
    def response(self) -> http.client.HTTPResponse:
        """The answer, once it has begun."""
        return self._connection.getresponse()

    @property
    def status(self) -> int:
        """The HTTP status."""
        return self.response.status

    @property
    def headers(self) -> dict[str, str]:
        """The header fields, with lower-case names."""
        return {name.lower(): value for name, value in self.response.getheaders()}

    @property
    def is_stream(self) -> bool:
        """Whether it comes as events."""
        return self.headers.get("content-type") == "text/event-stream"

    def message(self) -> dict[str, Any]:
        """Return the next message."""
        if not self.is_stream:
            return json.loads(self.response.read())
        for line in self.response:
            if line.startswith(b"data: "):
                return json.loads(line[6:])
        raise EOFError

    def rest(self) -> list[dict[str, Any]]:
        """Return all further messages."""
        if not self.is_stream:
            return [self.message()]
        return [json.loads(line[6:]) for line in self.response if line.startswith(b"data: ")]

    def leave(self) -> None:
        """Go away."""
        if "response" in self.__dict__:
            self.response.close()
        self._connection.close()


class ModernClient:
    """A small MCP client of the modern era: every request on a connection of its own, and complete in itself."""

    def __init__(self, port: int) -> None:
        self.port = port
        self._number = 0
        self._answers: list[ModernAnswer] = []

    def envelope(self, **capabilities: Any) -> dict[str, Any]:
        """Return the ``_meta`` of a request."""
        info = {"name": "testkit", "version": "1"}
        return {
            f"{META}protocolVersion": MODERN,
            f"{META}clientInfo": info,
            f"{META}clientCapabilities": capabilities,
        }

    def request(
        self,
        method: str,
        params: dict[str, Any] | None = None,
        headers: dict[str, str | None] | None = None,
        **meta: Any,
    ) -> ModernAnswer:
        """Send a request with its headers; ``meta`` is merged into its envelope."""
        self._number += 1
        params = {"_meta": self.envelope() | meta.pop("meta", {}) | meta, **(params or {})}
        body = {"jsonrpc": "2.0", "id": f"r{self._number}", "method": method, "params": params}
        fields: dict[str, str | None] = {"mcp-protocol-version": MODERN, "mcp-method": method}
        if method in MIRRORED and MIRRORED[method] in params:
            fields["mcp-name"] = params[MIRRORED[method]]
        return self.send("POST", json.dumps(body).encode(), fields | (headers or {}))

    def send(self, method: str, body: bytes, headers: dict[str, str | None]) -> ModernAnswer:
        """Send anything; a header that is ``None`` is left out."""
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=20)
        given = {name: value for name, value in (ACCEPT | headers).items() if value is not None}
        connection.request(method, "/mcp", body or None, given)
        self._answers.append(ModernAnswer(connection))
        return self._answers[-1]

    def call(self, tool: str, /, **arguments: Any) -> dict[str, Any]:
        """Call a tool and return the response, which is the whole answer."""
        return self.request("tools/call", {"name": tool, "arguments": arguments}).message()

    def close(self) -> None:
        """Leave everything."""
        for answer in self._answers:
            answer.leave()


@pytest.fixture
def modern_client() -> Iterator[Callable[[int], ModernClient]]:
    """Give clients of the modern era, by the port of their gateway."""
    clients: list[ModernClient] = []

    def client(port: int) -> ModernClient:
        clients.append(ModernClient(port))
        return clients[-1]

    yield client
    for each in clients:
        each.close()


ECHO = [sys.executable, "-m", "thv_testkit.echo", "--http", "0"]
CONNECTOR = MadeSocket(kind=SocketKind.CONNECTOR)


class HttpServer:
    """A server of HTTP whose first line on standard error ends in its address."""

    def __init__(self, command: Sequence[str]) -> None:
        self.process = subprocess.Popen(command, stderr=subprocess.PIPE)
        assert self.process.stderr is not None
        found = re.search(rb":(\d+)/", self.process.stderr.readline())
        assert found is not None
        self.target_port = int(found[1])

    def route(self, folder: Path, **changes: Any) -> Route:
        """Return a route to it."""
        return Route(
            **{
                "workload": "echo",
                "incarnation": "echo.1",
                "port": free_port(),
                "log": str(folder / "proxy.log"),
                "transport": "streamable-http",
                "target_port": self.target_port,
            }
            | changes
        )

    def stop(self) -> None:
        """Kill it."""
        self.process.kill()
        self.process.wait()
        if self.process.stderr is not None:
            self.process.stderr.close()


class FakeControl:
    """Hands sockets over as control does, on a connection of its own."""

    def __init__(self, channel: socket.socket) -> None:
        self.channel = channel

    def hear(self) -> NetworkReport:
        """Wait for the next report."""
        return decode_document(self.channel.recv(1 << 20), NetworkReport, "the report")

    def send(self, handover: Handover, sockets: Sequence[socket.socket]) -> None:
        """Send one packet, and keep nothing of the sockets."""
        socket.send_fds(self.channel, [encode_document(handover)], [each.fileno() for each in sockets])
        for each in sockets:
            each.close()

    def hand_over(self, incarnation: str = "echo.1", connectors: int = 8) -> NetworkReport:
        """Hand over unconnected sockets, and return the answer."""
        self.send(handover(incarnation, [CONNECTOR] * connectors), [socket.socket() for _ in range(connectors)])
        return self.hear()


def handover(incarnation: str, sockets: Sequence[MadeSocket]) -> Handover:
    """Return a handover of these sockets."""
    return Handover(
        workload=incarnation.partition(".")[0],
        incarnation=incarnation,
        network=Network(),
        plan=OutletPlan(),
        sockets=tuple(sockets),
    )


def _write_snapshot(gateway: RunningGateway, *routes: Route, outlets: Sequence[str] = ()) -> None:
    """Write a snapshot with outlets and, when the gateway runs, order a reload."""
    outlets = outlets or [route.incarnation for route in routes]
    draft = gateway.folder / "routes.draft"
    draft.write_bytes(encode_document(RouteSnapshot(routes=routes, outlets=tuple(outlets))))
    draft.replace(gateway.folder / ROUTES_FILE)
    if gateway.process is not None:
        gateway.order(Order.RELOAD)


@contextlib.contextmanager
def _control_of(gateway: RunningGateway) -> Generator[FakeControl]:
    """Connect to the network socket of a gateway, however long its path is."""
    descriptor = os.open(gateway.folder, os.O_RDONLY | os.O_DIRECTORY)

    def connected() -> socket.socket | None:
        channel = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        channel.settimeout(20)
        try:
            channel.connect(f"/proc/self/fd/{descriptor}/{NETWORK_SOCKET}")
        except OSError:
            channel.close()
            return None
        return channel

    try:
        channel = eventually(connected)
        assert channel is not None
        with channel:
            yield FakeControl(channel)
    finally:
        os.close(descriptor)


@pytest.fixture
def write_snapshot() -> Callable[..., None]:
    """Write a snapshot with outlets."""
    return _write_snapshot


@pytest.fixture
def control_of() -> Callable[[RunningGateway], contextlib.AbstractContextManager[FakeControl]]:
    """Connect to the network socket of a gateway."""
    return _control_of


@pytest.fixture
def http_server() -> Iterator[Callable[..., HttpServer]]:
    """Start servers of HTTP: the echo server, or a program of these tests."""
    running: list[HttpServer] = []

    def start(program: str = "", *arguments: str) -> HttpServer:
        command = [sys.executable, str(PROGRAMS / program), *arguments] if program else ECHO
        running.append(HttpServer(command))
        return running[-1]

    yield start
    for server in running:
        server.stop()


@pytest.fixture
def reach(tmp_path: Path) -> Iterator[Callable[..., McpClient]]:
    """Serve a server of HTTP and return a client with a session."""
    clients: list[McpClient] = []

    def serve_and_connect(
        gateway: RunningGateway, server: HttpServer, connectors: int = 8, *, greet: bool = True, **route: Any
    ) -> McpClient:
        chosen = server.route(tmp_path, **route)
        if gateway.process is None:
            gateway.start()
        _write_snapshot(gateway, chosen)
        with _control_of(gateway) as control:
            control.hear()
            control.hand_over(chosen.incarnation, connectors)
        gateway.until(RouteState.READY, chosen.incarnation)
        clients.append(McpClient(chosen.port))
        if greet:
            clients[-1].initialize()
        return clients[-1]

    yield serve_and_connect
    for client in clients:
        client.close()
