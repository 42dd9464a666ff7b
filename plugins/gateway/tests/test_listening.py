"""Listeners as clients meet them: TLS, Unix sockets, the one that all workloads share, and their end."""

from __future__ import annotations

import asyncio
import http.client
import json
import os
import socket
import ssl
import subprocess
import time
from collections.abc import Awaitable, Callable, Iterator
from pathlib import Path
from typing import Any

import msgspec
import pytest
import uvloop

from thv_core.model.document import encode_document
from thv_core.model.route import Order, Route, RouteSnapshot, RouteState, Terms
from thv_core.spi import Reply
from thv_core.spi.gateways import ROUTES_FILE
from thv_gateway.web.limits import Limits
from thv_gateway.web.listeners import Address, Listener
from thv_gateway.web.lobby import Site
from thv_gateway.web.request import Request
from thv_testkit.gateways import McpClient, RunningGateway, RunningServer, free_port
from thv_testkit.waiting import eventually

INITIALIZE = json.dumps(
    {
        "jsonrpc": "2.0",
        "id": 0,
        "method": "initialize",
        "params": {
            "protocolVersion": "2025-11-25",
            "capabilities": {},
            "clientInfo": {"name": "test", "version": "1"},
        },
    }
).encode()
HEADERS = {"accept": "application/json, text/event-stream", "content-type": "application/json"}


class UnixConnection(http.client.HTTPConnection):
    """HTTP over a Unix socket, however long its path is."""

    def __init__(self, path: Path) -> None:
        super().__init__("thv", timeout=20)
        self.path = path

    def connect(self) -> None:
        folder = os.open(self.path.parent, os.O_RDONLY | os.O_DIRECTORY)
        try:
            self.sock = socket.socket(socket.AF_UNIX)
            self.sock.settimeout(20)
            self.sock.connect(f"/proc/self/fd/{folder}/{self.path.name}")
        finally:
            os.close(folder)


def asked(
    connection: http.client.HTTPConnection, method: str, path: str, body: bytes | None = None, **headers: str
) -> tuple[int, dict[str, str], bytes]:
    """Send one request and return status, headers and body."""
    given = {name.replace("_", "-"): value for name, value in headers.items()}
    connection.request(method, path, body, HEADERS | given)
    answer = connection.getresponse()
    return answer.status, {name.lower(): value for name, value in answer.getheaders()}, answer.read()


def initialized(connection: http.client.HTTPConnection, path: str = "/mcp", **headers: str) -> str:
    """Open a session and return its id."""
    status, fields, body = asked(connection, "POST", path, INITIALIZE, **headers)
    assert (status, json.loads(body)["id"]) == (200, 0), body
    return fields["mcp-session-id"]


def certificate(folder: Path, name: str = "localhost") -> tuple[Path, Path]:
    """Make a certificate and its key, in the files of the last one."""
    folder.mkdir(exist_ok=True)
    paths = folder / "tls.crt", folder / "tls.key"
    command = ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes"]
    made = folder / "new.crt", folder / "new.key"
    names = ["-subj", f"/CN={name}", "-addext", "subjectAltName=DNS:localhost,IP:127.0.0.1", "-days", "2"]
    subprocess.run([*command, "-keyout", made[1], "-out", made[0], *names], check=True, capture_output=True)
    for fresh, path in zip(reversed(made), reversed(paths), strict=True):
        fresh.replace(path)
    return paths


def trusting(path: Path) -> ssl.SSLContext:
    context = ssl.create_default_context(cafile=str(path))
    context.set_alpn_protocols(["http/1.1", "h2"])
    return context


@pytest.fixture
def serve(gateway: RunningGateway, start_server: Any) -> Callable[..., Route]:
    """Serve the echo server with terms."""

    def served(**terms: Any) -> Route:
        route = msgspec.structs.replace(start_server().route(free_port()), terms=Terms(**terms))
        gateway.start().serve(route)
        return route

    return served


@pytest.fixture
def tls(gateway: RunningGateway, serve: Any, tmp_path: Path) -> Iterator[tuple[Route, Path]]:
    paths = certificate(tmp_path / "tls")
    route = serve(tls_certificate=str(paths[0]), tls_key=str(paths[1]))
    gateway.until(RouteState.READY, "echo.1")
    return route, paths[0]


def test_tls_serves_http_1_1_and_nothing_older_than_tls_1_2(tls: tuple[Route, Path]) -> None:
    route, path = tls
    connection = http.client.HTTPSConnection("localhost", route.port, timeout=20, context=trusting(path))
    assert initialized(connection, origin=f"https://localhost:{route.port}")
    assert connection.sock.selected_alpn_protocol() == "http/1.1"
    assert asked(connection, "POST", "/mcp", INITIALIZE, origin=f"http://localhost:{route.port}")[0] == 403
    connection.close()
    old = trusting(path)
    old.minimum_version = ssl.TLSVersion.MINIMUM_SUPPORTED
    old.maximum_version = ssl.TLSVersion.TLSv1_2
    with socket.create_connection(("127.0.0.1", route.port), timeout=20) as plain:
        plain.sendall(b"GET /health HTTP/1.1\r\nHost: localhost\r\n\r\n")
        assert b"HTTP/1.1 200" not in plain.recv(1000)


