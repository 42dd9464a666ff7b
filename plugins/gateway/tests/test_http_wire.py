"""Wires over HTTP: one session of streamable HTTP, and requests of the modern era, against a server in this process."""

from __future__ import annotations

import asyncio
import base64
import contextlib
import json
import socket
from collections.abc import Awaitable, Callable, Coroutine
from typing import Any

import pytest

from thv_core.model.message import Kind, Message
from thv_gateway.client.http_client import HttpClient, Place
from thv_gateway.client.pool import Pool
from thv_gateway.messages.parsing import parse_line
from thv_gateway.wires import event_stream, http_wire
from thv_gateway.wires.carriage import MOST_EXCHANGES
from thv_gateway.wires.http_wire import HttpWire
from thv_gateway.wires.mirrors import Mirrors
from thv_gateway.wires.modern_wire import ModernHttpWire
from thv_gateway.wires.way import Way

JSON = "application/json"
EVENTS = "text/event-stream"


class Asked:
    """One request as the server saw it, and the way to answer it."""

    def __init__(self, method: str, fields: dict[str, str], body: bytes, writer: asyncio.StreamWriter) -> None:
        self.method, self.fields, self.writer = method, fields, writer
        self.message = json.loads(body) if body else {}

    def answer(self, status: int, body: bytes = b"", media: str = JSON, **fields: str) -> None:
        lines = [f"HTTP/1.1 {status} X", f"content-type: {media}", f"content-length: {len(body)}"]
        lines += [f"{name.replace('_', '-')}: {value}" for name, value in fields.items()]
        self.writer.write("\r\n".join(lines).encode() + b"\r\n\r\n" + body)

    def result(self, **result: Any) -> None:
        self.answer(200, json.dumps({"jsonrpc": "2.0", "id": self.message["id"], "result": result}).encode())

    def begin(self, **fields: str) -> None:
        lines = ["HTTP/1.1 200 X", f"content-type: {EVENTS}", "transfer-encoding: chunked"]
        lines += [f"{name.replace('_', '-')}: {value}" for name, value in fields.items()]
        self.writer.write("\r\n".join(lines).encode() + b"\r\n\r\n")

    def event(self, message: object, more: str = "") -> None:
        data = f"{more}data: {json.dumps(message) if message else ''}\n\n".encode()
        self.writer.write(b"%x\r\n%b\r\n" % (len(data), data))

    def end(self) -> None:
        self.writer.write(b"0\r\n\r\n")


Serve = Callable[[Asked], Awaitable[None]]


class Served:
    """A server that calls ``act`` for each request, and a wire to it."""

    def __init__(self, act: Serve) -> None:
        self.act = act
        self.asked: list[Asked] = []
        self.open = 0
        self.taken: list[tuple[Message, bytes]] = []
        self.ended: list[str] = []
        self.news = asyncio.Event()
        self.writers: set[asyncio.StreamWriter] = set()

    async def __aenter__(self) -> Served:
        self.server = await asyncio.start_server(self._serve, "127.0.0.1", 0)
        self.port = self.server.sockets[0].getsockname()[1]
        self.dialler = _Dialler(self.port)
        self.pool = Pool(self.dialler)
        return self

    async def __aexit__(self, *_: object) -> None:
        self.pool.close()
        self.server.close()
        for writer in list(self.writers):
            writer.close()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.open += 1
        self.writers.add(writer)
        with contextlib.suppress(asyncio.IncompleteReadError, ConnectionError):
            while True:
                head = (await reader.readuntil(b"\r\n\r\n")).decode().split("\r\n")
                pairs = [line.partition(": ") for line in head[1:] if line]
                fields = {name.lower(): value for name, _, value in pairs}
                body = await reader.readexactly(int(fields.get("content-length", 0)))
                self.asked.append(Asked(head[0].split()[0], fields, body, writer))
                await self.act(self.asked[-1])
                self.news.set()
        self.open -= 1
        self.writers.discard(writer)
        self.news.set()
        writer.close()

    def wire(self, kind: type[Any] = HttpWire, patience: float = 20.0) -> Any:
        client = HttpClient(self.pool, Place.inside(self.port))
        wire = kind(Way(client, "echo", patience, fields=lambda: ((b"x-key", b"1"),)))
        wire.take = self._take
        wire.on_end = self.ended.append
        return wire

    async def until(self, condition: Callable[[], object]) -> None:
        async with asyncio.timeout(10):
            while not condition():
                self.news.clear()
                with contextlib.suppress(TimeoutError):
                    await asyncio.wait_for(self.news.wait(), 0.05)

    async def response(self, number: int = 1) -> tuple[Message, bytes]:
        await self.until(lambda: len(self.responses) >= number)
        return self.responses[number - 1]

    @property
    def responses(self) -> list[tuple[Message, bytes]]:
        return [each for each in self.taken if each[0].kind is Kind.RESPONSE]

    def _take(self, message: Message, about: bytes) -> None:
        self.taken.append((message, about))
        self.news.set()


