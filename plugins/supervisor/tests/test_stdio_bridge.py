"""The bridge between a client's pipes and the gateway: everything is carried or answered, nothing twice."""

from __future__ import annotations

import asyncio
import contextlib
import http.client
import http.server
import json
import os
import queue
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from thv_core.errors import Unavailable
from thv_supervisor import bridge_lines, bridge_session, stdio_bridge
from thv_supervisor.bridge_session import BridgeSession
from thv_supervisor.places import Place
from thv_supervisor.stdio_bridge import Bridge
from thv_testkit.echo.http_transport import HttpEcho
from thv_testkit.echo.server import Echo
from thv_testkit.waiting import eventually

PROGRAM = Path(__file__).parent / "programs" / "bridge_to.py"
WITHIN = 20.0
INITIALIZE = {
    "jsonrpc": "2.0",
    "id": 0,
    "method": "initialize",
    "params": {"protocolVersion": "2025-11-25", "capabilities": {}, "clientInfo": {"name": "x", "version": "1"}},
}
INITIALIZED = {"jsonrpc": "2.0", "method": "notifications/initialized"}
RESULT = {"protocolVersion": "2025-11-25", "capabilities": {}, "serverInfo": {"name": "x", "version": "1"}}

Json = dict[str, Any]
Serve = Callable[[type["Handler"]], http.server.HTTPServer]


class Client:
    """A client that speaks over pipes to a bridge in a thread."""

    def __init__(self, find: Callable[[], str]) -> None:
        theirs, ours = os.pipe()
        out, sink = os.pipe()
        self.stdin = os.fdopen(ours, "wb", buffering=0)
        self._source, self._sink = os.fdopen(theirs, "rb"), os.fdopen(sink, "wb")
        self._out = os.fdopen(out, "rb")
        self.left: queue.Queue[int] = queue.Queue()
        self.complaints: list[str] = []
        self.lines: queue.Queue[bytes] = queue.Queue()
        self._bridge = Bridge(BridgeSession(lambda: Place(find())), self.complaints.append, self.left.put)
        self._threads = [threading.Thread(target=self._run), threading.Thread(target=self._read)]
        for thread in self._threads:
            thread.start()

    def _run(self) -> None:
        self._bridge.run(self._source, self._sink)
        self._sink.close()
        self._source.close()

    def _read(self) -> None:
        with self._out:
            for line in self._out:
                self.lines.put(line)
        self.lines.put(b"")

    def send(self, message: Json | bytes) -> None:
        self.stdin.write(message if isinstance(message, bytes) else json.dumps(message).encode() + b"\n")

    def hear(self) -> Json:
        return json.loads(self.lines.get(timeout=WITHIN))

    def ask(self, message: Json) -> Json:
        self.send(message)
        return self.hear()

    def open(self) -> Json:
        answer = self.ask(INITIALIZE)
        self.send(INITIALIZED)
        return answer

    def end(self) -> None:
        if not self.stdin.closed:
            self.stdin.close()
        for thread in self._threads:
            thread.join(WITHIN)
            assert not thread.is_alive()


@pytest.fixture
def echo() -> Iterator[HttpEcho]:
    with serving(HttpEcho(Echo(), 0)) as server:
        yield server


@contextlib.contextmanager
def serving(server: Any) -> Iterator[Any]:
    with server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        yield server
        server.shutdown()
        thread.join(WITHIN)


@pytest.fixture
def bridged() -> Iterator[Callable[[Callable[[], str]], Client]]:
    clients: list[Client] = []

    def connected(find: Callable[[], str]) -> Client:
        clients.append(Client(find))
        return clients[-1]

    yield connected
    for client in clients:
        client.end()


@pytest.fixture
def client(bridged: Any, echo: HttpEcho) -> Client:
    client = bridged(lambda: echo.url)
    assert client.open()["result"]["protocolVersion"] == "2025-11-25"
    return client