def test_a_renewed_certificate_is_used_without_a_restart(tls: tuple[Route, Path], tmp_path: Path) -> None:
    route, path = tls

    def subject() -> str:
        context = trusting(path)
        with (
            socket.create_connection(("127.0.0.1", route.port), timeout=20) as plain,
            context.wrap_socket(plain, server_hostname="localhost") as wrapped,
        ):
            named = wrapped.getpeercert()
            assert named is not None
            return dict(pair for group in named["subject"] for pair in group)["commonName"]

    assert subject() == "localhost"
    certificate(tmp_path / "tls", "renewed")

    def renewed() -> bool:
        try:
            return subject() == "renewed"
        except ssl.SSLError:
            return False

    assert eventually(renewed, 20)


@pytest.mark.parametrize(("content", "reason"), [(None, "cannot be read: No such file"), (b"junk", "cannot be used")])
def test_a_certificate_that_cannot_be_used_is_said_and_tried_again(
    content: bytes | None, reason: str, gateway: RunningGateway, serve: Any, tmp_path: Path
) -> None:
    folder = tmp_path / "tls"
    folder.mkdir()
    paths = folder / "tls.crt", folder / "tls.key"
    if content is not None:
        for path in paths:
            path.write_bytes(content)
    serve(tls_certificate=str(paths[0]), tls_key=str(paths[1]))
    report = gateway.until(RouteState.FAILED, "echo.1")
    assert reason in report.reason
    assert str(folder) in report.reason
    assert report.error_code == "invalid-settings"
    certificate(folder)
    gateway.until(RouteState.READY, "echo.1")


@pytest.mark.parametrize("name", ["s", "x" * 120 + "/s"])
def test_a_unix_socket_is_private_and_needs_no_host_of_ours(
    name: str, gateway: RunningGateway, serve: Any, tmp_path: Path
) -> None:
    path = tmp_path / name
    path.parent.mkdir(exist_ok=True)
    serve(socket=str(path))
    gateway.until(RouteState.READY, "echo.1")
    assert path.stat().st_mode & 0o777 == 0o600
    connection = UnixConnection(path)
    assert initialized(connection)
    assert asked(connection, "POST", "/mcp", INITIALIZE, origin="http://localhost")[0] == 403
    connection.close()
    gateway.serve()
    assert eventually(lambda: not path.exists())


def test_a_stale_unix_socket_is_replaced_and_a_file_never(gateway: RunningGateway, serve: Any, tmp_path: Path) -> None:
    stale, precious = tmp_path / "stale", tmp_path / "precious"
    with socket.socket(socket.AF_UNIX) as dead:
        dead.bind(str(stale))
    precious.write_text("mine")
    route = serve(socket=str(precious))
    report = gateway.until(RouteState.FAILED, "echo.1")
    assert report.reason == f"the socket {precious} cannot be used: a file that is no socket has its place"
    assert report.error_code == "port-unavailable"
    gateway.serve(msgspec.structs.replace(route, terms=Terms(socket=str(stale))))
    gateway.until(RouteState.READY, "echo.1")
    assert precious.read_text() == "mine"


def test_only_the_origins_of_the_list_may_call(gateway: RunningGateway, serve: Any) -> None:
    route = serve(origins=("https://App.example/", "http://other.example:81"))
    gateway.until(RouteState.READY, "echo.1")
    connection = http.client.HTTPConnection("127.0.0.1", route.port, timeout=20)
    expected = {
        "https://app.example": 200,
        "HTTPS://APP.example": 200,
        "http://other.example:81": 200,
        "http://other.example": 403,
        "http://app.example": 403,
        "https://app.example.evil": 403,
        f"http://127.0.0.1:{route.port}": 403,
        "null": 403,
    }
    assert {each: asked(connection, "POST", "/mcp", INITIALIZE, origin=each)[0] for each in expected} == expected
    assert initialized(connection)
    connection.close()


def publish(gateway: RunningGateway, *routes: Route, shared_port: int = 0) -> None:
    """Write a snapshot with a shared listener."""
    draft = gateway.folder / "routes.draft"
    draft.write_bytes(encode_document(RouteSnapshot(routes=routes, shared_port=shared_port)))
    draft.replace(gateway.folder / ROUTES_FILE)
    gateway.order(Order.RELOAD)