class _Dialler:
    def __init__(self, port: int) -> None:
        self.security: dict[str, Any] = {}
        self._port = port
        self.taken = 0

    def __len__(self) -> int:
        return 8

    @property
    def free(self) -> int:
        return 8 - self.taken

    async def connect(self, port: int) -> tuple[socket.socket, socket.socket]:
        self.taken += 1
        connected = socket.socket()
        connected.setblocking(False)
        try:
            await asyncio.get_running_loop().sock_connect(connected, ("127.0.0.1", self._port))
        except OSError:
            self.give_back(connected)
            raise
        return connected, connected.dup()

    def give_back(self, connector: socket.socket) -> None:
        self.taken -= 1
        connector.close()

    def close(self) -> None:
        """Close nothing."""


def request(identifier: int, method: str, **params: Any) -> Message:
    body = {"jsonrpc": "2.0", "id": identifier, "method": method, "params": params}
    message = parse_line(json.dumps(body).encode())
    assert message is not None
    return message


def notification(method: str, **params: Any) -> Message:
    message = parse_line(json.dumps({"jsonrpc": "2.0", "method": method, "params": params}).encode())
    assert message is not None
    return message


async def as_a_server(asked: Asked) -> None:
    """Answer as a server with sessions and without a stream of its own."""
    method = asked.message.get("method", "")
    if asked.method == "GET":
        asked.answer(405)
    elif method == "initialize":
        asked.begin(mcp_session_id="s1")
        asked.event({"jsonrpc": "2.0", "id": asked.message["id"], "result": {"protocolVersion": "2025-06-18"}})
        asked.end()
    elif "id" in asked.message and method:
        asked.result(method=method)
    else:
        asked.answer(202 if asked.method == "POST" else 200)


def run(scenario: Coroutine[Any, Any, None]) -> None:
    asyncio.run(asyncio.wait_for(scenario, 30))


def test_a_session_is_named_in_everything_after_its_beginning() -> None:
    async def scenario() -> None:
        async with Served(as_a_server) as served:
            wire = served.wire()
            wire.send(request(1, "initialize"))
            answer, about = await served.response()
            assert (answer.id, about) == (b"1", b"1")
            wire.send(notification("notifications/initialized"))
            wire.send(request(2, "tools/list"))
            await served.response(2)
            # The list waits until the server has taken note that the client is ready.
            posts = [each.message["method"] for each in served.asked if each.method == "POST"]
            assert posts == ["initialize", "notifications/initialized", "tools/list"]
            for each in served.asked[1:]:
                assert each.fields["mcp-session-id"] == "s1"
                assert each.fields["mcp-protocol-version"] == "2025-06-18"
                assert each.fields["x-key"] == "1"
            await wire.leave()
            assert served.asked[-1].method == "DELETE"

    run(scenario())


def test_what_comes_on_the_answer_to_a_call_is_about_that_call() -> None:
    async def act(asked: Asked) -> None:
        asked.begin()
        asked.event({"jsonrpc": "2.0", "method": "notifications/message", "params": {}})
        asked.event({"jsonrpc": "2.0", "id": 7, "method": "elicitation/create", "params": {}})
        asked.event({"jsonrpc": "2.0", "id": asked.message["id"], "result": {}})
        asked.end()

    async def scenario() -> None:
        async with Served(act) as served:
            served.wire().send(request(5, "tools/call", name="x"))
            await served.response()
            assert [(message.method, about) for message, about in served.taken] == [
                ("notifications/message", b"5"),
                ("elicitation/create", b"5"),
                ("", b"5"),
            ]

    run(scenario())