class Handler(http.server.BaseHTTPRequestHandler):
    """A gateway of the test's own making: it opens a session, and plays ``answer`` for everything else.

    ``accepted`` are the connections in the order in which they came, ``ways`` says on which of them each method came.
    """

    protocol_version = "HTTP/1.1"
    seen: list[tuple[str, dict[str, str], Json]]
    accepted: list[object]
    ways: dict[object, object]

    def do_POST(self) -> None:
        message = json.loads(self.rfile.read(int(self.headers["content-length"])))
        self.ways[message.get("method")] = self.client_address
        self.seen.append(("POST", {name.lower(): value for name, value in self.headers.items()}, message))
        if message.get("method") == "initialize":
            self.reply(200, {"jsonrpc": "2.0", "id": message["id"], "result": RESULT}, **{"mcp-session-id": "s1"})
        elif "id" not in message or "method" not in message:
            self.reply(202, None)
        else:
            self.answer(message)

    def do_GET(self) -> None:
        self.seen.append(("GET", {name.lower(): value for name, value in self.headers.items()}, {}))
        self.listen()

    def do_DELETE(self) -> None:
        self.seen.append(("DELETE", dict(self.headers.items()), {}))
        self.reply(204, None)

    def listen(self) -> None:
        self.reply(405, None)

    def answer(self, message: Json) -> None:
        self.reply(200, {"jsonrpc": "2.0", "id": message["id"], "result": {}})

    def reply(self, status: int, message: object, **headers: str) -> None:
        body = b"" if message is None else message if isinstance(message, bytes) else json.dumps(message).encode()
        self.send_response_only(status)
        for name, value in headers.items():
            self.send_header(name, value)
        self.send_header("content-type", "application/json")
        if status != 204:
            self.send_header("content-length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def stream(self, data: bytes) -> None:
        self.send_response_only(200)
        self.send_header("content-type", "text/event-stream")
        self.send_header("connection", "close")
        self.end_headers()
        self.wfile.write(data)
        self.close_connection = True

    def hang_up(self) -> None:
        self.close_connection = True

    def log_message(self, *_: Any) -> None:
        """Say nothing."""


class Gateway(http.server.ThreadingHTTPServer):
    """Serves each connection in a thread, whose turn says nothing about the order in which the connections came."""

    daemon_threads = True

    def process_request(self, request: Any, client_address: Any) -> None:
        self.RequestHandlerClass.accepted.append(client_address)
        super().process_request(request, client_address)


@pytest.fixture
def gateway() -> Iterator[Callable[..., tuple[str, list[Any]]]]:
    """Serve what a handler answers; returns its URL and what it has seen."""
    with contextlib.ExitStack() as stack:

        def serve(**methods: Any) -> tuple[str, list[Any]]:
            handler = type("Handler", (Handler,), {"seen": [], "accepted": [], "ways": {}, **methods})
            server = Gateway(("127.0.0.1", 0), handler)
            stack.enter_context(serving(server))
            return f"http://127.0.0.1:{server.server_port}/mcp", handler.seen

        yield serve


def call(number: object, tool: str, **arguments: object) -> Json:
    params = {"name": tool, "arguments": arguments}
    return {"jsonrpc": "2.0", "id": number, "method": "tools/call", "params": params}


def listing(number: object) -> Json:
    return {"jsonrpc": "2.0", "id": number, "method": "tools/list"}


def event(message: object, identifier: str = "") -> bytes:
    head = f"id: {identifier}\nretry: 10\n".encode() if identifier else b""
    return head + b"data: " + (json.dumps(message).encode() if message else b"") + b"\n\n"


def test_a_session_is_opened_used_and_ended_with_the_input(client: Client, echo: HttpEcho) -> None:
    answer = client.ask(call("a", "echo", text="hällo"))
    assert (answer["id"], answer["result"]["content"][0]["text"]) == ("a", "hällo")
    assert len(echo.sessions) == 1
    client.end()
    assert echo.sessions == {}
    assert client.lines.get(timeout=WITHIN) == b""


def test_messages_before_the_answer_are_written_in_order(client: Client) -> None:
    client.send(call(1, "log", text="x", times=3))
    heard = [client.hear() for _ in range(4)]
    assert [each.get("method", "answer") for each in heard] == ["notifications/message"] * 3 + ["answer"]


def test_whoever_writes_ahead_of_the_first_answer_has_a_session_nevertheless(bridged: Any, gateway: Any) -> None:
    def do_post(self: Handler) -> None:
        if "mcp-session-id" not in self.headers and self.seen:
            self.rfile.read(int(self.headers["content-length"]))
            self.reply(400, None)
        else:
            Handler.do_POST(self)

    url, seen = gateway(do_POST=do_post)
    client = bridged(lambda: url)
    client.send(INITIALIZE)
    client.send(INITIALIZED)
    client.send(call(1, "x"))
    assert [client.hear()["id"] for _ in range(2)] == [INITIALIZE["id"], 1]
    assert client.complaints == []
    assert [message.get("method") for verb, _, message in seen if verb == "POST"] == [
        "initialize",
        "notifications/initialized",
        "tools/call",
    ]


def test_a_slow_call_holds_up_no_other_and_the_end_waits_for_it(client: Client) -> None:
    client.send(call(1, "sleep", seconds=0.5, steps=1))
    assert client.ask({"jsonrpc": "2.0", "id": 2, "method": "ping"})["id"] == 2
    client.stdin.close()
    assert client.hear()["id"] == 1


@pytest.mark.parametrize(
    ("line", "code"),
    [
        (b"this is no message\n", bridge_lines.PARSE_ERROR),
        (b'[{"jsonrpc":"2.0","id":1,"method":"ping"}]\n', bridge_lines.PARSE_ERROR),
        (b"[" * 20_000 + b"\n", bridge_lines.PARSE_ERROR),
    ],
)
def test_what_is_no_message_is_answered_without_an_id(client: Client, line: bytes, code: int) -> None:
    client.send(line)
    answer = client.hear()
    assert (answer["id"], answer["error"]["code"]) == (None, code)


def test_a_line_that_is_too_long_is_refused_and_the_next_is_read(
    client: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(bridge_lines, "MAX_LINE", 1000)
    monkeypatch.setattr(stdio_bridge, "MAX_LINE", 1000)
    # What is read already was read with the former bound.
    client.ask({"jsonrpc": "2.0", "id": 1, "method": "ping"})
    client.send(call(2, "echo", text="x" * 5000))
    assert client.hear()["error"]["code"] == bridge_lines.INVALID_REQUEST
    assert client.ask({"jsonrpc": "2.0", "id": 3, "method": "ping"})["id"] == 3


def test_a_forgotten_session_is_opened_anew_with_the_clients_own_words(client: Client, echo: HttpEcho) -> None:
    former = list(echo.sessions)
    echo.sessions.clear()
    assert client.ask(call(1, "echo", text="again"))["result"]["content"][0]["text"] == "again"
    assert len(echo.sessions) == 1
    assert list(echo.sessions) != former


def test_a_session_in_place_of_a_forgotten_one_is_told_the_level_and_the_subscriptions(
    bridged: Any, gateway: Any
) -> None:
    sessions = ["s1"]

    def do_post(self: Handler) -> None:
        message = json.loads(self.rfile.read(int(self.headers["content-length"])))
        self.seen.append(("POST", {}, message))
        if message["method"] == "initialize":
            answer = {"jsonrpc": "2.0", "id": message["id"], "result": RESULT}
            self.reply(200, answer, **{"mcp-session-id": sessions[0]})
        elif self.headers["mcp-session-id"] != sessions[0]:
            self.reply(404, None)
        elif "id" in message:
            self.answer(message)
        else:
            self.reply(202, None)

    url, seen = gateway(do_POST=do_post)
    client = bridged(lambda: url)
    client.open()
    client.ask({"jsonrpc": "2.0", "id": 1, "method": "logging/setLevel", "params": {"level": "debug"}})
    client.ask({"jsonrpc": "2.0", "id": 2, "method": "resources/subscribe", "params": {"uri": "a:b"}})
    sessions[0] = "s2"
    seen.clear()
    assert client.ask(listing(3))["id"] == 3
    assert [(message["method"], message.get("params", {})) for _, _, message in seen[2:]] == [
        ("notifications/initialized", {}),
        ("logging/setLevel", {"level": "debug"}),
        ("resources/subscribe", {"uri": "a:b"}),
        ("tools/list", {}),
    ]
    assert client.lines.empty()


def test_no_request_is_sent_without_a_session_while_another_one_is_opened(bridged: Any, gateway: Any) -> None:
    opening, is_open = threading.Event(), threading.Event()
    sessions = ["s1"]

    def do_post(self: Handler) -> None:
        message = json.loads(self.rfile.read(int(self.headers["content-length"])))
        if message["method"] == "initialize":
            if sessions == ["s2"]:
                opening.set()
                is_open.wait(WITHIN)
            answer = {"jsonrpc": "2.0", "id": message["id"], "result": RESULT}
            self.reply(200, answer, **{"mcp-session-id": sessions[0]})
        elif self.headers.get("mcp-session-id") != sessions[0]:
            self.reply(404 if "mcp-session-id" in self.headers else 400, None)
        elif "id" in message:
            self.answer(message)
        else:
            self.reply(202, None)

    url, _ = gateway(do_POST=do_post)
    client = bridged(lambda: url)
    client.open()
    client.ask(listing(1))
    sessions[0] = "s2"
    client.send(listing(2))
    assert opening.wait(WITHIN)
    client.send(listing(3))
    client.send({"jsonrpc": "2.0", "method": "notifications/roots/list_changed"})
    with pytest.raises(queue.Empty):
        client.lines.get(timeout=0.3)
    is_open.set()
    answers = [client.hear() for _ in range(2)]
    assert [answer.get("result") for answer in sorted(answers, key=lambda each: each["id"])] == [{}, {}]
    client.end()
    assert client.complaints == []


def test_a_notification_that_the_server_takes_no_note_of_before_an_answer_does_not_keep_that_answer(
    bridged: Any, gateway: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(stdio_bridge, "ORDER_SECONDS", 0.1)
    answered, ends = threading.Event(), []

    def do_post(self: Handler) -> None:
        message = json.loads(self.rfile.read(int(self.headers["content-length"])))
        if "method" in message:
            ends.append(answered.wait(WITHIN))
        else:
            answered.set()
        self.reply(202, None)

    url, _ = gateway(do_POST=do_post)
    client = bridged(lambda: url)
    client.send({"jsonrpc": "2.0", "method": "notifications/roots/list_changed"})
    client.send({"jsonrpc": "2.0", "id": "theirs", "result": {"roots": []}})
    client.end()
    assert ends == [True]


def test_a_gateway_that_is_away_is_found_again_at_its_new_place(bridged: Any) -> None:
    places: list[str] = []
    asked: list[int] = []

    def find() -> str:
        asked.append(1)
        return places[-1]

    with serving(HttpEcho(Echo(), 0)) as first:
        places.append(first.url)
        client = bridged(find)
        client.open()
        client.ask({"jsonrpc": "2.0", "id": 0, "method": "ping"})
    client.send(call(1, "echo", text="patience"))
    eventually(lambda: len(asked) > 2)
    with serving(HttpEcho(Echo(), 0)) as second:
        places.append(second.url)
        assert client.hear()["result"]["content"][0]["text"] == "patience"
        client.end()


def test_a_workload_that_was_stopped_answers_every_request_with_the_reason(bridged: Any) -> None:
    with serving(HttpEcho(Echo(), 0)) as server:
        found = [server.url]
        client = bridged(lambda: found[0] if found else stopped())
        client.open()
        client.ask({"jsonrpc": "2.0", "id": 0, "method": "ping"})
    found.clear()
    answer = client.ask(call(1, "echo", text="x"))
    assert (answer["id"], answer["error"]["message"]) == (1, "time is stopped")


def stopped() -> str:
    raise Unavailable("time is stopped")


def test_a_tool_is_never_called_twice_and_the_answer_says_that_it_was_lost(bridged: Any, gateway: Any) -> None:
    url, seen = gateway(answer=lambda self, message: self.hang_up())
    client = bridged(lambda: url)
    client.open()
    answer = client.ask(call(1, "pay"))
    assert answer["id"] == 1
    assert answer["error"]["message"].startswith("The answer to tools/call was lost")
    assert [message["method"] for _, _, message in seen if message].count("tools/call") == 1


def test_a_list_is_asked_for_again(bridged: Any, gateway: Any) -> None:
    url, seen = gateway(
        answer=lambda self, message: self.hang_up() if len(self.seen) < 4 else Handler.answer(self, message)
    )
    client = bridged(lambda: url)
    client.open()
    eventually(lambda: len(seen) >= 2)
    assert client.ask(listing(1))["result"] == {}


@pytest.mark.parametrize(
    ("status", "body", "words"),
    [
        (503, {"jsonrpc": "2.0", "id": None, "error": {"code": -32603, "message": "time is starting"}}, "is starting"),
        (502, b"<html>", "HTTP 502"),
        (202, None, "HTTP 202"),
        (307, None, "HTTP 307"),
    ],
)
def test_every_refusal_is_an_error_under_the_id_of_its_request(
    bridged: Any, gateway: Any, status: int, body: object, words: str
) -> None:
    url, _ = gateway(answer=lambda self, message: self.reply(status, body))
    client = bridged(lambda: url)
    client.open()
    answer = client.ask(call("mine", "x"))
    assert answer["id"] == "mine"
    assert words in answer["error"]["message"]


def test_the_session_and_its_version_are_named_and_the_client_authors_nothing_else(bridged: Any, gateway: Any) -> None:
    url, seen = gateway()
    client = bridged(lambda: url)
    client.open()
    client.ask(listing(1))
    client.end()
    heads = [head for verb, head, message in seen if message.get("method") == "tools/list"]
    assert (heads[0]["mcp-session-id"], heads[0]["mcp-protocol-version"]) == ("s1", "2025-11-25")
    assert [verb for verb, _, _ in seen][-1] == "DELETE"


def test_what_the_server_says_on_its_own_is_written_and_the_stream_goes_on_where_it_broke(
    bridged: Any, gateway: Any
) -> None:
    note = {"jsonrpc": "2.0", "method": "notifications/tools/list_changed"}

    def listen(self: Handler) -> None:
        times = sum(verb == "GET" for verb, _, _ in self.seen)
        if times < 3:
            self.stream(event(note, f"e{times}"))
        else:
            self.reply(405, None)

    url, seen = gateway(listen=listen)
    client = bridged(lambda: url)
    client.open()
    assert [client.hear(), client.hear()] == [note, note]
    eventually(lambda: sum(verb == "GET" for verb, _, _ in seen) == 3)
    lasts = [head.get("last-event-id", "") for verb, head, _ in seen if verb == "GET"]
    assert lasts == ["", "e1", "e2"]


def test_an_answer_that_goes_on_in_another_stream_is_followed(bridged: Any, gateway: Any) -> None:
    def listen(self: Handler) -> None:
        if self.headers.get("last-event-id") == "e1":
            self.stream(event({"jsonrpc": "2.0", "id": 1, "result": {"late": True}}, "e2"))
        else:
            self.reply(405, None)

    url, _ = gateway(listen=listen, answer=lambda self, message: self.stream(event(None, "e1")))
    client = bridged(lambda: url)
    client.open()
    assert client.ask(call(1, "x"))["result"] == {"late": True}


def test_a_cancellation_follows_its_request(bridged: Any, gateway: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    let_go = threading.Event()
    connected, begun = BridgeSession._connected, threading.Event()

    def the_first_slowly(session: BridgeSession) -> http.client.HTTPConnection:
        if not begun.is_set():
            begun.set()
            time.sleep(0.2)
        return connected(session)

    def answer(self: Handler, message: Json) -> None:
        let_go.wait(WITHIN)
        Handler.answer(self, message)

    accepted: list[object] = []
    ways: dict[object, object] = {}
    url, seen = gateway(answer=answer, accepted=accepted, ways=ways)
    client = bridged(lambda: url)
    client.open()
    eventually(lambda: "GET" in [verb for verb, _, _ in seen])
    monkeypatch.setattr(BridgeSession, "_connected", the_first_slowly)
    client.send(call(1, "x"))
    assert begun.wait(WITHIN)
    cancelled = {"jsonrpc": "2.0", "method": "notifications/cancelled", "params": {"requestId": 1}}
    client.send(cancelled)
    eventually(lambda: cancelled in [message for _, _, message in seen] and "tools/call" in ways)
    assert accepted.index(ways["tools/call"]) < accepted.index(ways["notifications/cancelled"])
    let_go.set()
    client.hear()


def test_two_calls_of_one_id_and_too_many_calls_are_refused_at_once(
    bridged: Any, gateway: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(stdio_bridge, "MOST_CALLS", 2)
    let_go = threading.Event()
    url, _ = gateway(answer=lambda self, message: (let_go.wait(WITHIN), Handler.answer(self, message)))
    client = bridged(lambda: url)
    client.open()
    client.send(call(1, "x"))
    assert client.ask(call(1, "x"))["error"]["message"] == "A call in flight has the same id"
    client.send(call(2, "x"))
    assert client.ask(call(3, "x"))["error"]["message"] == "Too many calls in flight"
    let_go.set()
    assert {client.hear()["id"], client.hear()["id"]} == {1, 2}


def test_a_message_written_over_several_lines_becomes_one(bridged: Any, gateway: Any) -> None:
    pretty = json.dumps({"jsonrpc": "2.0", "id": 1, "result": {}}, indent=2).encode()
    url, _ = gateway(answer=lambda self, message: self.reply(200, pretty))
    client = bridged(lambda: url)
    client.open()
    assert client.ask(call(1, "x"))["result"] == {}


def test_a_call_that_outlasts_the_end_is_answered_with_an_error(
    bridged: Any, gateway: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(stdio_bridge, "ENDING_SECONDS", 0.05)
    let_go = threading.Event()
    url, _ = gateway(answer=lambda self, message: let_go.wait(WITHIN))
    client = bridged(lambda: url)
    client.open()
    client.send(call(1, "x"))
    client.stdin.close()
    assert client.hear()["error"]["message"] == "tools/call was not answered in time"
    let_go.set()


def test_a_gateway_that_stays_away_is_an_error_at_last(bridged: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bridge_session, "PATIENCE", 0.1)
    with serving(HttpEcho(Echo(), 0)) as server:
        client = bridged(lambda: server.url)
        client.open()
        client.ask({"jsonrpc": "2.0", "id": 0, "method": "ping"})
    assert client.ask(call(1, "x"))["error"]["message"].startswith("nobody answers at http://127.0.0.1:")
    client.send({"jsonrpc": "2.0", "method": "notifications/roots/list_changed"})
    eventually(lambda: client.complaints)
    assert client.complaints[0].startswith("notifications/roots/list_changed was not delivered: ")


def test_a_notification_that_is_refused_is_told_to_people_and_never_written(bridged: Any, gateway: Any) -> None:
    def do_post(self: Handler) -> None:
        self.rfile.read(int(self.headers["content-length"]))
        self.reply(503, {"jsonrpc": "2.0", "id": None, "error": {"code": -32603, "message": "no"}})

    url, _ = gateway(do_POST=do_post)
    client = bridged(lambda: url)
    client.send({"jsonrpc": "2.0", "method": "notifications/progress"})
    eventually(lambda: client.complaints == ["notifications/progress was not taken: HTTP 503"])
    client.end()
    assert client.lines.get(timeout=WITHIN) == b""


def test_the_process_ends_when_nobody_reads_what_it_writes(echo: HttpEcho) -> None:
    with subprocess.Popen(
        [sys.executable, str(PROGRAM), echo.url], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    ) as process:
        assert process.stdin is not None
        assert process.stdout is not None
        process.stdout.close()
        process.stdin.write(json.dumps(INITIALIZE).encode() + b"\n")
        process.stdin.flush()
        assert process.wait(WITHIN) == 0


def test_the_sdks_client_of_pipes_speaks_through_it(echo: HttpEcho) -> None:
    from mcp import Client
    from mcp.client.stdio import StdioServerParameters, stdio_client

    async def work() -> None:
        server = StdioServerParameters(command=sys.executable, args=[str(PROGRAM), echo.url])
        async with asyncio.timeout(30), Client(stdio_client(server)) as client:
            tools = await client.list_tools()
            assert "echo" in {tool.name for tool in tools.tools}
            answers = await asyncio.gather(*(client.call_tool("echo", {"text": str(n)}) for n in range(20)))
            assert [answer.content[0].text for answer in answers] == [str(number) for number in range(20)]

    asyncio.run(work())
