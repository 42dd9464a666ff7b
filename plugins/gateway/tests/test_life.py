"""The life of the gateway and of its routes: starts that fail, kills under load, drains, re-adoption."""

from __future__ import annotations

import contextlib
import fcntl
import http.client
import json
import os
import signal
import stat
import threading
from pathlib import Path
from typing import Any

import pytest

from thv_core.model.route import Order, RouteState
from thv_core.spi.gateways import ROUTES_FILE
from thv_testkit.gateways import McpClient, RunningGateway, free_port
from thv_testkit.waiting import eventually


@pytest.mark.parametrize(
    ("script", "reason"),
    [
        ({"silent": True}, "echo did not answer initialize within 0.6 s"),
        (
            {"silent": True, "noise": 2},
            "echo wrote 2 lines to standard output that are not MCP, the first: 'Listening for you'",
        ),
        ({"refuse": "not\ntoday"}, "echo refused initialize: nottoday"),
        ({"initialize": {"protocolVersion": 5}}, "echo refused initialize: its answer names no protocol version"),
    ],
    ids=["silent", "noisy", "refusing", "without-version"],
)
def test_a_server_that_does_not_become_ready_fails_with_a_sentence(
    gateway: RunningGateway, start_server: Any, script: dict[str, Any], reason: str
) -> None:
    server = start_server("scripted_server.py", script)
    gateway.start().serve(server.route(free_port(), start_timeout=0.6))
    report = gateway.until(RouteState.FAILED, "echo.1")
    assert (report.error_code, report.reason) == ("start-failed", reason)