def test_an_answer_that_was_polled_is_asked_for_again() -> None:
    async def act(asked: Asked) -> None:
        asked.begin()
        if asked.method == "GET":
            assert asked.fields["last-event-id"] == "e1"
            asked.event({"jsonrpc": "2.0", "id": 5, "result": {"late": True}}, "id: e2\n")
        else:
            asked.event(None, "id: e1\nretry: 10\n")
        asked.end()

    async def scenario() -> None:
        async with Served(act) as served:
            served.wire().send(request(5, "tools/call", name="x"))
            message, about = await served.response()
            assert (json.loads(message.result), about) == ({"late": True}, b"5")

    run(scenario())


def test_the_stream_of_the_session_is_opened_again_from_where_it_ended() -> None:
    seen: list[str] = []

    async def act(asked: Asked) -> None:
        if asked.method != "GET":
            await as_a_server(asked)
            return
        seen.append(asked.fields.get("last-event-id", ""))
        asked.begin()
        asked.event({"jsonrpc": "2.0", "method": "notifications/tools/list_changed"}, f"id: {len(seen)}\nretry: 10\n")
        asked.end()

    async def scenario() -> None:
        async with Served(act) as served:
            wire = served.wire()
            wire.send(request(1, "initialize"))
            await served.response()
            wire.send(notification("notifications/initialized"))
            await served.until(lambda: len(seen) > 2)
            assert seen[:3] == ["", "1", "2"]
            assert (served.taken[1][0].method, served.taken[1][1]) == ("notifications/tools/list_changed", b"")
            wire.close()

    run(scenario())


def test_a_lost_session_is_the_end_of_the_wire_and_is_told_once() -> None:
    async def act(asked: Asked) -> None:
        if asked.message.get("method") == "tools/call":
            asked.answer(404)
        else:
            await as_a_server(asked)

    async def scenario() -> None:
        async with Served(act) as served:
            wire = served.wire()
            wire.send(request(1, "initialize"))
            await served.response()
            wire.send(request(2, "tools/call"))
            wire.send(request(3, "tools/call"))
            await served.until(lambda: served.ended)
            assert served.ended == ["echo does not know the session any more"]
            wire.send(request(4, "ping"))
            await served.until(lambda: served.open == 0)

    run(scenario())


async def refuse(asked: Asked) -> None:
    asked.answer(400, b'{"jsonrpc":"2.0","error":{"code":-32602,"message":"bad"}}')


async def html(asked: Asked) -> None:
    asked.answer(200, b"<html>", "text/html")


async def broken(asked: Asked) -> None:
    asked.answer(500, b"oops", "text/plain")


async def unfinished(asked: Asked) -> None:
    asked.begin()
    asked.event({"jsonrpc": "2.0", "method": "notifications/message"})
    asked.end()


async def hang_up(asked: Asked) -> None:
    asked.writer.close()


async def silent(asked: Asked) -> None:
    """Say nothing."""


@pytest.mark.parametrize(
    ("act", "text"),
    [
        (refuse, "bad"),
        (html, "echo answered with what is not MCP"),
        (broken, "echo answered HTTP 500"),
        (unfinished, "echo ended its stream without an answer"),
        (hang_up, "echo closed the connection"),
        (silent, "echo did not answer in time"),
    ],
)
def test_a_request_that_comes_to_nothing_is_answered_with_an_error(act: Serve, text: str) -> None:
    async def scenario() -> None:
        async with Served(act) as served:
            served.wire(patience=0.5).send(request(5, "tools/call"))
            message, _ = await served.response()
            assert (message.id, json.loads(message.error)["message"]) == (b"5", text)
            assert served.dialler.taken <= 1

    run(scenario())


def test_nobody_there_is_said_as_such() -> None:
    async def scenario() -> None:
        async with Served(silent) as served:
            wire = served.wire()
            served.server.close()
            wire.send(request(5, "tools/call"))
            message, _ = await served.response()
            assert "echo accepts no connections" in json.loads(message.error)["message"]

    run(scenario())


