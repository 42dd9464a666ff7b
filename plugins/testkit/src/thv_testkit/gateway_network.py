"""The part of the conformance class of gateways that joins them to the network namespaces of servers."""

# ruff: noqa: D102 - the name of a test is its sentence

from __future__ import annotations

import http.client
import json
import stat
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from thv_core.model.route import RouteState
from thv_core.spi import EgressRecord, Network, NetworkReport, Outbound, SocketKind, Verdict
from thv_core.spi.gateways import NETWORK_SOCKET
from thv_testkit.fakes import FakeEgress
from thv_testkit.gateway_processes import McpClient, RunningGateway, free_port, listens
from thv_testkit.network_peers import NetworkPeer, RunningHttpServer, control_of
from thv_testkit.waiting import eventually

__all__ = ["GatewayNetworkContract"]

_PING = {"jsonrpc": "2.0", "id": 1, "method": "ping"}


class GatewayNetworkContract:
    """What every gateway does with handed-over sockets; :class:`thv_testkit.gateways.GatewayContract` includes it."""

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
    def outward(self, gateway_command: list[str], tmp_path: Path) -> Iterator[RunningGateway]:
        """Give a gateway with the fake egress, which was not started yet; override it for a command of another form."""
        gateway = RunningGateway([*gateway_command, "thv_testkit.fakes:FakeEgress"], tmp_path / "gateway")
        yield gateway
        gateway.cut_lifeline()
        gateway.kill()

    @pytest.fixture
    def web(self, tmp_path: Path) -> Iterator[RunningHttpServer]:
        """Give a running echo server that speaks streamable HTTP."""
        server = RunningHttpServer(tmp_path / "servers")
        yield server
        server.stop()

    # Handovers --------------------------------------------------------------------------------------------------------

    def test_its_network_socket_is_its_users_own(self, gateway: RunningGateway) -> None:
        with control_of(gateway.start()):
            assert stat.S_IMODE((gateway.folder / NETWORK_SOCKET).stat().st_mode) == 0o600

    def test_it_tells_what_is_missing_on_connection_and_after_each_change(self, gateway: RunningGateway) -> None:
        gateway.write(outlets=["one.1", "two.1"])
        with control_of(gateway.start()) as control:
            assert sorted(control.hear().missing) == ["one.1", "two.1"]
            assert control.hand_over("one.1", connectors=2)[0] == NetworkReport(missing=("two.1",))
            gateway.serve(outlets=["one.1", "two.1", "three.1"])
            assert sorted(_until(control, "three.1").missing) == ["three.1", "two.1"]

    def test_every_outlet_is_missing_after_it_was_started_anew(self, gateway: RunningGateway) -> None:
        gateway.write(outlets=["one.1"])
        with control_of(gateway.start()) as control:
            control.hear()
            assert control.hand_over("one.1", connectors=1)[0].missing == ()
        gateway.kill()
        with control_of(gateway.start()) as control:
            assert control.hear().missing == ("one.1",)
            assert control.hand_over("one.1", connectors=1)[0] == NetworkReport()

    def test_what_was_handed_over_stays_when_control_comes_and_goes(self, gateway: RunningGateway) -> None:
        gateway.write(outlets=["one.1"])
        with control_of(gateway.start()) as control:
            control.hear()
            control.hand_over("one.1", connectors=1)
        with control_of(gateway) as control:
            assert control.hear() == NetworkReport()

    def test_sockets_of_an_unknown_outlet_are_refused_and_closed(self, gateway: RunningGateway) -> None:
        gateway.write(outlets=["one.1"])
        with control_of(gateway.start()) as control:
            control.hear()
            report, (proxy,) = control.hand_over("two.1", SocketKind.PROXY)
            assert list(report.refused) == ["two.1"]
            assert report.refused["two.1"]
            assert report.missing == ("one.1",)
            eventually(lambda: not listens(proxy.port))

    def test_it_reads_the_snapshot_again_before_it_refuses(self, gateway: RunningGateway) -> None:
        with control_of(gateway.start()) as control:
            control.hear()
            gateway.write(outlets=["one.1"])
            assert control.hand_over("one.1", connectors=1)[0] == NetworkReport()

    def test_an_outlet_that_leaves_the_snapshot_is_closed(self, outward: RunningGateway) -> None:
        outward.write(outlets=["one.1", "two.1"])
        with control_of(outward.start()) as control:
            control.hear()
            _, (one,) = control.hand_over("one.1", SocketKind.PROXY)
            _, (two,) = control.hand_over("two.1", SocketKind.PROXY)
            assert listens(one.port)
            outward.serve(outlets=["two.1"])
            eventually(lambda: not listens(one.port))
            assert listens(two.port)

    def test_a_second_handover_is_ignored_and_its_sockets_closed(self, outward: RunningGateway) -> None:
        outward.write(outlets=["one.1"])
        with control_of(outward.start()) as control:
            control.hear()
            _, (first,) = control.hand_over("one.1", SocketKind.PROXY)
            report, (second,) = control.hand_over("one.1", SocketKind.PROXY)
            assert report == NetworkReport()
            eventually(lambda: not listens(second.port))
            assert listens(first.port)

    def test_what_the_egress_refuses_is_reported_with_its_reason(self, outward: RunningGateway) -> None:
        malformed = Network(outbound=Outbound(allow_host=("two words",)))
        outward.write(outlets=["one.1"])
        with control_of(outward.start()) as control:
            control.hear()
            report, (proxy,) = control.hand_over("one.1", SocketKind.PROXY, network=malformed)
            assert "two words" in report.refused["one.1"]
            eventually(lambda: not listens(proxy.port))

    # Servers that speak HTTP ------------------------------------------------------------------------------------------

    def test_a_server_is_reached_by_the_connectors_alone(self, gateway: RunningGateway, web: RunningHttpServer) -> None:
        port = free_port()
        gateway.write(web.route(port), outlets=["echo.1"])
        with control_of(gateway.start()) as control:
            control.hear()
            control.hand_over("echo.1", connectors=4)
            report = gateway.until(RouteState.READY, "echo.1")
            assert "count" in report.tools
            client = McpClient(port)
            client.initialize()
            assert client.tool("echo", text="hällo\n")["content"] == [{"type": "text", "text": "hällo\n"}]
            assert [client.count()[0] for _ in range(20)] == list(range(1, 21)), "connectors are not used again"
            client.close()

    def test_its_successor_accepts_the_same_session_of_the_same_server(
        self, gateway: RunningGateway, web: RunningHttpServer
    ) -> None:
        port = free_port()
        client = McpClient(port)
        gateway.write(web.route(port), outlets=["echo.1"])
        for number in (1, 2):
            with control_of(gateway.start()) as control:
                control.hear()
                control.hand_over("echo.1", connectors=4)
                gateway.until(RouteState.READY, "echo.1")
                if not client.session:
                    client.initialize()
                assert client.count() == (number, web.process.pid)
            client.close()
            gateway.kill()

    def test_a_route_is_ready_as_soon_as_its_server_listens(
        self, gateway: RunningGateway, web: RunningHttpServer, tmp_path: Path
    ) -> None:
        target = free_port()
        gateway.write(web.route(free_port(), target_port=target), outlets=["echo.1"])
        with control_of(gateway.start()) as control:
            control.hear()
            control.hand_over("echo.1", connectors=4)
            gateway.until(RouteState.STARTING, "echo.1")
            server = RunningHttpServer(tmp_path / "late", target)
            try:
                gateway.until(RouteState.READY, "echo.1")
            finally:
                server.stop()

    def test_a_route_whose_server_never_listens_fails(self, gateway: RunningGateway, web: RunningHttpServer) -> None:
        gateway.write(web.route(free_port(), target_port=free_port(), start_timeout=1.0), outlets=["echo.1"])
        with control_of(gateway.start()) as control:
            control.hear()
            control.hand_over("echo.1", connectors=4)
            report = gateway.until(RouteState.FAILED, "echo.1")
            assert report.reason
            assert report.error_code

    def test_only_the_hosts_that_a_route_allows_reach_it(self, gateway: RunningGateway, web: RunningHttpServer) -> None:
        port = free_port()
        gateway.write(web.route(port, allow_host=("gateway.example",)), outlets=["echo.1"])
        with control_of(gateway.start()) as control:
            control.hear()
            control.hand_over("echo.1", connectors=4)
            gateway.until(RouteState.READY, "echo.1")
            client = McpClient(port)
            assert client.send("POST", _PING, host="evil.example")[0] == 403
            assert client.send("POST", _PING, host="gateway.example")[0] != 403
            client.close()

    # The way out ------------------------------------------------------------------------------------------------------

    def test_a_connection_out_is_recorded_with_the_calls_in_flight(
        self, outward: RunningGateway, web: RunningHttpServer
    ) -> None:
        port = free_port()
        allowed = Network(outbound=Outbound(allow_host=(f"127.0.0.1:{web.port}",)))
        outward.write(web.route(port), outlets=["echo.1"])
        with control_of(outward.start()) as control:
            control.hear()
            _, made = control.hand_over("echo.1", SocketKind.PROXY, network=allowed, connectors=4)
            outward.until(RouteState.READY, "echo.1")
            client = McpClient(port)
            client.initialize()
            calling = threading.Thread(target=client.tool, args=("sleep",), kwargs={"seconds": 2})
            calling.start()
            records = eventually(lambda: _records_in_a_call(outward, made[0].port, web.port))
            calling.join()
            client.close()
        assert {(each.workload, each.verdict) for each in records} == {("echo", Verdict.ALLOWED)}
        (call,) = records[-1].calls
        assert (call.method, call.name) == ("tools/call", "sleep")
        assert call.session


def _until(control: NetworkPeer, incarnation: str) -> NetworkReport:
    """Return the next report in which an outlet is missing: how many come before it is not promised."""
    while incarnation not in (report := control.hear()).missing:
        pass
    return report


def _records_in_a_call(gateway: RunningGateway, proxy: int, target: int) -> list[EgressRecord]:
    """Connect through the proxy; return every record, as soon as the last one has a call."""
    connection = http.client.HTTPConnection("127.0.0.1", proxy, timeout=5)
    connection.set_tunnel("127.0.0.1", target)
    connection.request("POST", "/mcp", json.dumps(_PING))
    connection.getresponse().close()
    connection.close()
    records = [each for batch in FakeEgress(gateway.folder / "fake-egress").records() for each in batch]
    return records if records and records[-1].calls else []