def test_every_workload_is_reached_under_its_name_on_the_shared_listener(
    gateway: RunningGateway, start_server: Any
) -> None:
    servers: list[RunningServer] = [start_server(name=name) for name in ("one", "two")]
    routes = [server.route(free_port()) for server in servers]
    port = free_port()
    gateway.start()
    publish(gateway, *routes, shared_port=port)
    for server in servers:
        gateway.until(RouteState.READY, f"{server.name}.1")
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=20)
    sessions = {name: initialized(connection, f"/{name}/mcp") for name in ("one", "two")}
    ping = b'{"jsonrpc":"2.0","id":1,"method":"ping"}'
    assert asked(connection, "POST", "/one/mcp", ping, mcp_session_id=sessions["one"])[0] == 200
    # A session belongs to one workload.
    assert asked(connection, "POST", "/two/mcp", ping, mcp_session_id=sessions["one"])[0] == 404
    # What guards a route guards it here as well.
    assert asked(connection, "POST", "/one/mcp", ping, host="evil.example")[0] == 403
    assert asked(connection, "POST", "/one/mcp", INITIALIZE, origin=f"http://127.0.0.1:{port}")[0] == 200
    assert asked(connection, "GET", "/two/health")[0] == 200
    for path in ("/", "/mcp", "/three/mcp", "/one", "/one/", "/health", "//mcp"):
        assert asked(connection, "POST", path, ping)[0] == 404, path
    publish(gateway, routes[1], shared_port=port)
    assert eventually(lambda: asked(connection, "POST", "/one/mcp", ping)[0] == 404)
    assert asked(connection, "POST", "/two/mcp", ping, mcp_session_id=sessions["two"])[0] == 200
    connection.close()
    publish(gateway, routes[1])

    def is_closed() -> bool:
        with socket.socket() as probe:
            return probe.connect_ex(("127.0.0.1", port)) != 0

    assert eventually(is_closed)


def test_a_drain_finishes_calls_and_refuses_what_is_new_on_open_connections(
    gateway: RunningGateway, start_server: Any, connect: Any
) -> None:
    client: McpClient = connect(gateway, start_server("scripted_server.py", {}))
    idle = http.client.HTTPConnection("127.0.0.1", client.port, timeout=20)
    session = initialized(idle)
    call = {"name": "sleep", "arguments": {"seconds": 1.5}}
    body = json.dumps({"jsonrpc": "2.0", "id": 5, "method": "tools/call", "params": call}).encode()
    busy = http.client.HTTPConnection("127.0.0.1", client.port, timeout=20)
    busy.request("POST", "/mcp", body, HEADERS | {"mcp-session-id": client.session})
    time.sleep(0.3)
    gateway.order(Order.DRAIN)

    def is_closed() -> bool:
        with socket.socket() as probe:
            return probe.connect_ex(("127.0.0.1", client.port)) != 0

    assert eventually(is_closed)
    ping = b'{"jsonrpc":"2.0","id":1,"method":"ping"}'
    status, fields, answer = asked(idle, "POST", "/mcp", ping, mcp_session_id=session)
    assert (status, fields["retry-after"], fields["connection"]) == (503, "1", "close")
    assert json.loads(answer)["error"]["code"] == -32603
    finished = busy.getresponse()
    assert finished.status == 200
    assert b'"id":5' in finished.read()
    idle.close()
    busy.close()
    assert gateway.process is not None
    assert gateway.process.wait(10) == 0


async def _echo(request: Request) -> None:
    body = await request.body(1 << 20)
    request.reply(Reply(200, body or b"", ()))


async def _flood(request: Request) -> None:
    request.begin(200, [])
    while True:
        await request.write(b"x" * 65536)


def met(site: Site, meet: Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]) -> float:
    """Let a client meet a listener of little patience; return the seconds until the listener forgot it."""

    async def work() -> float:
        limits = Limits(head_seconds=0.4, body_seconds=0.4, idle_seconds=0.4, write_seconds=0.4, linger_seconds=0.2)
        bound = asyncio.Event()
        port = free_port()
        listener = Listener(Address("127.0.0.1", port), site, bound.set, limits=limits)
        loop = asyncio.get_running_loop()
        async with asyncio.timeout(20):
            await bound.wait()
            began = loop.time()
            reader, writer = await asyncio.open_connection("127.0.0.1", port)
            await meet(reader, writer)
            while listener.is_used:  # noqa: ASYNC110 - nobody tells
                await asyncio.sleep(0.01)
        took = loop.time() - began
        writer.transport.abort()
        listener.close()
        return took

    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        return runner.run(work())


def test_a_zombie_that_never_asks_anything_is_closed() -> None:
    async def meet(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        assert await reader.read() == b""

    assert 0.3 < met(_echo, meet) < 5


@pytest.mark.parametrize(
    "begin", [b"POST /mcp HT", b"POST /mcp HTTP/1.1\r\nHost: x\r\nContent-Length: 9\r\n\r\nx"], ids=["head", "body"]
)
def test_a_slow_loris_is_told_so_and_closed(begin: bytes) -> None:
    async def meet(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(begin)
        answer = await reader.read()
        assert answer.startswith(b"HTTP/1.1 408 ")
        assert b"connection: close" in answer

    assert 0.3 < met(_echo, meet) < 5


def test_a_client_that_reads_nothing_is_given_up() -> None:
    async def meet(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.transport.pause_reading()
        writer.write(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n")

    assert 0.3 < met(_flood, meet) < 5
