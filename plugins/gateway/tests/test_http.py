"""HTTP as clients and attackers speak it, against a running gateway."""

from __future__ import annotations

import json
import socket
from collections.abc import Iterator

import pytest

from thv_core.model.route import RouteState
from thv_testkit.gateways import McpClient, RunningGateway, RunningServer, free_port, serve_command

PING = b'{"jsonrpc":"2.0","id":1,"method":"ping"}'


@pytest.fixture(scope="module")
def port(tmp_path_factory: pytest.TempPathFactory) -> Iterator[int]:
    folder = tmp_path_factory.mktemp("http")
    server = RunningServer(folder)
    gateway = RunningGateway(serve_command("thv_gateway.gateway:HttpGateway"), folder / "gateway")
    port = free_port()
    gateway.serve(server.route(port))
    try:
        gateway.start().until(RouteState.READY, "echo.1")
        yield port
    finally:
        gateway.cut_lifeline()
        gateway.kill()
        server.stop()


@pytest.fixture
def client(port: int) -> Iterator[McpClient]:
    client = McpClient(port)
    client.initialize()
    yield client
    client.close()


def raw(client: McpClient, head: str, body: bytes = b"") -> bytes:
    """Send bytes and return one whole answer."""
    with socket.create_connection(("127.0.0.1", client.port), timeout=20) as connection:
        connection.sendall(head.replace("\n", "\r\n").encode() + b"\r\n\r\n" + body)
        answer = b""
        while not _whole(answer):
            part = connection.recv(65536)
            assert part, answer
            answer += part
        return answer


def _whole(answer: bytes) -> bool:
    head, blank, body = answer.partition(b"\r\n\r\n")
    length = head.lower().partition(b"content-length: ")[2].split(b"\r\n")[0] or b"0"
    return bool(blank) and len(body) >= int(length)


def head(client: McpClient, *lines: str) -> str:
    standard = (f"Host: 127.0.0.1:{client.port}", f"Mcp-Session-Id: {client.session}", "Accept: */*")
    return "\n".join(("POST /mcp HTTP/1.1", *standard, *lines))


@pytest.mark.parametrize("version", ["2024-11-05", "2025-03-26", "2025-06-18", "2025-11-25"])
def test_a_client_gets_the_revision_that_it_asked_for(client: McpClient, version: str) -> None:
    assert client.initialize(version)["protocolVersion"] == version
    assert client.send("POST", PING, mcp_protocol_version=version)[0] == 200


@pytest.mark.parametrize("version", ["2026-07-28", "2099-01-01", ""])
def test_a_client_of_an_unknown_revision_is_offered_the_servers(client: McpClient, version: str) -> None:
    assert client.initialize(version)["protocolVersion"] == "2025-11-25"


def test_a_modern_request_without_its_envelope_is_refused(client: McpClient) -> None:
    client.session = ""
    status, _, body = client.send(
        "POST", {"jsonrpc": "2.0", "id": 1, "method": "server/discover"}, mcp_protocol_version="2026-07-28"
    )
    assert (status, json.loads(body)["error"]["code"]) == (400, -32602)


def test_a_session_id_is_visible_ascii_and_never_the_same(client: McpClient) -> None:
    first = client.session
    client.initialize()
    assert first != client.session
    assert all(0x21 <= ord(letter) <= 0x7E for letter in first)


def test_a_request_without_a_session_is_refused(client: McpClient) -> None:
    client.session = ""
    assert client.send("POST", PING)[0] == 400
    assert client.send("GET", None)[0] == 400
    assert client.send("DELETE", None)[0] == 400


def test_notifications_and_responses_are_accepted_without_a_body(client: McpClient) -> None:
    for body in (b'{"jsonrpc":"2.0","method":"notifications/x"}', b'{"jsonrpc":"2.0","id":"nobody","result":{}}'):
        status, _, answer = client.send("POST", body)
        assert (status, answer) == (202, b"")


@pytest.mark.parametrize(
    ("method", "headers", "status"),
    [
        ("PUT", {}, 405),
        ("OPTIONS", {}, 405),
        ("POST", {"accept": "application/json"}, 406),
        ("POST", {"accept": "*/*"}, 200),
        ("POST", {"accept": "text/event-stream;q=0.5, application/json"}, 200),
        ("GET", {"accept": "application/json"}, 406),
        ("POST", {"content_type": "text/plain"}, 415),
        ("POST", {"content_type": "application/json; charset=utf-8"}, 200),
        ("POST", {"host": "localhost"}, 200),
        ("POST", {"host": "[::1]"}, 200),
        ("POST", {"host": "127.0.0.1:1"}, 403),
        ("POST", {"host": "127.0.0.1.evil.example"}, 403),
        ("POST", {"origin": "null"}, 403),
        ("POST", {"origin": "http://localhost"}, 403),
    ],
)
def test_heads_are_judged(client: McpClient, method: str, headers: dict[str, str], status: int) -> None:
    assert client.send(method, PING if method == "POST" else None, **headers)[0] == status


def test_its_own_origin_is_allowed(client: McpClient) -> None:
    for name in ("localhost", "127.0.0.1", "[::1]"):
        assert client.send("POST", PING, origin=f"http://{name}:{client.port}")[0] == 200


