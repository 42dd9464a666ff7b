"""A gateway of its own for one server somewhere else: its seat, its end, and why it did not come about."""

from __future__ import annotations

import json
import os
import select
import signal
import socket
import subprocess
import sys
import threading
import time
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from thv_core.errors import InvalidRequest, PortUnavailable, StartFailed
from thv_core.model.document import decode_document, encode_document
from thv_core.model.route import GatewayCommand, Order, Route, RouteReport, RouteSnapshot, RouteState
from thv_core.model.serving import HeaderForward
from thv_core.spi.gateways import GATEWAY_SOCKET, ROUTES_FILE, Gateway, GatewaySeat
from thv_core.state.files import unix_address
from thv_supervisor.proxying import proxied, remote_config, remote_route
from thv_testkit.echo.http_transport import HttpEcho
from thv_testkit.echo.server import Echo

PROGRAM = Path(__file__).parent / "programs" / "run_command.py"
URL = "https://far.example/mcp"
WITHIN = 20.0


def route_to(name: str, target: str, host: str, port: int, **keys: Any) -> Route:
    return remote_route(remote_config(name, target, {"host": host, "port": port, **keys}))


class ReportingGateway(Gateway):
    """A gateway that reports what the test says, in a process of its own, and ends with its lifeline or when told to.

    What it was given is written into ``notes``; it ends by itself when there is a file ``content`` among them.
    """

    takes_values = False

    def __init__(self, notes: Path, *reports: RouteReport) -> None:
        self.reports = reports
        self.notes = notes

    def serve(self, seat: GatewaySeat) -> None:
        self._note("directory", str(seat.directory).encode())
        self._note("workers", str(seat.workers).encode())
        self._note("threads", str(threading.active_count()).encode())
        self._note("snapshot", (seat.directory / ROUTES_FILE).read_bytes())
        with socket.socket(socket.AF_UNIX) as listener:
            with unix_address(seat.directory / GATEWAY_SOCKET) as address:
                listener.bind(address)
            listener.listen()
            channel, _ = listener.accept()
            with channel, channel.makefile("rb") as lines:
                if self.takes_values:
                    self._note("command", lines.readline())
                for each in self.reports:
                    channel.sendall(encode_document(each) + b"\n")
                self._wait(seat.lifeline)

    def noted(self, name: str) -> bytes:
        return (self.notes / name).read_bytes()

    def _wait(self, lifeline: int) -> None:
        ends = time.monotonic() + WITHIN
        while time.monotonic() < ends and not (self.notes / "content").exists():
            if select.select([lifeline], [], [], 0.02)[0]:
                assert os.read(lifeline, 1) == b""
                self._note("cut", b"")
                return

    def _note(self, name: str, text: bytes) -> None:
        (self.notes / name).write_bytes(text)


def report(state: RouteState, **changes: Any) -> RouteReport:
    return RouteReport(workload="far", incarnation="far.1", state=state, **changes)


def test_it_serves_until_the_gateway_ends_and_leaves_nothing_behind(tmp_path: Path) -> None:
    gateway = ReportingGateway(tmp_path, report(RouteState.STARTING), report(RouteState.READY, port=5))
    heard: list[RouteReport] = []

    def ready(each: RouteReport) -> None:
        heard.append(each)
        (tmp_path / "content").touch()

    route = route_to("far", URL, "localhost", 0)
    before = [signal.getsignal(number) for number in (signal.SIGTERM, signal.SIGINT)]
    proxied(route, gateway, ready, workers=3)
    assert [each.port for each in heard] == [5]
    assert decode_document(gateway.noted("snapshot"), RouteSnapshot, "it") == RouteSnapshot(routes=(route,))
    assert gateway.noted("workers") == b"3"
    assert not Path(os.fsdecode(gateway.noted("directory"))).exists()
    assert [signal.getsignal(number) for number in (signal.SIGTERM, signal.SIGINT)] == before


def test_there_is_no_thread_when_the_gateway_begins_so_that_it_can_fork(tmp_path: Path) -> None:
    gateway = ReportingGateway(tmp_path, report(RouteState.READY, port=5))
    proxied(route_to("far", URL, "localhost", 0), gateway, lambda _: (tmp_path / "content").touch(), workers=2)
    assert gateway.noted("threads") == b"1"


