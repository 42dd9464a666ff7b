"""The small MCP client, against the testkit's server and against servers that are none."""

from __future__ import annotations

import http.server
import json
import threading
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from thv_core.errors import InvalidRequest, ThvError, TimedOut, Unavailable
from thv_supervisor import mcp_client
from thv_supervisor.mcp_client import McpClient
from thv_testkit.echo.http_transport import HttpEcho
from thv_testkit.echo.server import Echo

WITHIN = 20.0
INITIALIZED = {"protocolVersion": "2025-11-25", "capabilities": {}, "serverInfo": {"name": "x", "version": "1"}}

Play = Callable[["Scripted", dict[str, Any]], None]


@pytest.fixture
def echo() -> Iterator[HttpEcho]:
    with HttpEcho(Echo(), 0) as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        yield server
        server.shutdown()
        thread.join(WITHIN)


class Scripted(http.server.BaseHTTPRequestHandler):
    """Answers each POST as the test says."""

    protocol_version = "HTTP/1.1"
    play: Play
    seen: list[tuple[str, str]]

    def do_POST(self) -> None:
        message = json.loads(self.rfile.read(int(self.headers["content-length"])))
        self.seen.append((self.command, message.get("method", "")))
        type(self).play(self, message)

    def do_DELETE(self) -> None:
        self.seen.append((self.command, ""))
        self.answer(200, b"")

    def answer(self, status: int, body: bytes, kind: str = "application/json", **headers: str) -> None:
        self.send_response(status)
        for name, value in headers.items():
            self.send_header(name.replace("_", "-"), value)
        self.send_header("content-type", kind)
        self.send_header("content-length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def result(self, message: dict[str, Any], result: object) -> None:
        self.answer(200, json.dumps({"jsonrpc": "2.0", "id": message.get("id"), "result": result}).encode())

    def log_message(self, *_: Any) -> None:
        """Say nothing."""


@pytest.fixture
def scripted() -> Iterator[Callable[[Play], tuple[str, list[tuple[str, str]]]]]:
    """Serve a script; returns the URL and the list of what was asked."""
    servers: list[http.server.ThreadingHTTPServer] = []
    threads: list[threading.Thread] = []

    def serve(play: Play) -> tuple[str, list[tuple[str, str]]]:
        seen: list[tuple[str, str]] = []
        handler = type("Handler", (Scripted,), {"play": staticmethod(play), "seen": seen})
        servers.append(http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler))
        servers[-1].daemon_threads = True
        threads.append(threading.Thread(target=servers[-1].serve_forever, kwargs={"poll_interval": 0.01}))
        threads[-1].start()
        return f"http://127.0.0.1:{servers[-1].server_port}/mcp", seen

    yield serve
    for server, thread in zip(servers, threads, strict=True):
        server.shutdown()
        thread.join(WITHIN)
        server.server_close()


def initialized_then(later: Play) -> Play:
    """Answer the opening as a server does, and everything else by ``later``."""

    def play(handler: Scripted, message: dict[str, Any]) -> None:
        if message["method"] == "initialize":
            handler.result(message, INITIALIZED)
        elif "id" not in message:
            handler.answer(202, b"")
        else:
            later(handler, message)

    return play


def test_a_session_lists_and_calls_and_is_ended(echo: HttpEcho) -> None:
    with McpClient(echo.url, WITHIN) as client:
        assert len(echo.sessions) == 1
        tools = client.pages("tools/list", "tools")
        assert {"echo", "count"} <= {tool["name"] for tool in tools}
        counts = [client.request("tools/call", {"name": "count", "arguments": {}}) for _ in range(2)]
        assert [each["structuredContent"]["count"] for each in counts] == [1, 2]
    assert echo.sessions == {}


def test_an_answer_in_an_event_stream_is_found_behind_other_messages(echo: HttpEcho) -> None:
    with McpClient(echo.url, WITHIN) as client:
        arguments = {"text": "a line", "times": 3}
        result = client.request("tools/call", {"name": "log", "arguments": arguments})
        assert result["content"][0]["text"] == "logged"


def test_an_error_answer_carries_the_servers_words(echo: HttpEcho) -> None:
    with McpClient(echo.url, WITHIN) as client, pytest.raises(ThvError, match=r"refused tools/call.*no tool nothing"):
        client.request("tools/call", {"name": "nothing", "arguments": {}})


