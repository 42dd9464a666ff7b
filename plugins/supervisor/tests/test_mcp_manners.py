"""The small MCP client over the older transport, in the modern era, and finding out which of them a server speaks."""

from __future__ import annotations

import contextlib
import http.server
import json
import queue
import threading
import time
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from thv_core.errors import InvalidRequest, ThvError, Unavailable
from thv_core.model.run_config import RunConfig
from thv_core.model.serving import HeaderForward
from thv_supervisor import probing
from thv_supervisor.mcp_client import Manner, McpClient
from thv_supervisor.probing import spoken

WITHIN = 20.0
TOOLS = [
    {
        "name": "t",
        "inputSchema": {"type": "object", "properties": {"region": {"type": "string", "x-mcp-header": "Region"}}},
    }
]
DISCOVERED = {"resultType": "complete", "supportedVersions": ["2026-07-28"], "capabilities": {}, "ttlMs": 0}
INITIALIZED = {"protocolVersion": "2024-11-05", "capabilities": {}, "serverInfo": {"name": "x", "version": "1"}}


class Handler(http.server.BaseHTTPRequestHandler):
    """Notes what it is asked; knows no transport at all."""

    protocol_version = "HTTP/1.1"
    seen: list[tuple[str, dict[str, str], dict[str, Any]]]

    def message(self) -> dict[str, Any]:
        length = int(self.headers.get("content-length", "0"))
        found: dict[str, Any] = json.loads(self.rfile.read(length)) if length else {}
        head = {name.lower(): value for name, value in self.headers.items()}
        self.seen.append((f"{self.command} {self.path}", head, found))
        return found

    def do_POST(self) -> None:
        self.message()
        self.answer(405)

    def do_GET(self) -> None:
        self.message()
        self.answer(404)

    def do_DELETE(self) -> None:
        self.message()
        self.answer(200)

    def answer(self, status: int, body: object = None, **headers: str) -> None:
        data = b"" if body is None else json.dumps(body).encode()
        self.send_response(status)
        for name, value in headers.items():
            self.send_header(name.replace("_", "-"), value)
        self.send_header("content-type", "application/json")
        self.send_header("content-length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)

    def result(self, message: dict[str, Any], result: object, **headers: str) -> None:
        self.answer(200, {"jsonrpc": "2.0", "id": message["id"], "result": result}, **headers)

    def error(self, message: dict[str, Any], status: int, code: int) -> None:
        error = {"code": code, "message": "no"}
        self.answer(status, {"jsonrpc": "2.0", "id": message.get("id"), "error": error})

    def log_message(self, *_: object) -> None:
        """Say nothing."""


class Older(Handler):
    """A server of 2024-11-05: a stream at /sse, and requests at the endpoint that it names."""

    endpoint = "/messages?session_id=1"
    streams: queue.Queue[Any]

    def do_GET(self) -> None:
        self.message()
        self.send_response(200)
        self.send_header("content-type", "text/event-stream")
        self.send_header("connection", "close")
        self.end_headers()
        self.wfile.write(f": hello\n\nevent: endpoint\ndata: {self.endpoint}\n\n".encode())
        self.wfile.flush()
        self.close_connection = True
        try:
            while (message := self.streams.get(timeout=WITHIN)) is not None:
                self.wfile.write(f"event: message\ndata: {json.dumps(message)}\n\n".encode())
                self.wfile.flush()
        except (OSError, queue.Empty):
            return

    def do_POST(self) -> None:
        message = self.message()
        if self.path != self.endpoint:
            self.answer(405, {"jsonrpc": "2.0", "id": None, "error": {"code": -32600, "message": "not here"}})
            return
        self.answer(202)
        method = message["method"]
        if "id" in message:
            result = INITIALIZED if method == "initialize" else {"tools": TOOLS}
            self.streams.put({"jsonrpc": "2.0", "method": "notifications/message", "params": {}})
            self.streams.put({"jsonrpc": "2.0", "id": message["id"], "result": result})


class Modern(Handler):
    """A server of 2026-07-28 that knows nothing older."""

    def do_POST(self) -> None:
        message = self.message()
        method = message["method"]
        if "_meta" not in message["params"] or self.headers["mcp-method"] != method:
            self.error(message, 400, -32022)
        elif method == "server/discover":
            self.result(message, DISCOVERED)
        elif method == "tools/list":
            self.result(message, {"resultType": "complete", "tools": TOOLS})
        elif method == "tools/call":
            self.result(message, {"resultType": "complete", "content": [], "region": self.headers["mcp-param-region"]})
        else:
            self.error(message, 404, -32601)


class Sessions(Handler):
    """A server of streamable HTTP that knows no discovery."""

    def do_POST(self) -> None:
        message = self.message()
        if message["method"] == "initialize":
            self.result(message, INITIALIZED, mcp_session_id="s1")
        else:
            self.error(message, 200, -32601)


Serve = Callable[[type[Handler]], tuple[str, list[tuple[str, dict[str, str], dict[str, Any]]]]]


@pytest.fixture
def serve() -> Iterator[Serve]:
    """Serve a handler; returns the URL and the list of what was asked."""
    servers: list[tuple[http.server.ThreadingHTTPServer, threading.Thread, queue.Queue[Any]]] = []

    def started(kind: type[Handler]) -> tuple[str, list[tuple[str, dict[str, str], dict[str, Any]]]]:
        seen: list[tuple[str, dict[str, str], dict[str, Any]]] = []
        streams: queue.Queue[Any] = queue.Queue()
        server = http.server.ThreadingHTTPServer(
            ("127.0.0.1", 0), type("Served", (kind,), {"seen": seen, "streams": streams})
        )
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        servers.append((server, thread, streams))
        return f"http://127.0.0.1:{server.server_port}/mcp?key=1", seen

    yield started
    for server, thread, streams in servers:
        for _ in range(8):
            streams.put(None)
        server.shutdown()
        thread.join(WITHIN)
        server.server_close()


def asked(seen: list[tuple[str, dict[str, str], dict[str, Any]]]) -> list[str]:
    return [f"{line.partition(' ')[0]} {message.get('method', '')}".strip() for line, _, message in seen]


@pytest.mark.parametrize("manner", [Manner("sse"), Manner("auto"), Manner("auto", "legacy")])
def test_an_older_server_is_asked_at_the_endpoint_that_its_stream_names(serve: Serve, manner: Manner) -> None:
    url, seen = serve(Older)
    with McpClient(url, WITHIN, manner=manner) as client:
        assert client.pages("tools/list", "tools") == TOOLS
    posted = [message["method"] for line, _, message in seen if line == "POST /messages?session_id=1"]
    assert posted == ["initialize", "notifications/initialized", "tools/list"]


def test_an_older_server_is_not_asked_the_older_way_when_that_is_excluded(serve: Serve) -> None:
    url, seen = serve(Older)
    with pytest.raises(Unavailable, match="405"), McpClient(url, WITHIN, manner=Manner("streamable-http")):
        pytest.fail("it was opened")
    assert "GET" not in asked(seen)


def test_an_endpoint_at_another_host_is_not_believed(serve: Serve) -> None:
    class Elsewhere(Older):
        endpoint = "http://192.0.2.1/messages"

    url, _ = serve(Elsewhere)
    with pytest.raises(InvalidRequest, match="names an endpoint of somebody else"):
        McpClient(url, WITHIN, manner=Manner("sse")).__enter__()


def test_what_is_no_stream_of_the_older_transport_is_said(serve: Serve) -> None:
    url, _ = serve(Handler)
    with pytest.raises(Unavailable, match="answered 404"):
        McpClient(url, WITHIN, manner=Manner("sse")).__enter__()
    with pytest.raises(Unavailable, match="answered 405"):
        McpClient(url, WITHIN).__enter__()


@pytest.mark.parametrize("era", ["auto", "modern"])
def test_a_modern_server_is_asked_without_a_session_and_its_head_repeats_the_body(serve: Serve, era: str) -> None:
    url, seen = serve(Modern)
    with McpClient(url, WITHIN, manner=Manner(era=era)) as client:
        assert client.pages("tools/list", "tools") == TOOLS
        result = client.request("tools/call", {"name": "t", "arguments": {"region": "eu"}})
        assert result["region"] == "eu"
        with pytest.raises(ThvError, match="refused prompts/list"):
            client.request("prompts/list", {})
        assert client.offered("prompts/list", "prompts") == []
    _, head, message = next(each for each in seen if each[2].get("method") == "tools/call")
    assert (head["mcp-protocol-version"], head["mcp-name"]) == ("2026-07-28", "t")
    assert message["params"]["_meta"]["io.modelcontextprotocol/protocolVersion"] == "2026-07-28"
    assert not [line for line, head, _ in seen if "mcp-session-id" in head or line.startswith("DELETE")]


def test_a_server_that_must_speak_the_older_era_is_not_discovered(serve: Serve) -> None:
    url, seen = serve(Modern)
    with pytest.raises(Unavailable, match="400"):
        McpClient(url, WITHIN, manner=Manner(era="legacy")).__enter__()
    assert asked(seen) == ["POST initialize"]


def test_an_answer_that_needs_a_person_is_said(serve: Serve) -> None:
    class Asking(Modern):
        def result(self, message: dict[str, Any], result: object, **headers: str) -> None:
            wanting = {"resultType": "input_required", "inputRequests": {}}
            super().result(message, wanting if message["method"] == "tools/call" else result, **headers)

    url, _ = serve(Asking)
    with McpClient(url, WITHIN) as client, pytest.raises(Unavailable, match="needs answers of a person"):
        client.request("tools/call", {"name": "t", "arguments": {}})


def test_a_stream_that_goes_on_behind_an_answer_keeps_the_next_request_not_waiting(serve: Serve) -> None:
    class Dwelling(Modern):
        def result(self, message: dict[str, Any], result: object, **headers: str) -> None:
            self.send_response(200)
            self.send_header("content-type", "text/event-stream")
            self.end_headers()
            answer = {"jsonrpc": "2.0", "id": message["id"], "result": result}
            with contextlib.suppress(OSError):
                self.wfile.write(f"data: {json.dumps(answer)}\n\n".encode())
                while True:
                    self.wfile.write(b": still here\n\n")
                    time.sleep(0.01)

    url, _ = serve(Dwelling)
    began = time.monotonic()
    with McpClient(url, WITHIN, manner=Manner(era="modern")) as client:
        client.request("tools/list", {})
    assert time.monotonic() - began < WITHIN / 2


# What a proxy finds out ----------------------------------------------------------------------------------------------


def far(url: str, **headers: dict[str, str]) -> RunConfig:
    return RunConfig(name="far", remote_url=url, header_forward=HeaderForward(**headers))


@pytest.mark.parametrize(
    ("kind", "transport", "requests"),
    [
        (Modern, "streamable-http", ["POST server/discover"]),
        (Sessions, "streamable-http", ["POST server/discover", "POST initialize", "DELETE"]),
        (Older, "sse", ["POST server/discover", "POST initialize", "GET"]),
        (Handler, "streamable-http", ["POST server/discover", "POST initialize", "GET"]),
    ],
)
def test_how_a_server_speaks_is_found_out(
    serve: Serve, kind: type[Handler], transport: str, requests: list[str]
) -> None:
    url, seen = serve(kind)
    if kind is Sessions:
        # It answers what it does not know with an error, in a way of its own.
        kind = type("Refusing", (Sessions,), {"error": lambda self, message, status, code: self.answer(400)})
        url, seen = serve(kind)
    assert spoken(far(url), {}) == transport
    assert sorted(asked(seen)) == sorted(requests)
    assert {line.partition(" ")[2] for line, _, _ in seen} == {"/mcp?key=1"}


def test_each_question_carries_the_headers(serve: Serve) -> None:
    url, seen = serve(Older)
    config = far(url, add_plaintext_headers={"X-Team": "search"}, add_headers_from_secret={"Authorization": "token"})
    assert spoken(config, {"token": "Bearer v4lue"}) == "sse"
    assert {(head["x-team"], head["authorization"]) for _, head, _ in seen} == {("search", "Bearer v4lue")}


def test_a_server_that_is_away_is_left_to_the_gateway() -> None:
    assert spoken(far("http://127.0.0.1:1/mcp"), {}) == "streamable-http"


def test_a_server_that_never_says_anything_is_not_waited_for_without_end(
    serve: Serve, monkeypatch: pytest.MonkeyPatch
) -> None:
    listened = threading.Event()

    class Endless(Handler):
        def do_GET(self) -> None:
            listened.set()
            self.send_response(200)
            self.send_header("content-type", "text/event-stream")
            self.end_headers()
            with contextlib.suppress(OSError):
                while True:
                    self.wfile.write(b": still here\n\n")
                    time.sleep(0.01)

    monkeypatch.setattr(probing, "PROBE_SECONDS", 0.3)
    url, _ = serve(Endless)
    began = time.monotonic()
    assert spoken(far(url), {}) == "streamable-http"
    assert listened.is_set()
    assert time.monotonic() - began < WITHIN / 2
    assert not [each for each in threading.enumerate() if isinstance(each, threading.Timer)]