def test_a_server_whose_output_another_process_reads_is_not_disturbed(
    gateway: RunningGateway, start_server: Any
) -> None:
    server = start_server()
    with (server.folder / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        gateway.start().serve(server.route(free_port(), start_timeout=0.5))
        assert gateway.until(RouteState.FAILED, "echo.1").reason == "another process reads the output of echo"


def test_a_server_that_ends_before_it_is_ready_failed(gateway: RunningGateway, start_server: Any) -> None:
    server = start_server("scripted_server.py", {"silent": True})
    gateway.start().serve(server.route(free_port()))
    gateway.until(RouteState.STARTING, "echo.1")
    server.stop()
    assert gateway.until(RouteState.FAILED, "echo.1").reason == "echo ended"


def test_noise_before_the_handshake_is_tolerated(gateway: RunningGateway, start_server: Any, connect: Any) -> None:
    client = connect(gateway, start_server("scripted_server.py", {"noise": 3}))
    assert client.tool("x")
    assert "not MCP" in (gateway.folder.parent / "servers/echo.1/proxy.log").read_text()


def test_tools_are_listed_over_all_pages(gateway: RunningGateway, start_server: Any) -> None:
    gateway.serve(start_server("scripted_server.py", {}).route(free_port()))
    assert gateway.start().until(RouteState.READY, "echo.1").tools == ("first", "second")


def test_a_server_is_initialized_once_however_often_the_gateway_dies(
    gateway: RunningGateway, start_server: Any, connect: Any
) -> None:
    client = connect(gateway, start_server("scripted_server.py", {}))
    for _ in range(2):
        gateway.kill()
        client.close()
        gateway.start().until(RouteState.READY, "echo.1")
    lines = client.tool("seen")["structuredContent"]["lines"]
    assert sum('"initialize"' in line for line in lines) == 1
    assert lines.count("") == 2


def test_a_gateway_killed_during_the_handshake_is_followed_by_one_that_is_answered(
    gateway: RunningGateway, start_server: Any
) -> None:
    server = start_server()
    server.process.send_signal(signal.SIGSTOP)
    gateway.start().serve(server.route(free_port()))
    gateway.until(RouteState.STARTING, "echo.1")
    gateway.kill()
    gateway.start()
    gateway.until(RouteState.STARTING, "echo.1")
    server.process.send_signal(signal.SIGCONT)
    assert gateway.until(RouteState.READY, "echo.1").tools


def test_a_half_written_line_of_a_killed_gateway_is_ended(
    gateway: RunningGateway, start_server: Any, connect: Any
) -> None:
    server = start_server("scripted_server.py", {})
    client = connect(gateway, server)
    gateway.kill()
    client.close()
    descriptor = os.open(server.folder / "stdin", os.O_WRONLY)
    os.write(descriptor, b'{"jsonrpc":"2.0","id":"old.1","method":"tools/call","par')
    os.close(descriptor)
    gateway.start().until(RouteState.READY, "echo.1")
    assert client.tool("x")


def test_a_kill_under_load_loses_only_the_calls_in_flight(
    gateway: RunningGateway, start_server: Any, connect: Any, another: Any
) -> None:
    client = connect(gateway, start_server())
    _, pid = client.count()
    sent, answered, stop = [0] * 4, [0] * 4, threading.Event()

    def load(index: int, each: McpClient) -> None:
        while not stop.is_set():
            sent[index] += 1
            try:
                assert each.count()[1] == pid
                answered[index] += 1
            except (OSError, http.client.HTTPException):
                each.close()

    clients = [another(client) for _ in sent]
    threads = [threading.Thread(target=load, args=pair) for pair in enumerate(clients)]
    for thread in threads:
        thread.start()
    for _ in range(2):
        before = sum(answered)
        eventually(lambda before=before: sum(answered) > before + 50)
        gateway.kill()
        gateway.start()
    before = sum(answered)
    eventually(lambda: sum(answered) > before + 50)
    stop.set()
    for thread in threads:
        thread.join(timeout=30)
    client.close()
    counted, same = client.count()
    assert same == pid
    assert sum(answered) <= counted - 2 <= sum(sent)


def test_a_session_of_another_key_is_unknown(gateway: RunningGateway, start_server: Any, connect: Any) -> None:
    client = connect(gateway, start_server())
    gateway.kill()
    client.close()
    (gateway.folder / "session.key").unlink()
    gateway.start().until(RouteState.READY, "echo.1")
    status, _, body = client.send("POST", {"jsonrpc": "2.0", "id": 1, "method": "ping"})
    assert (status, json.loads(body)["error"]["code"]) == (404, -32001)


def test_a_server_that_died_meanwhile_is_gone_for_the_successor(
    gateway: RunningGateway, start_server: Any, connect: Any
) -> None:
    server = start_server()
    connect(gateway, server).close()
    gateway.kill()
    server.stop()
    gateway.start().until(RouteState.GONE, "echo.1")


def test_a_drain_finishes_the_call_in_flight(
    gateway: RunningGateway, start_server: Any, connect: Any, stream: Any
) -> None:
    client = connect(gateway, start_server())
    body = {"jsonrpc": "2.0", "id": 1, "method": "tools/call", "params": {"name": "sleep", "arguments": {"seconds": 1}}}
    listening, waiting = stream(client), stream(client, "POST", body)
    listening.begin()
    assert client.tool("echo", text="x")
    gateway.order(Order.DRAIN)
    assert listening.at_end()
    assert waiting.message()["result"]["content"][0]["text"] == "slept 1 seconds"
    assert gateway.ended() == 0


def test_a_drain_gives_up_a_call_that_does_not_end(
    gateway: RunningGateway, start_server: Any, connect: Any, stream: Any
) -> None:
    client = connect(gateway, start_server("scripted_server.py", {}))
    body = {"jsonrpc": "2.0", "id": 1, "method": "tools/call", "params": {"name": "never"}}
    waiting = stream(client, "POST", body)
    eventually(lambda: "never" in str(client.tool("seen")))
    gateway.order(Order.DRAIN)
    assert waiting.message()["error"]["message"] == "the gateway is being restarted"
    assert gateway.ended() == 0


def test_a_second_gateway_waits_for_the_first(gateway: RunningGateway, start_server: Any, connect: Any) -> None:
    client = connect(gateway, start_server())
    successor = RunningGateway(gateway._command, gateway.folder).start()
    try:
        assert client.tool("echo", text="x")
        assert successor.process is not None
        assert successor.process.poll() is None
        gateway.kill()
        client.close()
        successor.until(RouteState.READY, "echo.1")
        assert client.tool("echo", text="x")
    finally:
        successor.cut_lifeline()
        successor.kill()


def test_a_snapshot_that_cannot_be_read_takes_nothing_away(
    gateway: RunningGateway, start_server: Any, connect: Any
) -> None:
    client = connect(gateway, start_server())
    (gateway.folder / ROUTES_FILE).write_text('{"routes": 5}')
    gateway.order(Order.RELOAD)
    assert client.tool("echo", text="x")


def test_two_workloads_can_exchange_their_ports(gateway: RunningGateway, start_server: Any) -> None:
    servers = [start_server(name=name) for name in ("one", "two")]
    ports = [free_port(), free_port()]
    gateway.start()
    for arrangement in (ports, ports[::-1]):
        gateway.serve(*(server.route(port) for server, port in zip(servers, arrangement, strict=True)))
        for server, port in zip(servers, arrangement, strict=True):
            gateway.until(RouteState.READY, f"{server.name}.1")
            client = McpClient(port)
            with contextlib.closing(client):
                client.initialize()
                assert client.count()[1] == server.process.pid


def test_the_gateways_files_are_its_users_own(gateway: RunningGateway, start_server: Any, connect: Any) -> None:
    connect(gateway, start_server())
    log = gateway.folder.parent / "servers/echo.1/proxy.log"
    for path in (*(gateway.folder / name for name in ("session.key", "handshakes.json", "gateway.lock")), log):
        assert stat.S_IMODE(path.stat().st_mode) == 0o600, path


def test_a_control_socket_may_have_a_long_path(tmp_path: Path, gateway: RunningGateway) -> None:
    folder = tmp_path / ("long" * 30)
    long = RunningGateway(gateway._command, folder).start()
    try:
        with long.connected():
            assert (folder / "gateway.sock").is_socket()
    finally:
        long.cut_lifeline()
        long.kill()


def test_garbage_on_the_control_socket_closes_that_connection_only(gateway: RunningGateway) -> None:
    with gateway.start().connected() as channel:
        channel.sendall(b"hello\n")
        assert channel.recv(10) == b""
    gateway.order(Order.RELOAD)


def test_health_says_whether_the_server_is_available(gateway: RunningGateway, start_server: Any, connect: Any) -> None:
    server = start_server()
    client = connect(gateway, server)

    def health(method: str = "GET") -> tuple[int, Any]:
        connection = http.client.HTTPConnection("127.0.0.1", client.port)
        with contextlib.closing(connection):
            connection.request(method, "/health")
            response = connection.getresponse()
            return response.status, json.loads(response.read())

    status, document = health()
    assert (status, document["status"], document["mcp"]["available"]) == (200, "healthy", True)
    assert health("POST")[0] == 405
    server.stop()
    gateway.until(RouteState.GONE, "echo.1")
    assert health()[1]["status"] == "unhealthy"