def test_a_tool_error_is_a_result(echo: HttpEcho) -> None:
    with McpClient(echo.url, WITHIN) as client:
        assert client.request("tools/call", {"name": "echo", "arguments": {}})["isError"]


def test_an_event_may_have_its_data_in_many_lines(scripted: Any) -> None:
    def later(handler: Scripted, message: dict[str, Any]) -> None:
        event = f': comment\r\nid: 1\r\ndata:\r\n\r\ndata: {{"id": {message["id"]},\r\n'
        event += 'data:  "result": {"a": 1}}\r\n\r\n'
        handler.answer(200, event.encode(), "text/event-stream; charset=utf-8")

    url, _ = scripted(initialized_then(later))
    with McpClient(url, WITHIN) as client:
        assert client.request("x", {}) == {"a": 1}


def test_pages_are_followed_to_the_end_and_are_bounded(scripted: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    def later(handler: Scripted, message: dict[str, Any]) -> None:
        page = int(message["params"].get("cursor", "0"))
        more = {"nextCursor": str(page + 1)} if page < 4 else {}
        handler.result(message, {"tools": [{"name": str(page)}]} | more)

    url, _ = scripted(initialized_then(later))
    with McpClient(url, WITHIN) as client:
        assert [tool["name"] for tool in client.pages("tools/list", "tools")] == ["0", "1", "2", "3", "4"]
        assert client.pages("tools/list", "prompts") == []
        monkeypatch.setattr(mcp_client, "MOST_PAGES", 3)
        with pytest.raises(ThvError, match="more than 3 pages"):
            client.pages("tools/list", "tools")


NO_MCP: dict[str, tuple[bytes, str]] = {
    "a page": (b"<html></html>", "text/html"),
    "nothing": (b"", "application/json"),
    "a list": (b"[]", "application/json"),
    "a number": (b"5", "application/json"),
    "no result": (b'{"id": 1}', "application/json"),
    "an odd result": (b'{"id": 1, "result": 5}', "application/json"),
    "no version": (b'{"id": 1, "result": {}}', "application/json"),
    "another id": (b'{"id": 99, "result": {}}', "application/json"),
    "no UTF-8": (b"\xff", "application/json"),
    "an event that is no JSON": (b"data: x\n\n", "text/event-stream"),
    "an event that is no UTF-8": (b"data: \xff\n\n", "text/event-stream"),
    "a stream without an answer": (b"data: {}\n\n", "text/event-stream"),
}


@pytest.mark.parametrize("body", NO_MCP)
def test_what_does_not_speak_mcp_is_unavailable(scripted: Any, body: str) -> None:
    url, _ = scripted(lambda handler, message: handler.answer(200, *NO_MCP[body]))
    with pytest.raises(Unavailable, match=url), McpClient(url, WITHIN):
        pass


def test_a_refused_connection_is_tried_again_for_as_long_as_there_is_patience() -> None:
    with HttpEcho(Echo(), 0) as closed:
        port = closed.server_address[1]
    with pytest.raises(Unavailable, match="does not answer"), McpClient(f"http://127.0.0.1:{port}/mcp", WITHIN):
        pass
    late: list[HttpEcho] = []

    def begin() -> None:
        late.append(HttpEcho(Echo(), port))
        late[0].serve_forever(poll_interval=0.01)

    timer = threading.Timer(0.3, begin)
    timer.start()
    with McpClient(f"http://127.0.0.1:{port}/mcp", WITHIN, patience=WITHIN) as client:
        assert client.pages("tools/list", "tools")
    late[0].shutdown()
    timer.join(WITHIN)
    late[0].server_close()


@pytest.mark.parametrize(
    ("body", "reason"),
    [
        (b'{"error": {"message": "no session"}}', "no session"),
        (b"plain words", "plain words"),
        (b'{"error": "words"}', "words"),
        (b"[]", r"\[\]"),
        (b"\xff", "�"),
    ],
)
def test_a_refused_request_carries_status_and_reason(scripted: Any, body: bytes, reason: str) -> None:
    url, _ = scripted(lambda handler, message: handler.answer(404, body))
    with pytest.raises(Unavailable, match=f"answered 404: .*{reason}"), McpClient(url, WITHIN):
        pass


@pytest.mark.parametrize("error", ["words", {"code": 1}, None])
def test_an_odd_error_answer_is_still_an_error(scripted: Any, error: object) -> None:
    def later(handler: Scripted, message: dict[str, Any]) -> None:
        handler.answer(200, json.dumps({"id": message["id"], "error": error}).encode())

    url, _ = scripted(initialized_then(later))
    with McpClient(url, WITHIN) as client, pytest.raises(ThvError, match="the server refused x"):
        client.request("x", {})


def test_a_server_that_hangs_before_or_in_its_answer_times_out(scripted: Any) -> None:
    release = threading.Event()

    def before(handler: Scripted, message: dict[str, Any]) -> None:
        release.wait(WITHIN)
        handler.close_connection = True

    def inside(handler: Scripted, message: dict[str, Any]) -> None:
        handler.send_response(200)
        handler.send_header("content-type", "application/json")
        handler.send_header("content-length", "100")
        handler.end_headers()
        before(handler, message)

    def lively(handler: Scripted, message: dict[str, Any]) -> None:
        handler.send_response(200)
        handler.send_header("content-type", "text/event-stream")
        handler.end_headers()
        while not release.wait(0.05):
            handler.wfile.write(b": keep-alive\r\n\r\n")
        handler.close_connection = True

    for later in (before, inside, lively):
        url, _ = scripted(initialized_then(later))
        client = McpClient(url, 0.3)
        with pytest.raises(TimedOut, match="did not answer in time"), client:
            client.request("x", {})
    release.set()


def test_a_connection_that_is_cut_is_unavailable(scripted: Any) -> None:
    def later(handler: Scripted, message: dict[str, Any]) -> None:
        handler.send_response(200)
        handler.send_header("content-type", "application/json")
        handler.send_header("content-length", "100")
        handler.end_headers()
        handler.close_connection = True

    url, _ = scripted(initialized_then(later))
    with pytest.raises(Unavailable, match="does not answer"), McpClient(url, WITHIN) as client:
        client.request("x", {})


def test_nobody_there_is_unavailable_with_what_to_do(scripted: Any) -> None:
    import socket

    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        url = f"http://127.0.0.1:{taken.getsockname()[1]}/mcp"
        with pytest.raises(Unavailable) as refused, McpClient(url, WITHIN):
            pass
    assert "thv list" in refused.value.hint


@pytest.mark.parametrize("url", ["", "x", "ftp://a/", "http://", "http://a:99999/", "http://a:x/", "http://[a/"])
def test_what_is_no_url_is_refused(url: str) -> None:
    with pytest.raises(InvalidRequest, match="is not an http URL"):
        McpClient(url, WITHIN)


def test_a_session_is_ended_only_when_nothing_failed(scripted: Any) -> None:
    def play(handler: Scripted, message: dict[str, Any]) -> None:
        if message["method"] == "initialize":
            body = json.dumps({"id": message["id"], "result": INITIALIZED}).encode()
            handler.answer(200, body, mcp_session_id="s1")
        elif "id" not in message:
            assert handler.headers["mcp-session-id"] == "s1"
            assert handler.headers["mcp-protocol-version"] == "2025-11-25"
            handler.answer(202, b"")

    url, seen = scripted(play)
    with McpClient(url, WITHIN):
        pass
    opening = [("POST", "initialize"), ("POST", "notifications/initialized")]
    assert seen == [*opening, ("DELETE", "")]
    with pytest.raises(ZeroDivisionError), McpClient(url, WITHIN):
        raise ZeroDivisionError
    assert seen[3:] == opening


@pytest.mark.parametrize("status", [200, 404])
def test_a_list_that_a_server_does_not_know_is_empty(scripted: Any, status: int) -> None:
    def later(handler: Scripted, message: dict[str, Any]) -> None:
        error = {"code": -32601, "message": "Method not found"}
        body = json.dumps({"jsonrpc": "2.0", "id": message["id"], "error": error}).encode()
        handler.answer(status, body)

    url, _ = scripted(initialized_then(later))
    with McpClient(url, WITHIN) as client:
        assert client.offered("prompts/list", "prompts") == []
        with pytest.raises(ThvError, match="the server refused prompts/list: Method not found"):
            client.pages("prompts/list", "prompts")


def test_a_list_that_a_server_refuses_is_an_error(scripted: Any) -> None:
    def later(handler: Scripted, message: dict[str, Any]) -> None:
        error = {"code": -32603, "message": "it broke"}
        handler.answer(200, json.dumps({"jsonrpc": "2.0", "id": message["id"], "error": error}).encode())

    url, _ = scripted(initialized_then(later))
    with McpClient(url, WITHIN) as client, pytest.raises(ThvError, match="it broke"):
        client.offered("prompts/list", "prompts")
