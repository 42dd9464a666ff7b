"""Servers that run somewhere else, by their URL: verified, reached on any address, and never gone for good."""

from __future__ import annotations

import asyncio
import contextlib
import http.server
import json
import socket
import ssl
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import trustme
import uvloop

from thv_core.errors import InvalidRequest
from thv_core.model.route import Route, RouteReport, RouteState
from thv_gateway.client import pool as pool_module
from thv_gateway.client import remote
from thv_gateway.client.pool import Pool
from thv_gateway.client.remote import Remote, Trust, explained, place_of
from thv_testkit.echo.http_transport import HttpEcho
from thv_testkit.echo.server import Echo
from thv_testkit.gateways import McpClient, RunningGateway, free_port

BOUND = 20.0


@contextlib.contextmanager
def serving(server: Any) -> Iterator[Any]:
    with server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        yield server
        server.shutdown()
        thread.join(BOUND)


class SecureEcho(HttpEcho):
    """The echo server behind TLS; counts the connections that came about."""

    connections = 0

    def __init__(self, authority: trustme.CA, name: str) -> None:
        super().__init__(Echo(), 0)
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        authority.issue_cert(name).configure_cert(context)
        self.socket = context.wrap_socket(self.socket, server_side=True)

    def process_request(self, request: Any, client_address: Any) -> None:
        self.connections += 1
        super().process_request(request, client_address)


@pytest.fixture(scope="module")
def authority() -> trustme.CA:
    return trustme.CA()


