"""The bridge between pipes and a gateway for a client of the modern era, which opens no session."""

from __future__ import annotations

import http.server
import json
import os
import queue
import threading
from collections.abc import Iterator
from typing import Any

import pytest

from thv_supervisor.bridge_session import BridgeSession
from thv_supervisor.places import Place
from thv_supervisor.stdio_bridge import Bridge

WITHIN = 20.0
META = {"io.modelcontextprotocol/protocolVersion": "2026-07-28", "io.modelcontextprotocol/clientCapabilities": {}}
SCHEMA = {"type": "object", "properties": {"region": {"type": "string", "x-mcp-header": "Region"}}}

Json = dict[str, Any]


class Gateway(http.server.BaseHTTPRequestHandler):
    """A gateway of the modern era with one tool; ``seen`` are requests, ``gone`` the calls that were hung up."""

    protocol_version = "HTTP/1.1"
    seen: list[tuple[dict[str, str], Json]]
    gone: queue.Queue[object]
    script: list[str]

    def do_POST(self) -> None:
        message = json.loads(self.rfile.read(int(self.headers["content-length"])))
        self.seen.append(({name.lower(): value for name, value in self.headers.items()}, message))
        method = message["method"]
        if "id" not in message:
            self.reply(202, None)
        elif method == "tools/list":
            self.result(message, {"tools": [{"name": "t", "inputSchema": SCHEMA}]})
        elif method in ("tools/call", "subscriptions/listen") and message["params"].get("name") != "t":
            self.linger(message)
        elif method == "tools/call" and self.headers.get("mcp-param-region") != "eu":
            error = {"code": -32020, "message": "mismatch", "data": {"x": 1}}
            self.reply(400, {"jsonrpc": "2.0", "id": message["id"], "error": error})
        else:
            self.result(message, {"resultType": "complete"})

    def linger(self, message: Json) -> None:
        """Say that it begins, and wait for the end of the connection; or end it as the script says."""
        self.send_response_only(200)
        self.send_header("content-type", "text/event-stream")
        self.send_header("connection", "close")
        self.end_headers()
        self.close_connection = True
        begun = {"jsonrpc": "2.0", "method": "notifications/begun", "params": {"of": message["id"]}}
        self.wfile.write(f"data: {json.dumps(begun)}\n\n".encode())
        self.wfile.flush()
        if self.script and self.script.pop() == "break":
            return
        assert self.rfile.read(1) == b""
        self.gone.put(message["id"])

    def result(self, message: Json, result: Json) -> None:
        self.reply(200, {"jsonrpc": "2.0", "id": message["id"], "result": result})

    def reply(self, status: int, message: object) -> None:
        body = b"" if message is None else json.dumps(message).encode()
        self.send_response_only(status)
        self.send_header("content-type", "application/json")
        self.send_header("content-length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: object) -> None:
        """Say nothing."""


class Client:
    """A client of the modern era at the pipes of a bridge."""

    def __init__(self, url: str) -> None:
        theirs, ours = os.pipe()
        out, sink = os.pipe()
        self.stdin = os.fdopen(ours, "wb", buffering=0)
        self._source, self._sink, self._out = os.fdopen(theirs, "rb"), os.fdopen(sink, "wb"), os.fdopen(out, "rb")
        self.lines: queue.Queue[bytes] = queue.Queue()
        self.complaints: list[str] = []
        self._bridge = Bridge(BridgeSession(lambda: Place(url)), self.complaints.append, lambda code: None)
        self._threads = [threading.Thread(target=self._run), threading.Thread(target=self._read)]
        for thread in self._threads:
            thread.start()

    def _run(self) -> None:
        with self._sink, self._source:
            self._bridge.run(self._source, self._sink)

    def _read(self) -> None:
        with self._out:
            for line in self._out:
                self.lines.put(line)
        self.lines.put(b"")

    def ask(self, number: object, method: str, **params: object) -> None:
        self.send({"jsonrpc": "2.0", "id": number, "method": method, "params": {**params, "_meta": META}})

    def send(self, message: Json) -> None:
        self.stdin.write(json.dumps(message).encode() + b"\n")

    def hear(self) -> Json:
        found: Json = json.loads(self.lines.get(timeout=WITHIN))
        return found

    def end(self) -> None:
        if not self.stdin.closed:
            self.stdin.close()
        for thread in self._threads:
            thread.join(WITHIN)
            assert not thread.is_alive()


@pytest.fixture
def gateway() -> Iterator[type[Gateway]]:
    handler = type("Served", (Gateway,), {"seen": [], "gone": queue.Queue(), "script": []})
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        server.daemon_threads = True
        handler.url = f"http://127.0.0.1:{server.server_port}/mcp"
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        yield handler
        server.shutdown()
        thread.join(WITHIN)


@pytest.fixture
def client(gateway: Any) -> Iterator[Client]:
    client = Client(gateway.url)
    yield client
    client.end()
    assert client.complaints == []


def heads(gateway: Any, method: str) -> list[dict[str, str]]:
    return [head for head, message in gateway.seen if message["method"] == method]


def test_a_request_says_in_its_head_what_it_is_and_belongs_to_no_session(client: Client, gateway: Any) -> None:
    client.ask(1, "server/discover")
    assert client.hear()["result"] == {"resultType": "complete"}
    client.ask("two", "prompts/get", name="p")
    assert client.hear()["id"] == "two"
    (discover,), (prompt,) = heads(gateway, "server/discover"), heads(gateway, "prompts/get")
    assert (discover["mcp-protocol-version"], discover["mcp-method"]) == ("2026-07-28", "server/discover")
    assert (prompt["mcp-method"], prompt["mcp-name"]) == ("prompts/get", "p")
    assert not [head for head, _ in gateway.seen if "mcp-session-id" in head]


def test_the_arguments_of_a_tool_that_was_listed_are_repeated(client: Client, gateway: Any) -> None:
    client.ask(1, "tools/list")
    client.hear()
    client.ask(2, "tools/call", name="t", arguments={"region": "eu"})
    assert client.hear() == {"jsonrpc": "2.0", "id": 2, "result": {"resultType": "complete"}}
    assert len(heads(gateway, "tools/call")) == 1


def test_a_tool_that_was_not_listed_is_looked_up_when_its_call_is_refused(client: Client, gateway: Any) -> None:
    client.ask(1, "tools/call", name="t", arguments={"region": "eu"})
    assert client.hear() == {"jsonrpc": "2.0", "id": 1, "result": {"resultType": "complete"}}
    assert [message["method"] for _, message in gateway.seen] == ["tools/call", "tools/list", "tools/call"]


def test_a_refusal_is_handed_on_whole(client: Client, gateway: Any) -> None:
    client.ask(1, "tools/call", name="t", arguments={"region": "us"})
    assert client.hear()["error"] == {"code": -32020, "message": "mismatch", "data": {"x": 1}}
    assert len(heads(gateway, "tools/call")) == 2


def test_a_cancelled_call_is_hung_up_and_not_answered(client: Client, gateway: Any) -> None:
    client.ask(7, "tools/call", name="slow")
    assert client.hear()["params"] == {"of": 7}
    params = {"requestId": 7, "_meta": META}
    client.send({"jsonrpc": "2.0", "method": "notifications/cancelled", "params": params})
    assert gateway.gone.get(timeout=WITHIN) == 7
    client.ask(8, "ping")
    assert client.hear()["id"] == 8
    client.end()
    assert client.lines.get(timeout=WITHIN) == b""
    assert heads(gateway, "notifications/cancelled") == []


def test_what_is_listened_to_ends_with_the_input_and_is_no_call_to_wait_for(client: Client, gateway: Any) -> None:
    client.ask("s", "subscriptions/listen", notifications={"toolsListChanged": True})
    assert client.hear()["method"] == "notifications/begun"
    client.end()
    assert gateway.gone.get(timeout=WITHIN) == "s"
    assert client.lines.get(timeout=WITHIN) == b""


def test_what_is_listened_to_is_asked_for_again_when_its_connection_breaks(client: Client, gateway: Any) -> None:
    gateway.script += ["break"] * 5
    client.ask("s", "subscriptions/listen", notifications={"toolsListChanged": True})
    assert [client.hear()["params"]["of"] for _ in range(6)] == ["s"] * 6


def test_a_call_whose_answer_is_lost_is_made_once(client: Client, gateway: Any) -> None:
    gateway.script.append("break")
    client.ask(1, "tools/call", name="slow")
    assert client.hear()["method"] == "notifications/begun"
    assert "was lost" in client.hear()["error"]["message"]
    assert len(heads(gateway, "tools/call")) == 1
