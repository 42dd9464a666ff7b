"""The conformance class of gateways (:class:`thv_core.spi.Gateway`), and what it takes to run one in a test."""

# ruff: noqa: D102 - the name of a test is its sentence

from __future__ import annotations

import contextlib
import http.client
import json
import os
import signal
import socket
import stat
import subprocess
import sys
from collections.abc import Generator, Iterator, Sequence
from pathlib import Path
from typing import Any, Self

import pytest

from thv_core.model.document import decode_document, encode_document
from thv_core.model.route import GatewayCommand, Order, Route, RouteReport, RouteSnapshot, RouteState
from thv_core.spi import MiddlewareConfig
from thv_core.spi.gateways import GATEWAY_SOCKET, ROUTES_FILE
from thv_testkit.waiting import eventually

__all__ = ["GatewayContract", "McpClient", "RunningGateway", "RunningServer", "free_port", "serve_command"]

Json = dict[str, Any]

_ECHO = Path(__file__).parent / "echo" / "__main__.py"
_SECONDS = 20.0
_PROGRAM = """
import importlib, pathlib, sys
from thv_core.spi import GatewaySeat
gateway = getattr(importlib.import_module(sys.argv[1]), sys.argv[2])()
gateway.serve(GatewaySeat(pathlib.Path(sys.argv[3]), int(sys.argv[4])))
"""


def serve_command(driver: str) -> list[str]:
    """Return the command that serves a driver named ``MODULE:CLASS``; a folder and the lifeline are appended to it."""
    return [sys.executable, "-c", _PROGRAM, *driver.split(":")]


def free_port() -> int:
    """Return a port on which nothing listens now."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


class RunningServer:
    """A stdio server behind FIFOs, as a runtime starts it: it holds both open and never sees an end-of-file."""

    def __init__(self, folder: Path, command: Sequence[str] = (), name: str = "echo", generation: int = 1) -> None:
        self.folder = folder / f"{name}.{generation}"
        self.folder.mkdir(parents=True)
        self.name, self.generation = name, generation
        ends = [self.folder / "stdin", self.folder / "stdout"]
        for end in ends:
            os.mkfifo(end, 0o600)
        descriptors = [os.open(end, os.O_RDWR) for end in ends]
        command = command or [sys.executable, "-I", "-S", str(_ECHO), "--stdio"]
        with (self.folder / "stderr").open("wb") as errors:
            self.process = subprocess.Popen(command, stdin=descriptors[0], stdout=descriptors[1], stderr=errors)
        for descriptor in descriptors:
            os.close(descriptor)

    def route(
        self,
        port: int,
        middleware: tuple[MiddlewareConfig, ...] = (),
        *,
        start_timeout: float = 60.0,
        request_timeout: float = 300.0,
    ) -> Route:
        """Return the route to this server."""
        return Route(
            workload=self.name,
            incarnation=f"{self.name}.{self.generation}",
            port=port,
            stdin=str(self.folder / "stdin"),
            stdout=str(self.folder / "stdout"),
            lock=str(self.folder / "lock"),
            log=str(self.folder / "proxy.log"),
            middleware=middleware,
            start_timeout=start_timeout,
            request_timeout=request_timeout,
        )

    def stop(self) -> None:
        """Kill the server."""
        self.process.kill()
        self.process.wait()


class RunningGateway:
    """A gateway in a process of its own, in its private folder; started again it is the successor of the first."""

    def __init__(self, command: Sequence[str], folder: Path) -> None:
        folder.mkdir(mode=0o700, exist_ok=True)
        self.folder = folder
        self._command = list(command)
        self.process: subprocess.Popen[bytes] | None = None
        self._lifeline = -1

    def start(self) -> Self:
        """Start a process, while its predecessor may still be dying."""
        ours, theirs = os.pipe()
        self.process = subprocess.Popen([*self._command, str(self.folder), str(ours)], pass_fds=[ours])
        os.close(ours)
        self.cut_lifeline()
        self._lifeline = theirs
        return self

    def kill(self) -> None:
        """Kill the process as a crash would."""
        if self.process is not None:
            self.process.kill()
            self.process.wait()

    def cut_lifeline(self) -> None:
        """Let the lifeline reach end-of-file, as when the supervisor dies."""
        if self._lifeline >= 0:
            os.close(self._lifeline)
        self._lifeline = -1

    def ended(self, within: float = _SECONDS) -> int:
        """Wait for the end of the process and return its exit code."""
        assert self.process is not None
        return self.process.wait(within)

    def serve(self, *routes: Route) -> None:
        """Write the snapshot and, when the gateway runs, order a reload."""
        draft = self.folder / "routes.draft"
        draft.write_bytes(encode_document(RouteSnapshot(routes=routes)))
        draft.replace(self.folder / ROUTES_FILE)
        if self.process is not None:
            self.order(Order.RELOAD)

    def order(self, order: Order) -> None:
        """Send one command."""
        with self.connected() as channel:
            channel.sendall(encode_document(GatewayCommand(order=order)) + b"\n")
            channel.shutdown(socket.SHUT_WR)
            while channel.recv(65536):
                pass

    def until(self, state: RouteState, incarnation: str) -> RouteReport:
        """Wait until an incarnation is reported in a state."""
        with self.connected() as channel, channel.makefile("rb") as lines:
            for line in lines:
                report = decode_document(line, RouteReport, "a report")
                if report.incarnation == incarnation and report.state is state:
                    return report
        raise AssertionError(f"the gateway hung up before {incarnation} was {state}")

    @contextlib.contextmanager
    def connected(self) -> Generator[socket.socket]:
        """Connect to the control socket, however long its path is."""
        descriptor = os.open(self.folder, os.O_RDONLY | os.O_DIRECTORY)
        try:
            channel = eventually(lambda: _connection(f"/proc/self/fd/{descriptor}/{GATEWAY_SOCKET}"))
            assert channel is not None
            with channel:
                yield channel
        finally:
            os.close(descriptor)


class McpClient:
    """A small MCP client of the handshake era on one connection."""

    def __init__(self, port: int) -> None:
        self.port = port
        self.session = ""
        self._number = 0
        self._connection = http.client.HTTPConnection("127.0.0.1", port, timeout=_SECONDS)

    def close(self) -> None:
        """Close the connection; the next request opens another."""
        self._connection.close()

    def send(self, method: str, body: bytes | Json | None, **headers: str) -> tuple[int, dict[str, str], bytes]:
        """Send one HTTP request; underscores in header names stand for dashes."""
        data = json.dumps(body).encode() if isinstance(body, dict) else body
        fields = {"accept": "application/json, text/event-stream", "content-type": "application/json"}
        fields |= {"mcp-session-id": self.session} if self.session else {}
        fields |= {name.replace("_", "-"): value for name, value in headers.items()}
        self._connection.request(method, "/mcp", data, fields)
        response = self._connection.getresponse()
        return response.status, {name.lower(): value for name, value in response.getheaders()}, response.read()

    def initialize(self, version: str = "2025-11-25", **capabilities: Json) -> Json:
        """Open a session and return the server's result."""
        info = {"name": "testkit", "version": "1"}
        params = {"protocolVersion": version, "capabilities": capabilities, "clientInfo": info}
        status, headers, body = self.send("POST", self._request("initialize", params))
        assert status == 200, body
        self.session = headers["mcp-session-id"]
        notification = {"jsonrpc": "2.0", "method": "notifications/initialized"}
        assert self.send("POST", notification)[0] == 202
        result: Json = json.loads(body)["result"]
        return result

    def tool(self, name: str, /, **arguments: object) -> Json:
        """Call a tool and return its result; it must be the first thing that comes back."""
        params = {"name": name, "arguments": arguments}
        status, _, body = self.send("POST", self._request("tools/call", params))
        assert status == 200, body
        result: Json = json.loads(body)["result"]
        return result

    def count(self) -> tuple[int, int]:
        """Return how often the server has counted, now included, and its pid."""
        counted = self.tool("count")["structuredContent"]
        return int(counted["count"]), int(counted["pid"])

    def _request(self, method: str, params: Json) -> Json:
        self._number += 1
        return {"jsonrpc": "2.0", "id": self._number, "method": method, "params": params}