@pytest.fixture
def trusted(authority: trustme.CA, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Let processes of this test trust the authority of these tests, and nobody else."""
    authority.cert_pem.write_to_path(str(tmp_path / "ca.pem"))
    monkeypatch.setenv("SSL_CERT_FILE", str(tmp_path / "ca.pem"))


@pytest.fixture
def proxied(gateway: RunningGateway) -> Iterator[Any]:
    """Serve a URL, wait until that is decided, and return the report with a client."""
    clients: list[McpClient] = []

    def serve(url: str, state: RouteState = RouteState.READY, **changes: Any) -> tuple[RouteReport, McpClient]:
        port = free_port()
        settings = {"workload": "far", "incarnation": "far.1", "log": "/dev/null", "transport": "streamable-http"}
        gateway.start().serve(Route(**settings | {"port": port, "target_url": url, "start_timeout": 5.0} | changes))
        clients.append(McpClient(port))
        return gateway.until(state, "far.1"), clients[-1]

    yield serve
    for client in clients:
        client.close()


@pytest.mark.usefixtures("trusted")
def test_a_server_behind_tls_is_verified_and_its_connection_kept(proxied: Any, authority: trustme.CA) -> None:
    with serving(SecureEcho(authority, "localhost")) as server:
        report, client = proxied(f"https://localhost:{server.server_port}/mcp")
        assert "count" in report.tools
        client.initialize()
        before = server.connections
        assert [client.count()[0] for _ in range(5)] == [1, 2, 3, 4, 5]
        assert server.connections - before <= 1


def test_an_idle_connection_behind_tls_is_let_go_without_a_complaint(
    authority: trustme.CA, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    complaints: list[Any] = []

    async def work(url: str) -> None:
        asyncio.get_running_loop().set_exception_handler(lambda _, context: complaints.append(context))
        pool = Pool(await Remote.of(url, Trust(str(tmp_path / "ca.pem"))))
        connection = await pool.lease(0)
        await connection.ask(b"GET /nowhere HTTP/1.1\r\nhost: localhost\r\n\r\n")
        await connection.body(1000)
        pool.release(connection)
        assert connection.is_alive()
        async with asyncio.timeout(BOUND):
            while connection.is_alive():  # noqa: ASYNC110 - the pool sets no event
                await asyncio.sleep(0.01)

    monkeypatch.setattr(pool_module, "IDLE_SECONDS", 0.05)
    monkeypatch.setattr(pool_module, "_LEAVE_SECONDS", 60.0)
    authority.cert_pem.write_to_path(str(tmp_path / "ca.pem"))
    with serving(SecureEcho(authority, "localhost")) as server:
        uvloop.run(work(f"https://localhost:{server.server_port}/mcp"))
    assert complaints == []


@pytest.mark.usefixtures("trusted")
@pytest.mark.parametrize("whose", ["another name", "another authority"])
def test_a_certificate_of_somebody_else_is_refused_at_once_with_the_reason(
    proxied: Any, authority: trustme.CA, whose: str
) -> None:
    name = "other.example" if whose == "another name" else "localhost"
    with serving(SecureEcho(authority if whose == "another name" else trustme.CA(), name)) as server:
        report, client = proxied(f"https://localhost:{server.server_port}/mcp", RouteState.FAILED, start_timeout=60)
        assert report.reason.startswith("far shows a certificate that is not trusted: ")
        assert client.send("POST", PING)[0] == 503


def test_a_server_that_speaks_no_tls_is_no_https_server(proxied: Any) -> None:
    with serving(HttpEcho(Echo(), 0)) as server:
        report, _ = proxied(f"https://127.0.0.1:{server.server_port}/mcp", RouteState.FAILED, start_timeout=1.0)
        assert report.reason.startswith("far speaks no TLS that we understand: ")


class Handler(http.server.BaseHTTPRequestHandler):
    """A server that lets in whoever says the right word, and notes what it was sent."""

    protocol_version = "HTTP/1.1"
    seen: list[tuple[str, dict[str, str]]]
    lets_in = "Bearer right"

    def do_POST(self) -> None:
        message = json.loads(self.rfile.read(int(self.headers["content-length"])))
        self.seen.append((self.path, {name.lower(): value for name, value in self.headers.items()}))
        if self.lets_in and self.headers.get("authorization") != self.lets_in:
            self.answer(401, None, **{"www-authenticate": 'Bearer resource_metadata="https://x.example/"'})
        elif "id" not in message:
            self.answer(202, None)
        elif message.get("params", {}).get("name") == "elsewhere":
            self.answer(307, None, location="http://127.0.0.1:1/mcp")
        else:
            result = {"protocolVersion": "2025-11-25", "capabilities": {}, "serverInfo": {"name": "x", "version": "1"}}
            self.answer(200, {"jsonrpc": "2.0", "id": message["id"], "result": result})

    def answer(self, status: int, message: object, **headers: str) -> None:
        body = json.dumps(message).encode() if message else b""
        self.send_response_only(status)
        for name, value in headers.items():
            self.send_header(name, value)
        self.send_header("content-type", "application/json")
        self.send_header("content-length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: Any) -> None:
        """Say nothing."""


@pytest.fixture
def server() -> Iterator[Any]:
    handler = type("Seeing", (Handler,), {"seen": []})
    with serving(http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler)) as server:
        server.handler = handler
        yield server


PING = b'{"jsonrpc":"2.0","id":1,"method":"ping"}'


def test_who_forwards_authorization_is_ready_before_anybody_is_let_in(proxied: Any, server: Any) -> None:
    url = f"http://127.0.0.1:{server.server_port}/a/path?key=1"
    report, client = proxied(url, forward_authorization=True)
    assert report.protocol_version == ""
    status, headers, _ = client.send("POST", PING, authorization="Bearer wrong")
    assert (status, headers["www-authenticate"][:6]) == (401, "Bearer")
    assert client.send("POST", PING, authorization="Bearer right", cookie="mine", x_other="mine")[0] == 200
    path, fields = server.handler.seen[-1]
    assert (path, fields["host"]) == ("/a/path?key=1", f"127.0.0.1:{server.server_port}")
    assert fields["authorization"] == "Bearer right"
    assert not {"cookie", "x-other", "user-agent"} & fields.keys()


def test_a_header_that_is_given_twice_is_refused(proxied: Any, server: Any) -> None:
    _, client = proxied(f"http://127.0.0.1:{server.server_port}/mcp", forward_authorization=True)
    with socket.create_connection(("127.0.0.1", client.port), timeout=BOUND) as raw:
        head = f"POST /mcp HTTP/1.1\r\nhost: 127.0.0.1:{client.port}\r\ncontent-length: {len(PING)}\r\n"
        raw.sendall(head.encode() + b"authorization: Bearer right\r\nauthorization: Bearer wrong\r\n\r\n" + PING)
        assert raw.recv(1000).startswith(b"HTTP/1.1 400 ")


def test_who_forwards_no_authorization_fails_at_a_server_that_wants_one(proxied: Any, server: Any) -> None:
    report, _ = proxied(f"http://127.0.0.1:{server.server_port}/mcp", RouteState.FAILED)
    assert report.reason == "far refused initialize: it answered HTTP 401 at /mcp"


def test_authorization_stays_here_unless_it_is_to_be_forwarded(proxied: Any, server: Any) -> None:
    server.handler.lets_in = ""
    _, client = proxied(f"http://127.0.0.1:{server.server_port}/mcp")
    assert client.send("POST", PING, authorization="Bearer mine")[0] == 200
    assert "authorization" not in server.handler.seen[-1][1]


def test_a_redirection_is_never_followed(proxied: Any, server: Any) -> None:
    server.handler.lets_in = ""
    _, client = proxied(f"http://127.0.0.1:{server.server_port}/mcp")
    body = b'{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"name":"elsewhere"}}'
    status, headers, text = client.send("POST", body)
    assert status == 502
    assert "location" not in headers
    assert b"HTTP 307" in text


def test_a_server_that_is_out_of_reach_for_a_while_is_served_again(
    proxied: Any, gateway: RunningGateway, http_server: Any
) -> None:
    first = http_server()
    _, client = proxied(f"http://127.0.0.1:{first.target_port}/mcp")
    client.initialize()
    assert client.count()[0] == 1
    first.stop()
    assert client.send("POST", PING)[0] in (502, 503)
    gateway.until(RouteState.READY, "far.1")
    with serving(HttpEcho(Echo(), first.target_port)):
        client.session = ""
        client.initialize()
        assert client.count()[0] == 1


def test_nobody_answers_is_a_reason_after_the_time_to_start(proxied: Any) -> None:
    report, _ = proxied(f"http://127.0.0.1:{free_port()}/mcp", RouteState.FAILED, start_timeout=0.5)
    assert report.reason == "far accepts no connections: Connection refused"


@pytest.mark.parametrize(
    ("url", "host", "path"),
    [
        ("https://a.example", b"host: a.example", b"/"),
        ("https://a.example/mcp?x=1#y", b"host: a.example", b"/mcp?x=1"),
        ("http://a.example:8080/mcp", b"host: a.example:8080", b"/mcp"),
        ("http://[::1]:80/mcp", b"host: [::1]:80", b"/mcp"),
    ],
)
def test_a_request_names_the_host_and_the_path_of_the_url(url: str, host: bytes, path: bytes) -> None:
    place = place_of(url)
    assert (place.host, place.path) == (host, path)


@pytest.mark.parametrize(
    "url",
    [
        *("", "a.example/mcp", "ftp://a.example/", "http://", "http://a.example:x/", "http://a.example:0/"),
        *("http://user:secret@a.example/", "http://a.example/\r\nx: y", "http://a.example/a b", "http://ä.example/"),
    ],
)
def test_what_is_no_url_of_an_endpoint_is_refused(url: str) -> None:
    with pytest.raises(InvalidRequest) as refused:
        place_of(url)
    assert "secret" not in str(refused.value)


@pytest.mark.parametrize(
    ("error", "words"),
    [
        (socket.gaierror(socket.EAI_NONAME, "?"), "has a host name that cannot be resolved"),
        (TimeoutError(), "accepted no connection within 10 s"),
        (ConnectionRefusedError(111, "?"), "accepts no connections: Connection refused"),
        (OSError("odd"), "accepts no connections: OSError"),
    ],
)
def test_why_a_server_is_out_of_reach_is_said_in_words(error: OSError, words: str) -> None:
    assert explained(error).startswith(words)


def dialled(monkeypatch: pytest.MonkeyPatch, answers: dict[str, Any]) -> tuple[socket.socket | None, list[str]]:
    """Dial addresses of which each answers as the test says; return the connection, and which were let go."""
    let_go: list[str] = []

    async def dial(address: Any) -> socket.socket:
        answer = answers[address[1]]
        try:
            if answer is None:
                await asyncio.get_running_loop().create_future()
            if isinstance(answer, Exception):
                raise answer
            return answer
        except asyncio.CancelledError:
            let_go.append(address[1])
            raise

    async def work() -> socket.socket | None:
        async with asyncio.timeout(BOUND):
            try:
                return await remote._first([(socket.AF_INET, name) for name in answers])
            finally:
                await asyncio.sleep(0)

    monkeypatch.setattr(remote, "_dialled", dial)
    monkeypatch.setattr(remote, "_NEXT_SECONDS", 0.01)
    return asyncio.run(work()), let_go


def test_the_next_address_is_tried_while_one_keeps_silent(monkeypatch: pytest.MonkeyPatch) -> None:
    with socket.socket() as connected:
        refused = ConnectionRefusedError()
        found, let_go = dialled(monkeypatch, {"silent": None, "refusing": refused, "good": connected, "unasked": None})
        assert found is connected
        assert let_go == ["silent"]


def test_the_last_failure_is_told_when_no_address_answers(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(ConnectionRefusedError):
        dialled(monkeypatch, {"one": OSError(), "two": ConnectionRefusedError()})


def test_addresses_of_both_families_take_turns() -> None:
    addresses = [(socket.AF_INET6, 1), (socket.AF_INET6, 2), (socket.AF_INET, 3)]
    assert remote._in_turn(addresses) == [(socket.AF_INET6, 1), (socket.AF_INET, 3), (socket.AF_INET6, 2)]


def test_chosen_certificates_are_trusted_beside_those_of_the_system(authority: trustme.CA, tmp_path: Path) -> None:
    plain = asyncio.run(Trust().context()).cert_store_stats()["x509_ca"]
    authority.cert_pem.write_to_path(str(tmp_path / "ca.pem"))
    trust = Trust(str(tmp_path / "ca.pem"))
    context = asyncio.run(trust.context())
    assert context.cert_store_stats()["x509_ca"] == plain + 1
    assert asyncio.run(trust.context()) is context