def test_other_paths_are_not_found(client: McpClient) -> None:
    answer = raw(client, f"GET /.well-known/x HTTP/1.1\nHost: 127.0.0.1:{client.port}")
    assert answer.startswith(b"HTTP/1.1 404")
    assert answer.endswith(b'{"error":"not_found"}')


def test_health_and_metrics_say_what_they_are(client: McpClient) -> None:
    answer = raw(client, f"GET /health HTTP/1.1\nHost: 127.0.0.1:{client.port}")
    health = json.loads(answer.partition(b"\r\n\r\n")[2])
    assert (health["status"], health["transport"], health["mcp"]["available"]) == ("healthy", "stdio", True)
    assert health["timestamp"].endswith("Z")
    answer = raw(client, f"GET /metrics HTTP/1.1\nHost: 127.0.0.1:{client.port}")
    assert answer.startswith(b"HTTP/1.1 404")
    assert b"No metrics" in answer


def test_a_body_that_announces_too_much_is_refused_before_it_is_sent(client: McpClient) -> None:
    answer = raw(client, head(client, f"Content-Length: {8 * 1024 * 1024 + 1}"))
    assert answer.startswith(b"HTTP/1.1 413")


def test_a_chunked_body_counts_while_it_comes(client: McpClient) -> None:
    chunk = b"100000\r\n" + b" " * 0x100000 + b"\r\n"
    with socket.create_connection(("127.0.0.1", client.port), timeout=20) as connection:
        lines = head(client, "Transfer-Encoding: chunked").replace("\n", "\r\n")
        connection.sendall(lines.encode() + b"\r\n\r\n")
        try:
            for _ in range(9):
                connection.sendall(chunk)
            answer = connection.recv(65536)
        except ConnectionError:
            # The gateway closed while we were still writing; it must not have taken the body.
            answer = b"HTTP/1.1 413"
    assert answer.startswith(b"HTTP/1.1 413")


def test_a_chunked_call_is_answered(client: McpClient) -> None:
    body = b"%x\r\n%b\r\n0\r\n\r\n" % (len(PING), PING)
    assert b'"result":{}' in raw(client, head(client, "Transfer-Encoding: chunked"), body)


def test_a_body_of_almost_eight_mebibytes_passes(client: McpClient) -> None:
    text = "x" * (8 * 1024 * 1024 - 200)
    assert client.tool("echo", text=text)["content"][0]["text"] == text


def test_a_header_given_twice_is_refused(client: McpClient) -> None:
    again = f"Mcp-Session-Id: {client.session}"
    answer = raw(client, head(client, again, f"Content-Length: {len(PING)}"), PING)
    assert answer.startswith(b"HTTP/1.1 400")


def test_an_endless_head_is_cut_off(client: McpClient) -> None:
    with socket.create_connection(("127.0.0.1", client.port), timeout=20) as connection:
        try:
            connection.sendall(b"GET /mcp HTTP/1.1\r\nX: ")
            for _ in range(64):
                connection.sendall(b"x" * 65536)
            answer = connection.recv(100)
        except ConnectionError:
            answer = b"HTTP/1.1 431"
    assert answer.startswith(b"HTTP/1.1 431")


def test_what_is_not_http_is_refused(client: McpClient) -> None:
    assert raw(client, "HELLO").startswith(b"HTTP/1.1 400")


@pytest.mark.parametrize("body", [b'{"id":1,"method":"ping"}', b'{"jsonrpc":"2.0","id":1,"method":"ping","params":[]}'])
def test_a_malformed_request_is_refused_under_its_id(client: McpClient, body: bytes) -> None:
    status, _, answer = client.send("POST", body)
    assert (status, json.loads(answer)["id"], json.loads(answer)["error"]["code"]) == (400, 1, -32600)


@pytest.mark.parametrize(
    ("body", "code"),
    [
        (b"", -32700),
        (b"{", -32700),
        (b'{"jsonrpc":"2.0","id":1,"method":"a\nb"}', -32700),
        (b" [1]", -32600),
        (b"5", -32600),
        (b'{"jsonrpc":"2.0","id":null,"method":"ping"}', -32600),
        (b'{"jsonrpc":"2.0","id":1,"result":1,"error":{}}', -32600),
    ],
)
def test_bodies_that_are_no_message_are_refused_without_an_id(client: McpClient, body: bytes, code: int) -> None:
    status, _, answer = client.send("POST", body)
    assert (status, json.loads(answer)["error"]["code"]) == (400, code)
    assert "id" not in json.loads(answer)


def test_pipelined_requests_are_answered_in_order(client: McpClient) -> None:
    one = head(client, f"Content-Length: {len(PING)}").replace("\n", "\r\n").encode() + b"\r\n\r\n"
    two = PING.replace(b'"id":1', b'"id":2')
    received = b""
    with socket.create_connection(("127.0.0.1", client.port), timeout=20) as connection:
        connection.sendall(one + PING + one + two)
        while received.count(b'"result"') < 2:
            received += connection.recv(65536)
    assert received.index(b'"id":1') < received.index(b'"id":2')