def _connection(path: str) -> socket.socket | None:
    channel = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    channel.settimeout(_SECONDS)
    try:
        channel.connect(path)
    except OSError:
        channel.close()
        return None
    return channel


class GatewayContract:
    """What every gateway does. Give the fixture ``gateway_command``, for example by :func:`serve_command`."""

    @pytest.fixture
    def gateway_command(self) -> list[str]:
        """Return the command that serves the gateway; a folder and the number of the lifeline are appended."""
        raise NotImplementedError

    @pytest.fixture
    def gateway(self, gateway_command: list[str], tmp_path: Path) -> Iterator[RunningGateway]:
        """Give a gateway that was not started yet, and end it afterwards."""
        gateway = RunningGateway(gateway_command, tmp_path / "gateway")
        yield gateway
        gateway.cut_lifeline()
        gateway.kill()

    @pytest.fixture
    def server(self, tmp_path: Path) -> Iterator[RunningServer]:
        """Give a running echo server."""
        server = RunningServer(tmp_path / "servers")
        yield server
        server.stop()

    @pytest.fixture
    def client(self, gateway: RunningGateway, server: RunningServer) -> Iterator[McpClient]:
        """Give a client with a session, of a gateway that serves the echo server."""
        port = free_port()
        gateway.start().serve(server.route(port))
        gateway.until(RouteState.READY, "echo.1")
        client = McpClient(port)
        client.initialize()
        yield client
        client.close()

    def test_it_reports_the_tools_of_a_ready_server(self, gateway: RunningGateway, server: RunningServer) -> None:
        gateway.serve(server.route(free_port()))
        report = gateway.start().until(RouteState.READY, "echo.1")
        assert "count" in report.tools
        assert report.protocol_version

    def test_it_carries_a_call_there_and_back(self, client: McpClient) -> None:
        assert client.tool("echo", text="hällo\n")["content"] == [{"type": "text", "text": "hällo\n"}]

    def test_its_successor_serves_the_same_server_and_accepts_the_same_session(
        self, gateway: RunningGateway, client: McpClient
    ) -> None:
        number, pid = client.count()
        gateway.kill()
        client.close()
        gateway.start().until(RouteState.READY, "echo.1")
        assert client.count() == (number + 1, pid)

    def test_a_new_incarnation_is_served_on_the_same_port_to_the_same_session(
        self, gateway: RunningGateway, client: McpClient, tmp_path: Path
    ) -> None:
        successor = RunningServer(tmp_path / "servers", generation=2)
        try:
            gateway.serve(successor.route(client.port))
            gateway.until(RouteState.READY, "echo.2")
            assert client.count() == (1, successor.process.pid)
        finally:
            successor.stop()

    def test_a_server_that_ends_is_reported_gone(
        self, gateway: RunningGateway, client: McpClient, server: RunningServer
    ) -> None:
        server.stop()
        gateway.until(RouteState.GONE, "echo.1")
        assert client.send("POST", b'{"jsonrpc":"2.0","id":1,"method":"ping"}')[0] == 503

    def test_a_removed_route_is_closed_and_its_server_left_alone(
        self, gateway: RunningGateway, client: McpClient, server: RunningServer
    ) -> None:
        gateway.serve()
        eventually(lambda: not _listens(client.port))
        assert server.process.poll() is None

    def test_a_middleware_that_nobody_offers_closes_the_route(
        self, gateway: RunningGateway, server: RunningServer
    ) -> None:
        port = free_port()
        gateway.start().serve(server.route(port, (MiddlewareConfig(type="nobody-offers-this"),)))
        assert gateway.until(RouteState.FAILED, "echo.1").error_code == "plugin-not-found"
        assert not _listens(port)

    def test_a_port_in_use_is_reported_and_served_once_it_is_free(
        self, gateway: RunningGateway, server: RunningServer
    ) -> None:
        with socket.create_server(("127.0.0.1", 0)) as other:
            gateway.start().serve(server.route(other.getsockname()[1]))
            assert gateway.until(RouteState.FAILED, "echo.1").error_code == "port-unavailable"
        gateway.until(RouteState.READY, "echo.1")

    @pytest.mark.parametrize(
        ("headers", "status"),
        [
            ({"origin": "http://evil.example"}, 403),
            ({"host": "evil.example"}, 403),
            ({"mcp_session_id": "forged.c2lnbmF0dXJl"}, 404),
            ({"mcp_protocol_version": "2026-07-28"}, 400),
            ({"accept": "text/html"}, 406),
        ],
    )
    def test_it_refuses_foreign_and_unknown_requests(
        self, client: McpClient, headers: dict[str, str], status: int
    ) -> None:
        answer = client.send("POST", b'{"jsonrpc":"2.0","id":1,"method":"tools/list"}', **headers)
        assert answer[0] == status
        assert "error" in json.loads(answer[2])

    @pytest.mark.parametrize(
        "body",
        [
            b'[{"jsonrpc":"2.0","id":1,"method":"ping"}]',
            b'{"jsonrpc":"2.0","id":1,"method":"ping","method":"tools/list"}',
            b'{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"name":"echo","Name":"count"}}',
            b'{"jsonrpc":"2.0","id":1,"method":"ping","params":{"x":' + b"[" * 200 + b"]" * 200 + b"}}",
            b'{"jsonrpc":"2.0","id":1,"method":"\xff"}',
        ],
        ids=["batch", "duplicate-key", "case-variant", "deep", "not-utf-8"],
    )
    def test_it_refuses_what_two_parsers_could_read_differently(self, client: McpClient, body: bytes) -> None:
        assert client.send("POST", body)[0] == 400

    def test_its_control_socket_is_its_users_own(self, gateway: RunningGateway) -> None:
        with gateway.start().connected():
            assert stat.S_IMODE((gateway.folder / GATEWAY_SOCKET).stat().st_mode) == 0o600

    def test_it_ends_at_once_when_the_lifeline_ends(self, gateway: RunningGateway, client: McpClient) -> None:
        gateway.cut_lifeline()
        gateway.ended(within=3.0)
        assert not _listens(client.port)

    @pytest.mark.parametrize("by_signal", [True, False])
    def test_a_drain_takes_no_new_connections_and_ends(
        self, gateway: RunningGateway, client: McpClient, *, by_signal: bool
    ) -> None:
        assert gateway.process is not None
        if by_signal:
            gateway.process.send_signal(signal.SIGTERM)
        else:
            gateway.order(Order.DRAIN)
        assert gateway.ended() == 0
        assert not _listens(client.port)


def _listens(port: int) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0