def test_values_of_secrets_go_to_the_gateway_and_into_no_file(tmp_path: Path) -> None:
    gateway = ReportingGateway(tmp_path, report(RouteState.READY, port=5))
    gateway.takes_values = True
    headers = HeaderForward(add_plaintext_headers={"X-A": "b"}, add_headers_from_secret={"Authorization": "token"})
    route = route_to("far", URL, "127.0.0.1", 0, header_forward=headers)
    proxied(route, gateway, lambda _: (tmp_path / "content").touch(), {"token": "v4lue"})
    command = decode_document(gateway.noted("command"), GatewayCommand, "the command")
    assert command == GatewayCommand(order=Order.VALUES, values={"token": "v4lue"})
    assert b"v4lue" not in gateway.noted("snapshot")
    assert [(each.name, each.value, each.secret) for each in route.forward_headers] == [
        ("X-A", "b", ""),
        ("Authorization", "", "token"),
    ]


def test_what_fails_when_it_is_ready_ends_the_gateway(tmp_path: Path) -> None:
    def broken(_: RouteReport) -> None:
        raise BrokenPipeError

    gateway = ReportingGateway(tmp_path, report(RouteState.READY, port=5))
    with pytest.raises(BrokenPipeError):
        proxied(route_to("far", URL, "127.0.0.1", 0), gateway, broken)
    assert gateway.noted("cut") == b""


def test_a_gateway_that_fails_is_said(caplog: pytest.LogCaptureFixture) -> None:
    class FailingGateway(Gateway):
        def serve(self, seat: GatewaySeat) -> None:
            raise OSError("no more files")

    with pytest.raises(StartFailed, match="the gateway ended with 1"):
        proxied(route_to("far", URL, "127.0.0.1", 0), FailingGateway(), lambda _: None)


def test_a_signal_before_the_gateway_heeds_any_ends_it_without_a_complaint(tmp_path: Path) -> None:
    gateway = ReportingGateway(tmp_path, report(RouteState.READY, port=5))
    proxied(route_to("far", URL, "127.0.0.1", 0), gateway, lambda _: signal.raise_signal(signal.SIGTERM))
    assert not Path(os.fsdecode(gateway.noted("directory"))).exists()


def test_a_route_is_met_as_its_configuration_says(tmp_path: Path) -> None:
    socket_path = str(tmp_path / "s.sock")
    keys = {"session_ttl": "5m", "request_timeout": "7s", "endpoint_prefix": "/x", "allowed_origins": ("https://a",)}
    route = route_to("far", f"{URL}?key=1", "localhost", 0, transport="sse", socket=socket_path, **keys)
    assert (route.target_url, route.transport, route.port) == (f"{URL}?key=1", "sse", 0)
    assert (route.terms.socket, route.terms.session_ttl, route.terms.endpoint_prefix) == (socket_path, 300.0, "/x")
    assert (route.terms.origins, route.request_timeout) == (("https://a",), 7.0)


@pytest.mark.parametrize(("code", "kind"), [("port-unavailable", PortUnavailable), ("start-failed", StartFailed)])
def test_a_server_that_does_not_answer_ends_it_with_the_reason(
    code: str, kind: type[Exception], tmp_path: Path
) -> None:
    gateway = ReportingGateway(tmp_path, report(RouteState.FAILED, reason="far is away", error_code=code))
    with pytest.raises(kind, match=r"^far is away"):
        proxied(route_to("far", URL, "127.0.0.1", 0), gateway, lambda _: None)
    assert not Path(os.fsdecode(gateway.noted("directory"))).exists()
    assert gateway.noted("cut") == b""


def test_a_gateway_that_ends_by_itself_is_no_failure_of_ours() -> None:
    class EndingGateway(Gateway):
        def serve(self, seat: GatewaySeat) -> None:
            """End at once."""

    proxied(route_to("far", URL, "127.0.0.1", 0), EndingGateway(), lambda _: None)


@pytest.mark.parametrize("host", ["0.0.0.0", "192.0.2.1", "a.example", ""])
def test_nothing_listens_beyond_loopback(host: str) -> None:
    with pytest.raises(InvalidRequest, match="is not a loopback address"):
        route_to("far", URL, host, 0)


