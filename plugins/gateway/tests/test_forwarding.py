"""What is added to requests to a server, where redirections lead, and what becomes of sessions that a server loses."""

from __future__ import annotations

import contextlib
import http.server
import json
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from thv_core.errors import InvalidRequest
from thv_core.model.document import encode_document
from thv_core.model.route import ForwardHeader, GatewayCommand, Order, Route, RouteReport, RouteState, Terms
from thv_gateway.client.http_client import MOST_REDIRECTIONS, Place
from thv_gateway.client.remote import place_of
from thv_gateway.process.values import Values
from thv_gateway.relays.heads import added
from thv_testkit.gateways import McpClient, RunningGateway, free_port

PING = {"jsonrpc": "2.0", "id": 1, "method": "ping"}


class Handler(http.server.BaseHTTPRequestHandler):
    """A server with sessions that it can lose, and paths that lead elsewhere."""

    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True
    seen: list[tuple[str, str, dict[str, str], bytes]]
    sessions: list[str]
    says_400: bool
    elsewhere: str

    def log_message(self, *_: Any) -> None:
        """Say nothing."""

    def do_GET(self) -> None:
        self.handled()

    def do_DELETE(self) -> None:
        self.handled()

    def do_POST(self) -> None:
        self.handled()

    def handled(self) -> None:
        body = self.rfile.read(int(self.headers.get("content-length", 0)))
        fields = {name.lower(): value for name, value in self.headers.items()}
        self.seen.append((self.command, self.path, fields, body))
        kind, _, rest = self.path.removeprefix("/").partition("/")
        if kind.isdigit():
            self.answer(int(kind), None, location=rest if rest.startswith("http") else f"/{rest}")
        elif kind == "round":
            self.answer(307, None, location="/round")
        elif kind == "foreign":
            self.answer(308, None, location=self.elsewhere)
        elif self.command != "POST":
            self.answer(405 if self.command == "GET" else 200, None)
        else:
            self.told(json.loads(body))

    def told(self, message: dict[str, Any]) -> None:
        session = self.headers.get("mcp-session-id")
        if message["method"] == "initialize":
            self.sessions.append(f"s{len(self.sessions)}")
            result = {"protocolVersion": "2025-11-25", "capabilities": {}, "serverInfo": {"name": "x", "version": "1"}}
            self.answer(200, reply(message, result), mcp_session_id=self.sessions[-1])
        elif session not in self.sessions or session is None:
            self.answer(400 if self.says_400 else 404, fault(message, "Bad Request: No valid session ID"))
        elif "id" not in message:
            self.answer(202, None)
        elif message["method"] == "fail":
            self.answer(400, fault(message, "Nothing doing"))
        else:
            self.answer(200, reply(message, {"session": session}))

    def answer(self, status: int, message: object, **headers: str) -> None:
        body = json.dumps(message).encode() if message else b""
        self.send_response_only(status)
        for name, value in headers.items():
            self.send_header(name.replace("_", "-"), value)
        if body:
            self.send_header("content-type", "application/json")
        self.send_header("content-length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)


def reply(message: dict[str, Any], result: object) -> dict[str, Any]:
    return {"jsonrpc": "2.0", "id": message["id"], "result": result}


def fault(message: dict[str, Any], text: str) -> dict[str, Any]:
    return {"jsonrpc": "2.0", "id": message.get("id"), "error": {"code": -32000, "message": text}}


@contextlib.contextmanager
def serving() -> Iterator[Any]:
    state = {"seen": [], "sessions": [], "says_400": False, "elsewhere": "http://other.example/mcp"}
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), type("Own", (Handler,), state)) as server:
        server.daemon_threads = True
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        yield server
        server.shutdown()
        thread.join(20)


@pytest.fixture
def server() -> Iterator[Any]:
    with serving() as server:
        yield server


@pytest.fixture
def proxied(gateway: RunningGateway, server: Any, tmp_path: Path) -> Iterator[Any]:
    """Serve a path of the server and return the report with a client."""
    clients: list[McpClient] = []

    def serve(
        path: str = "/mcp", state: RouteState = RouteState.READY, **changes: Any
    ) -> tuple[RouteReport, McpClient]:
        settings: dict[str, Any] = {
            "workload": "far",
            "incarnation": "far.1",
            "port": free_port(),
            "log": str(tmp_path / "log"),
            "transport": "streamable-http",
            "target_url": f"http://127.0.0.1:{server.server_port}{path}",
            "start_timeout": 5.0,
        }
        route = Route(**settings | changes)
        gateway.start().serve(route)
        clients.append(McpClient(route.port))
        return gateway.until(state, "far.1"), clients[-1]

    yield serve
    for client in clients:
        client.close()


