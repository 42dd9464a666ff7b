"""The part of the conformance class of gateways that exchanges the life of a server under its clients."""

# ruff: noqa: D102 - the name of a test is its sentence

from __future__ import annotations

import socket
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from msgspec.structs import replace

from thv_core.model.route import Route, RouteState
from thv_core.spi import MiddlewareConfig
from thv_testkit.gateway_network import GatewayNetworkContract
from thv_testkit.gateway_processes import McpClient, RunningGateway, RunningServer, free_port, listens
from thv_testkit.network_peers import RunningHttpServer, control_of
from thv_testkit.steady import calling

__all__ = ["GatewaySwapContract"]

StartLife = Callable[..., RunningServer]
StartWebLife = Callable[..., RunningHttpServer]


class GatewaySwapContract(GatewayNetworkContract):
    """What every gateway does for a change; :class:`thv_testkit.gateways.GatewayContract` includes it."""

    @pytest.fixture
    def life(self, tmp_path: Path) -> Iterator[StartLife]:
        """Start lives of an echo server on pipes, by their generation."""
        running: list[RunningServer] = []

        def start(generation: int, **options: Any) -> RunningServer:
            running.append(RunningServer(tmp_path / "lives", generation=generation, **options))
            return running[-1]

        yield start
        for server in running:
            server.stop()

    @pytest.fixture
    def web_life(self, tmp_path: Path) -> Iterator[StartWebLife]:
        """Start lives of an echo server that speaks HTTP, by their generation."""
        running: list[RunningHttpServer] = []

        def start(generation: int) -> RunningHttpServer:
            running.append(RunningHttpServer(tmp_path / "lives", generation=generation))
            return running[-1]

        yield start
        for server in running:
            server.stop()

    # Holding ----------------------------------------------------------------------------------------------------------

    def test_a_held_request_is_answered_once_it_is_released(self, gateway: RunningGateway, life: StartLife) -> None:
        route = life(1).route(free_port())
        client = _ready_client(gateway, route)
        gateway.serve(replace(route, hold=True))
        assert gateway.until_quiet("echo.1").state is RouteState.READY
        counts: list[tuple[int, int]] = []
        waiting = threading.Thread(target=lambda: counts.append(client.count()))
        waiting.start()
        waiting.join(0.3)
        assert waiting.is_alive(), "it does not wait"
        gateway.serve(route)
        waiting.join()
        assert [number for number, _ in counts] == [1]
        assert not gateway.until_reported("echo.1", lambda report: not report.quiet).quiet
        client.close()

    def test_a_route_that_holds_is_quiet_when_its_last_call_has_ended(
        self, gateway: RunningGateway, life: StartLife
    ) -> None:
        route = life(1).route(free_port())
        client = _ready_client(gateway, route)
        ended: list[bool] = []
        working = threading.Thread(target=lambda: ended.append(bool(client.tool("sleep", seconds=1))))
        working.start()
        working.join(0.3)
        gateway.serve(replace(route, hold=True))
        gateway.until_reported("echo.1", lambda report: not report.quiet)
        gateway.until_quiet("echo.1")
        working.join(0.3)
        assert ended == [True]
        client.close()

    def test_held_requests_go_to_the_life_that_takes_over_also_when_the_former_one_has_ended(
        self, gateway: RunningGateway, life: StartLife
    ) -> None:
        old, new = life(1), life(2)
        route = old.route(free_port())
        gateway.start().serve(route)
        gateway.until(RouteState.READY, "echo.1")
        with calling(route.port, route.port) as callers:
            gateway.serve(replace(route, hold=True))
            gateway.until_quiet("echo.1")
            old.stop()
            gateway.until(RouteState.GONE, "echo.1")
            gateway.serve(replace(route, hold=True, candidate=new.route(route.port)))
            gateway.until(RouteState.READY, "echo.2")
            gateway.serve(new.route(route.port))
            for caller in callers:
                caller.until_answered_by(new.process.pid)

    # Candidates -------------------------------------------------------------------------------------------------------

    def test_no_request_of_a_client_reaches_a_candidate(self, gateway: RunningGateway, life: StartLife) -> None:
        old, new = life(1), life(2)
        route, other = old.route(free_port()), new.route(free_port())
        gateway.start().serve(replace(route, candidate=other))
        gateway.until(RouteState.READY, "echo.1")
        assert "count" in gateway.until(RouteState.READY, "echo.2").tools
        client = McpClient(route.port)
        client.initialize()
        assert client.count() == (1, old.process.pid)
        client.close()
        if listens(other.port):
            early = McpClient(other.port)
            assert early.send("POST", {"jsonrpc": "2.0", "id": 1, "method": "initialize", "params": {}})[0] == 503
            early.close()

    def test_a_candidate_that_does_not_become_ready_is_told_from_the_route(
        self, gateway: RunningGateway, life: StartLife
    ) -> None:
        old, silent = life(1), life(2, command=["sleep", "60"])
        route = old.route(free_port())
        gateway.start().serve(route)
        gateway.until(RouteState.READY, "echo.1")
        with calling(route.port):
            gateway.serve(replace(route, candidate=silent.route(route.port, start_timeout=0.5)))
            assert gateway.until(RouteState.FAILED, "echo.2").reason
            gateway.until(RouteState.READY, "echo.1")
            gateway.serve(route)

    @pytest.mark.parametrize("what", ["port", "middleware"])
    def test_a_candidate_that_cannot_be_served_fails_with_its_reason(
        self, gateway: RunningGateway, life: StartLife, what: str
    ) -> None:
        route = life(1).route(free_port())
        with socket.create_server(("127.0.0.1", 0)) as taken:
            port = taken.getsockname()[1] if what == "port" else route.port
            middleware = () if what == "port" else (MiddlewareConfig(type="nobody-offers-this"),)
            gateway.start().serve(replace(route, candidate=life(2).route(port, middleware)))
            report = gateway.until(RouteState.FAILED, "echo.2")
            assert report.error_code == {"port": "port-unavailable", "middleware": "plugin-not-found"}[what]
            gateway.until(RouteState.READY, "echo.1")

    # Switching --------------------------------------------------------------------------------------------------------

    def test_a_client_that_calls_without_a_pause_notices_nothing(
        self, gateway: RunningGateway, life: StartLife
    ) -> None:
        old = life(1)
        route = old.route(free_port())
        gateway.start().serve(route)
        gateway.until(RouteState.READY, "echo.1")
        with calling(route.port, route.port) as callers:
            for generation in (2, 3):
                new = life(generation)
                _swap(gateway, route, new.route(route.port))
                route = new.route(route.port)
                for caller in callers:
                    caller.until_answered_by(new.process.pid)

    def test_a_call_in_flight_is_finished_by_the_life_that_retires(
        self, gateway: RunningGateway, life: StartLife
    ) -> None:
        old, new = life(1), life(2)
        route = old.route(free_port())
        client = _ready_client(gateway, route)
        texts: list[str] = []
        working = threading.Thread(target=lambda: texts.append(client.tool("sleep", seconds=1.5)["content"][0]["text"]))
        working.start()
        working.join(0.3)
        _swap(gateway, route, new.route(route.port))
        other = McpClient(route.port)
        other.session = client.session
        assert other.count()[1] == new.process.pid
        assert not gateway.until_reported("echo.1", lambda _: True).quiet
        gateway.until_quiet("echo.1")
        working.join()
        assert texts == ["slept 1.5 seconds"]
        gateway.serve(new.route(route.port))
        for each in (client, other):
            each.close()

    def test_a_change_of_the_port_loses_no_call(self, gateway: RunningGateway, life: StartLife) -> None:
        old, new = life(1), life(2)
        route, moved = old.route(free_port()), new.route(free_port())
        client = _ready_client(gateway, route)
        texts: list[str] = []
        working = threading.Thread(target=lambda: texts.append(client.tool("sleep", seconds=1)["content"][0]["text"]))
        working.start()
        working.join(0.3)
        _swap(gateway, route, moved)
        other = McpClient(moved.port)
        other.session = client.session
        assert other.count()[1] == new.process.pid
        gateway.until_quiet("echo.1")
        working.join()
        assert texts == ["slept 1 seconds"]
        gateway.serve(moved)
        other.close()
        client.close()

    def test_a_life_that_retires_is_quiet_at_once_for_a_gateway_that_was_restarted(
        self, gateway: RunningGateway, life: StartLife
    ) -> None:
        old, new = life(1), life(2)
        route = old.route(free_port())
        client = _ready_client(gateway, route)
        _swap(gateway, route, new.route(route.port))
        gateway.kill()
        client.close()
        gateway.start().until_quiet("echo.1")
        gateway.until(RouteState.READY, "echo.2")
        assert client.count() == (1, new.process.pid)
        client.close()

    # Servers that keep sessions of their own --------------------------------------------------------------------------

    def test_a_server_that_keeps_sessions_is_reported_so(
        self, gateway: RunningGateway, life: StartLife, web_life: StartWebLife
    ) -> None:
        gateway.start().serve(life(1).route(free_port()))
        assert not gateway.until(RouteState.READY, "echo.1").stateful
        gateway.serve(web_life(2).route(free_port()), outlets=["echo.2"])
        _hand_over(gateway, "echo.2")
        assert gateway.until(RouteState.READY, "echo.2").stateful

    @pytest.mark.parametrize("by", ["swap", "restart", "restart-of-the-gateway-as-well"])
    def test_a_session_goes_on_at_another_life(self, gateway: RunningGateway, web_life: StartWebLife, by: str) -> None:
        old, new = web_life(1), web_life(2)
        port = free_port()
        gateway.start().serve(old.route(port), outlets=["echo.1"])
        _hand_over(gateway, "echo.1")
        gateway.until(RouteState.READY, "echo.1")
        client = McpClient(port)
        client.initialize()
        assert client.count() == (1, old.process.pid)
        if by == "swap":
            gateway.serve(replace(old.route(port), candidate=new.route(port)), outlets=["echo.1", "echo.2"])
        else:
            old.stop()
            gateway.serve(new.route(port), outlets=["echo.2"])
        _hand_over(gateway, "echo.2")
        gateway.until(RouteState.READY, "echo.2")
        gateway.serve(new.route(port), outlets=["echo.2"])
        if by == "restart-of-the-gateway-as-well":
            gateway.kill()
            client.close()
            gateway.start()
            _hand_over(gateway, "echo.2")
            gateway.until(RouteState.READY, "echo.2")
        assert [client.count() for _ in range(2)] == [(1, new.process.pid), (2, new.process.pid)]
        assert client.send("DELETE", None)[0] in (200, 204)
        assert client.send("POST", {"jsonrpc": "2.0", "id": 1, "method": "tools/list"})[0] == 404
        client.close()


def _ready_client(gateway: RunningGateway, route: Route) -> McpClient:
    """Serve a route and open a session."""
    gateway.start().serve(route)
    gateway.until(RouteState.READY, route.incarnation)
    client = McpClient(route.port)
    client.initialize()
    return client


def _swap(gateway: RunningGateway, old: Route, new: Route) -> None:
    """Put a life beside the current one, and in its place when it is ready."""
    gateway.serve(replace(old, candidate=new))
    gateway.until(RouteState.READY, new.incarnation)
    gateway.serve(replace(new, retiring=(old.incarnation,)))


def _hand_over(gateway: RunningGateway, incarnation: str) -> None:
    """Hand over the way into a server."""
    with control_of(gateway) as control:
        control.hear()
        control.hand_over(incarnation, connectors=8)