def test_too_many_messages_are_refused_and_none_is_left_after_the_end() -> None:
    async def scenario() -> None:
        async with Served(silent) as served:
            wire = served.wire()
            for number in range(MOST_EXCHANGES):
                wire.send(request(number, "tools/call"))
            assert wire.congested
            wire.send(request(9999, "tools/call"))
            message, _ = await served.response()
            assert message.id == b"9999"
            wire.close()
            await served.until(lambda: served.open == 0 and not wire.congested)
            assert len(served.taken) == 1

    run(scenario())


def test_a_cancelled_call_is_cut_after_a_moment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(http_wire, "CANCEL_SECONDS", 0.05)

    async def act(asked: Asked) -> None:
        if asked.message.get("method") == "notifications/cancelled":
            asked.answer(202)

    async def scenario() -> None:
        async with Served(act) as served:
            wire = served.wire()
            wire.send(request(5, "tools/call"))
            await served.until(lambda: served.asked)
            wire.send(notification("notifications/cancelled", requestId=5))
            await served.until(lambda: len(served.asked) == 2)
            await served.until(lambda: served.open <= 1)
            assert not served.taken

    run(scenario())


def test_a_stream_that_stays_open_after_the_answer_is_left(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(event_stream, "LINGER_SECONDS", 0.05)

    async def act(asked: Asked) -> None:
        asked.begin()
        asked.event({"jsonrpc": "2.0", "id": asked.message["id"], "result": {}})

    async def scenario() -> None:
        async with Served(act) as served:
            served.wire().send(request(5, "tools/call"))
            await served.response()
            await served.until(lambda: served.open == 0)

    run(scenario())


def test_a_request_of_the_modern_era_repeats_itself_in_its_head() -> None:
    schema = {
        "type": "object",
        "properties": {
            "region": {"type": "string", "x-mcp-header": "Region"},
            "deep": {"type": "object", "properties": {"count": {"type": "integer", "x-mcp-header": "Count"}}},
            "list": {"type": "array", "x-mcp-header": "List"},
        },
    }

    async def act(asked: Asked) -> None:
        tools = [{"name": "größe", "inputSchema": schema}]
        asked.result(tools=tools, resultType="complete")

    async def scenario() -> None:
        async with Served(act) as served:
            wire = served.wire(ModernHttpWire)
            wire.send(request(1, "tools/list"))
            await served.response()
            arguments = {"region": " eu ", "deep": {"count": 3}, "list": [1]}
            wire.send(request(2, "tools/call", name="größe", arguments=arguments))
            await served.response(2)
            head = served.asked[1].fields
            assert head["mcp-protocol-version"] == "2026-07-28"
            assert head["mcp-method"] == "tools/call"
            assert head["mcp-name"] == f"=?base64?{base64.b64encode('größe'.encode()).decode()}?="
            assert head["mcp-param-region"] == f"=?base64?{base64.b64encode(b' eu ').decode()}?="
            assert head["mcp-param-count"] == "3"
            assert "mcp-param-list" not in head
            assert "mcp-session-id" not in head
            wire.close()

    run(scenario())


def test_a_cancellation_of_the_modern_era_closes_the_exchange() -> None:
    async def scenario() -> None:
        async with Served(silent) as served:
            wire = served.wire(ModernHttpWire)
            wire.send(request(5, "tools/call", name="x"))
            await served.until(lambda: served.asked)
            wire.send(notification("notifications/cancelled", requestId=5))
            await served.until(lambda: served.open == 0)
            assert len(served.asked) == 1
            assert not served.taken

    run(scenario())


@pytest.mark.parametrize("listed", [b"[]", b'{"tools":3}', b'{"tools":[1,{"name":"x"}]}', b'{"tools":[{"inputSchema":'])
def test_schemas_that_are_none_are_passed_over(listed: bytes) -> None:
    mirrors = Mirrors()
    mirrors.learn(Message(kind=Kind.RESPONSE, result=listed))
    assert mirrors.of(request(1, "tools/call", name="x", arguments={"a": 1})) == []