def tell(gateway: RunningGateway, **values: str) -> None:
    with gateway.connected() as channel:
        channel.sendall(encode_document(GatewayCommand(order=Order.VALUES, values=values)) + b"\n")
        channel.shutdown(1)
        while channel.recv(65536):
            pass


def fields_seen(server: Any) -> list[dict[str, str]]:
    return [fields for _, _, fields, _ in server.RequestHandlerClass.seen]


def test_a_header_is_added_to_every_request(proxied: Any, server: Any) -> None:
    _, client = proxied("/mcp?key=1", forward_headers=(ForwardHeader(name="X-Team", value="search"),))
    client.initialize()
    client.send("POST", PING, x_team="mine")
    assert [fields["x-team"] for fields in fields_seen(server)] == ["search"] * len(fields_seen(server))
    assert {path for _, path, _, _ in server.RequestHandlerClass.seen} == {"/mcp?key=1"}


def test_a_route_waits_for_the_value_of_a_secret_and_follows_it(
    gateway: RunningGateway, proxied: Any, server: Any
) -> None:
    header = ForwardHeader(name="Authorization", secret="token")
    report, client = proxied(state=RouteState.STARTING, forward_headers=(header,), forward_authorization=True)
    assert gateway.until_reported("far.1", lambda each: bool(each.reason)).reason == (
        "far waits for the value of the secret token"
    )
    assert not fields_seen(server)
    tell(gateway, token="Bearer one")
    report = gateway.until(RouteState.READY, "far.1")
    assert report.reason == ""
    client.initialize()
    tell(gateway, token="Bearer two", other="x")
    client.send("POST", PING, authorization="Bearer of-the-client")
    assert fields_seen(server)[0]["authorization"] == "Bearer one"
    assert fields_seen(server)[-1]["authorization"] == "Bearer two"
    tell(gateway, other="x")
    status, headers, body = client.send("POST", PING)
    assert (status, headers["retry-after"]) == (503, "1")
    assert b"waits for the value of the secret token" in body
    assert "one" not in (gateway.folder.parent / "log").read_text()


@pytest.mark.parametrize(
    "name",
    ["Host", "connection", "Proxy-Authorization", "X-Forwarded-For", "Mcp-Session-Id", "a b", "", "Content-Length"],
)
def test_what_belongs_to_the_connection_is_never_added(name: str) -> None:
    with pytest.raises(InvalidRequest):
        added([ForwardHeader(name=name, value="x")], {})


@pytest.mark.parametrize("value", ["a\r\nb: c", "a\nb", "a\x00", "a\x7f"])
def test_a_value_of_more_than_one_line_is_refused_and_not_repeated(value: str) -> None:
    with pytest.raises(InvalidRequest) as refused:
        added([ForwardHeader(name="x", secret="s")], {"s": value})
    assert value not in str(refused.value)


def test_a_header_that_cannot_be_added_is_a_reason(gateway: RunningGateway, proxied: Any) -> None:
    proxied(state=RouteState.STARTING, forward_headers=(ForwardHeader(name="Host", value="x"),))
    report = gateway.until_reported("far.1", lambda each: bool(each.reason))
    assert report.reason == "far is not asked: the header 'Host' cannot be added"


def test_values_are_told_to_who_watches_and_shown_to_nobody() -> None:
    values, told = Values(), list[int]()
    forget = values.watch(lambda: told.append(1))
    values.replace({"a": "secret"})
    values.replace({"a": "secret"})
    assert (told, values.of(["a", "b"]), "secret" in repr(values)) == ([1], {"a": "secret"}, False)
    forget()
    values.replace({})
    assert told == [1]


@pytest.mark.parametrize("status", [301, 302, 307, 308])
def test_a_redirection_to_the_same_origin_is_followed_with_method_and_body(
    status: int, proxied: Any, server: Any
) -> None:
    _, client = proxied(f"/{status}/there?key=1")
    client.initialize()
    assert json.loads(client.send("POST", PING)[2])["result"]["session"]
    command, path, _, body = server.RequestHandlerClass.seen[-1]
    assert (command, path, json.loads(body)) == ("POST", "/there?key=1", PING)
    redirected = [path for _, path, _, _ in server.RequestHandlerClass.seen if path.startswith(f"/{status}")]
    assert (len(redirected) == 1) == (status in (301, 308))


@pytest.mark.parametrize("status", [303, 300])
def test_a_redirection_that_changes_the_method_is_not_followed(status: int, proxied: Any) -> None:
    report, _ = proxied(f"/{status}/there", RouteState.FAILED)
    assert f"it answered HTTP {status}" in report.reason


