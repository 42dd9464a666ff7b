"""The conformance class of gateways (:class:`thv_core.spi.Gateway`)."""

# ruff: noqa: D102 - the name of a test is its sentence

from __future__ import annotations

import json
import signal
import socket
import stat
from collections.abc import Iterator
from pathlib import Path

import pytest

from thv_core.model.route import Order, RouteState
from thv_core.spi import MiddlewareConfig
from thv_core.spi.gateways import GATEWAY_SOCKET
from thv_testkit.gateway_processes import (
    McpClient,
    RunningGateway,
    RunningServer,
    free_port,
    listens,
    serve_command,
)
from thv_testkit.gateway_swaps import GatewaySwapContract
from thv_testkit.waiting import eventually

__all__ = ["GatewayContract", "McpClient", "RunningGateway", "RunningServer", "free_port", "serve_command"]


class GatewayContract(GatewaySwapContract):
    """What every gateway does. Give the fixture ``gateway_command``, for example by :func:`serve_command`."""

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
        eventually(lambda: not listens(client.port))
        assert server.process.poll() is None

    def test_a_middleware_that_nobody_offers_closes_the_route(
        self, gateway: RunningGateway, server: RunningServer
    ) -> None:
        port = free_port()
        gateway.start().serve(server.route(port, (MiddlewareConfig(type="nobody-offers-this"),)))
        assert gateway.until(RouteState.FAILED, "echo.1").error_code == "plugin-not-found"
        assert not listens(port)

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
        assert not listens(client.port)

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
        assert not listens(client.port)