@pytest.mark.parametrize("target", ["", "far.example/mcp", "ftp://far.example/", "https:///mcp"])
def test_a_target_is_the_url_of_an_endpoint(target: str) -> None:
    with pytest.raises(InvalidRequest, match="is not the URL of an MCP endpoint"):
        route_to("far", target, "127.0.0.1", 0)


def test_a_route_has_a_port_of_its_own_or_the_given_one() -> None:
    first, second = route_to("far", URL, "127.0.0.1", 0), route_to("far", URL, "::1", 1234)
    assert first.port > 0
    assert (second.port, second.host) == (1234, "::1")
    assert first.forward_authorization
    with pytest.raises(InvalidRequest, match="cannot name a workload"):
        route_to("-far", URL, "127.0.0.1", 0)


# As a process, with the gateway that is installed --------------------------------------------------------------------


@pytest.fixture
def echo() -> Iterator[HttpEcho]:
    with HttpEcho(Echo(), 0) as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        yield server
        server.shutdown()
        thread.join(WITHIN)


@pytest.fixture
def run(environment: dict[str, str], tmp_path: Path) -> Iterator[Callable[..., subprocess.Popen[str]]]:
    """Run the command in a process that keeps its temporary files in a folder of the test."""
    running: list[subprocess.Popen[str]] = []
    (tmp_path / "temporary").mkdir()

    def start(*arguments: str) -> subprocess.Popen[str]:
        running.append(
            subprocess.Popen(
                [sys.executable, str(PROGRAM), *arguments],
                env={**os.environ, **environment, "TMPDIR": str(tmp_path / "temporary")},
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,
                text=True,
                preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
            )
        )
        return running[-1]

    yield start
    for process in running:
        process.kill()
        process.communicate()


@pytest.mark.parametrize(
    ("number", "workers"),
    [(signal.SIGTERM, "1"), (signal.SIGINT, "1"), (signal.SIGHUP, "1"), (signal.SIGTERM, "2"), (signal.SIGINT, "2")],
)
def test_a_server_is_proxied_at_the_printed_url_until_a_signal(
    run: Any, echo: HttpEcho, tmp_path: Path, number: signal.Signals, workers: str
) -> None:
    process = run("far", "--target-uri", echo.url, "--workers", workers)
    url = process.stdout.readline().strip()
    message = {"jsonrpc": "2.0", "id": 1, "method": "initialize", "params": {"protocolVersion": "2025-11-25"}}
    message["params"] |= {"capabilities": {}, "clientInfo": {"name": "x", "version": "1"}}
    accept = {"accept": "application/json, text/event-stream", "content-type": "application/json"}
    request = urllib.request.Request(url, json.dumps(message).encode(), accept)
    with urllib.request.urlopen(request, timeout=WITHIN) as answer:
        assert json.loads(answer.read())["result"]["serverInfo"]["name"]
    assert list((tmp_path / "temporary").iterdir())
    process.send_signal(number)
    assert process.wait(WITHIN) == 0
    assert list((tmp_path / "temporary").iterdir()) == []


def test_a_proxy_that_is_killed_leaves_no_gateway(run: Any, echo: HttpEcho) -> None:
    process = run("far", "--target-uri", echo.url, "--workers", "2")
    url = process.stdout.readline().strip()
    port = int(url.rpartition(":")[2].partition("/")[0])
    process.kill()
    ends = time.monotonic() + WITHIN
    while time.monotonic() < ends:
        with socket.socket() as trial:
            if trial.connect_ex(("127.0.0.1", port)):
                return
        time.sleep(0.02)
    pytest.fail("the gateway still listens")


@pytest.mark.parametrize("number", ["0", "65", "two"])
def test_workers_are_a_number_of_processes(run: Any, number: str) -> None:
    process = run("far", "--target-uri", URL, "--workers", number)
    _, err = process.communicate(timeout=WITHIN)
    assert process.returncode
    assert "range" in err


def test_a_port_that_is_taken_is_said(run: Any, echo: HttpEcho) -> None:
    process = run("far", "--target-uri", echo.url, "--port", str(echo.server_port))
    out, err = process.communicate(timeout=WITHIN)
    assert (process.returncode, out) == (1, "")
    assert err.startswith("port-unavailable: ")