def test_nobody_is_followed_to_another_origin(proxied: Any) -> None:
    report, _ = proxied("/foreign", RouteState.FAILED)
    assert report.reason == (
        "far refused initialize: it sends everyone to http://other.example, where nobody is followed to"
    )


def test_a_round_of_redirections_ends(proxied: Any, server: Any) -> None:
    report, _ = proxied("/round", RouteState.FAILED)
    assert "where nobody is followed to" in report.reason
    assert len(server.RequestHandlerClass.seen) == 2 * (MOST_REDIRECTIONS + 1)


@pytest.mark.parametrize(
    ("location", "path"),
    [
        (b"/b", b"/b"),
        (b"b?x=1#y", b"/a/b?x=1"),
        (b"https://a.example/b", b"/b"),
        (b"https://A.example:443", b"/"),
        (b"?z=2", b"/a/mcp?z=2"),
        (b"http://a.example/b", None),
        (b"https://a.example:8443/b", None),
        (b"https://b.example/b", None),
        (b"//b.example/b", None),
        (b"https://a.example.b.example/", None),
        (b"https://user@a.example/b", b"/b"),
        (b"javascript:1", None),
        (b"", None),
        (b"/a b", None),
        ("/ä".encode(), None),
        (b"https://a.example:x/", None),
    ],
)
def test_where_a_redirection_leads(location: bytes, path: bytes | None) -> None:
    further = place_of("https://a.example/a/mcp").leading_to(location)
    assert (further.path if further is not None else None) == path


def test_a_server_inside_may_send_to_another_path_of_its_own_port() -> None:
    place = Place.inside(8080)
    further = place.leading_to(b"http://127.0.0.1:8080/mcp/")
    assert further is not None
    assert (further.path, further.host) == (b"/mcp/", place.host)
    assert place.leading_to(b"http://127.0.0.1:8081/mcp/") is None


@pytest.mark.parametrize("says_400", [True, False])
def test_a_session_that_the_server_lost_is_opened_anew_for_its_client(
    says_400: bool, proxied: Any, server: Any
) -> None:
    handler = server.RequestHandlerClass
    _, client = proxied()
    client.initialize(sampling={})
    known = client.session
    handler.says_400 = says_400
    handler.sessions[:] = ["another"]
    status, headers, body = client.send("POST", PING)
    assert (status, json.loads(body)["result"]["session"]) == (200, "s1")
    assert headers.get("mcp-session-id", known) == known
    bodies = [json.loads(body) for _, _, _, body in handler.seen if body]
    introductions = [each["params"] for each in bodies if each["method"] == "initialize"]
    assert (introductions[-1]["capabilities"], introductions[-1]["clientInfo"]["name"]) == ({"sampling": {}}, "testkit")
    assert [each["method"] for each in bodies][-4:] == ["ping", "initialize", "notifications/initialized", "ping"]
    assert client.send("POST", PING)[0] == 200
    assert handler.sessions == ["another", "s1"]


def test_a_refusal_that_says_nothing_of_a_session_opens_none(proxied: Any, server: Any) -> None:
    _, client = proxied()
    client.initialize()
    before = len(server.RequestHandlerClass.sessions)
    status, _, body = client.send("POST", PING | {"method": "fail"})
    assert (status, json.loads(body)["error"]["message"]) == (400, "Nothing doing")
    assert len(server.RequestHandlerClass.sessions) == before


def test_a_session_that_nobody_can_open_again_is_not_found(proxied: Any, server: Any) -> None:
    _, client = proxied()
    client.initialize()
    client.session = "of-nobody"
    status, _, body = client.send("POST", PING)
    assert (status, "error" in json.loads(body)) == (404, True)


def test_without_sessions_only_posts_pass(proxied: Any, server: Any) -> None:
    handler = server.RequestHandlerClass
    _, client = proxied(terms=Terms(stateless=True))
    for method in ("GET", "DELETE"):
        status, headers, _ = client.send(method, None)
        assert (status, headers["allow"].split(", ")[0]) == (405, "POST")
    hello = {"jsonrpc": "2.0", "id": 1, "method": "initialize", "params": {"protocolVersion": "2025-11-25"}}
    status, headers, _ = client.send("POST", hello)
    assert (status, "mcp-session-id" in headers) == (200, False)
    client.send("POST", PING, mcp_session_id="s0")
    command, _, fields, _ = handler.seen[-1]
    assert (command, "mcp-session-id" in fields) == ("POST", False)


def test_a_server_without_sessions_says_itself_that_it_has_no_stream(proxied: Any) -> None:
    _, client = proxied()
    client.initialize()
    assert client.send("GET", None)[0] == 405
