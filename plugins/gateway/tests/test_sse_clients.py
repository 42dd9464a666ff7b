"""The face of HTTP and SSE: streams, messages posted beside them, and what a client is refused."""

from __future__ import annotations

import asyncio
import http.client
import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from mcp.client.session import ClientSession
from mcp.client.sse import sse_client
from mcp_types import ElicitRequestParams, ElicitResult
from msgspec.structs import replace

from thv_core.model.document import encode_document
from thv_core.model.route import Order, Route, RouteSnapshot, RouteState, Terms
from thv_core.spi.gateways import ROUTES_FILE
from thv_gateway.sse.addresses import posting_url
from thv_gateway.sse.line import SseLine
from thv_gateway.stages.chain import Arrival
from thv_gateway.web.peer import Gone
from thv_testkit.gateways import McpClient, RunningGateway, RunningServer, free_port, listens, serve_command
from thv_testkit.waiting import eventually

Serve = Callable[..., Route]


class Line:
    """One stream, read event by event, and the messages that are posted beside it."""

    def __init__(self, port: int, path: str = "/sse", **headers: str) -> None:
        self.port = port
        self.connection = http.client.HTTPConnection("127.0.0.1", port, timeout=20)
        self.connection.request("GET", path, headers={"accept": "text/event-stream", **_dashed(headers)})
        self.response = self.connection.getresponse()
        self.url = ""
        if self.response.status == 200:
            event, self.url = self.event()
            assert event == "endpoint"

    def event(self) -> tuple[str, str]:
        """Return the next event: its name and its data."""
        name = ""
        for raw in self.response:
            field, _, value = raw.decode().rstrip("\r\n").partition(": ")
            if field == "event":
                name = value
            elif field == "data":
                return name, value
        raise EOFError

    def message(self) -> dict[str, Any]:
        """Return the next message."""
        name, data = self.event()
        assert name == "message"
        return json.loads(data)

    def post(self, body: object, url: str = "", **headers: str) -> tuple[int, bytes]:
        """Post a message on a connection of its own."""
        target = (url or self.url).removeprefix(f"http://127.0.0.1:{self.port}")
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=20)
        data = body if isinstance(body, bytes) else json.dumps(body).encode()
        try:
            connection.request("POST", target, data, {"content-type": "application/json", **_dashed(headers)})
            response = connection.getresponse()
            return response.status, response.read()
        finally:
            connection.close()

    def call(self, method: str, identifier: int = 1, **params: Any) -> dict[str, Any]:
        """Post a request and return the next message."""
        message = {"jsonrpc": "2.0", "id": identifier, "method": method, "params": params}
        assert self.post(message) == (202, b"Accepted")
        return self.message()

    def initialize(self, **capabilities: Any) -> dict[str, Any]:
        """Open the session."""
        info = {"name": "test", "version": "1"}
        answer = self.call("initialize", 0, protocolVersion="2024-11-05", capabilities=capabilities, clientInfo=info)
        assert self.post({"jsonrpc": "2.0", "method": "notifications/initialized"})[0] == 202
        return answer

    def close(self) -> None:
        """Go away."""
        self.response.close()
        self.connection.close()


def _dashed(headers: dict[str, str]) -> dict[str, str]:
    return {name.replace("_", "-"): value for name, value in headers.items()}


@pytest.fixture
def serve(gateway: RunningGateway) -> Serve:
    def served(server: RunningServer, **terms: Any) -> Route:
        route = replace(server.route(free_port()), terms=Terms(**terms))
        if gateway.process is None:
            gateway.start()
        gateway.serve(route)
        gateway.until(RouteState.READY, route.incarnation)
        return route

    return served


@pytest.fixture
def line() -> Iterator[Callable[..., Line]]:
    lines: list[Line] = []

    def opened(route: Route | McpClient, path: str = "/sse", **headers: str) -> Line:
        lines.append(Line(route.port, path, **headers))
        return lines[-1]

    yield opened
    for each in lines:
        each.close()


def test_a_client_of_sse_is_answered_on_its_stream(serve: Serve, start_server: Any, line: Any) -> None:
    route = serve(start_server())
    client = line(route)
    assert client.url.startswith(f"http://127.0.0.1:{route.port}/messages?session_id=")
    assert client.initialize()["result"]["serverInfo"]
    answer = client.call("tools/call", 7, name="echo", arguments={"text": "hällo"})
    assert answer["id"] == 7
    assert answer["result"]["content"][0]["text"] == "hällo"


def test_what_concerns_one_stream_never_reaches_another(serve: Serve, start_server: Any, line: Any) -> None:
    route = serve(start_server())
    one, other = line(route), line(route)
    one.initialize()
    other.initialize()
    assert one.call("tools/call", 1, name="echo", arguments={"text": "one"})["result"]["content"][0]["text"] == "one"
    assert other.call("tools/call", 1, name="echo", arguments={"text": "two"})["result"]["content"][0]["text"] == "two"


def test_a_stranger_is_told_why_it_is_refused(serve: Serve, start_server: Any, line: Any) -> None:
    client = line(serve(start_server()))
    client.initialize()
    ping = {"jsonrpc": "2.0", "id": 3, "method": "ping"}
    status, body = client.post(ping, url="/messages")
    assert (status, json.loads(body)["id"]) == (400, 3)
    status, body = client.post(ping, url="/messages?session_id=guessed")
    assert (status, json.loads(body)["error"]["code"]) == (404, -32001)
    assert client.post(b"{")[0] == 400
    assert client.post(b"[]")[0] == 400
    assert client.post(ping, origin="http://evil.example")[0] == 403
    assert client.post(b" " * (9 * 1024 * 1024))[0] == 413


@pytest.mark.parametrize(("method", "path"), [("POST", "/sse"), ("GET", "/messages"), ("DELETE", "/sse")])
def test_another_method_is_not_allowed(serve: Serve, start_server: Any, method: str, path: str) -> None:
    connection = http.client.HTTPConnection("127.0.0.1", serve(start_server()).port, timeout=20)
    connection.request(method, path, b"{}", {"content-type": "application/json"})
    response = connection.getresponse()
    assert response.status == 405
    assert response.headers["allow"] == ("GET" if path == "/sse" else "POST")
    connection.close()


def test_a_page_of_somebody_else_opens_no_stream(serve: Serve, start_server: Any, line: Any) -> None:
    assert line(serve(start_server()), origin="http://evil.example").response.status == 403


def test_the_end_of_a_stream_ends_its_session(serve: Serve, start_server: Any, line: Any, gateway: Any) -> None:
    route = serve(start_server())
    client = line(route)
    client.initialize()
    url = client.url
    client.close()
    other = line(route)
    other.initialize()
    assert eventually(lambda: other.post({"jsonrpc": "2.0", "id": 1, "method": "ping"}, url=url)[0] == 404)
    sessions = gateway.folder / "sessions.json"
    assert eventually(lambda: len(json.loads(sessions.read_bytes())["echo"]["ended"]) == 1)


def test_the_prefix_of_the_terms_begins_the_address(serve: Serve, start_server: Any, line: Any) -> None:
    route = serve(start_server(), endpoint_prefix="/tools")
    for path in ("/sse", "/tools/sse"):
        client = line(route, path)
        assert client.url.startswith(f"http://127.0.0.1:{route.port}/tools/messages?session_id=")
        assert client.initialize()["result"]


def test_another_prefix_is_served_at_once(serve: Serve, start_server: Any, line: Any, gateway: RunningGateway) -> None:
    route = serve(start_server())
    assert line(route, "/other/sse").response.status == 404
    gateway.serve(replace(route, terms=Terms(endpoint_prefix="/other")))
    assert eventually(lambda: line(route, "/other/sse").response.status == 200)


def arrived(**fields: str) -> Arrival:
    named = {name.replace("_", "-").encode(): value.encode() for name, value in fields.items()}
    return Arrival(workload="x", method="GET", path="/sse", headers=(), fields={b"host": b"localhost:1", **named})


def test_the_headers_of_a_proxy_are_believed_only_where_the_terms_say_so() -> None:
    said = arrived(
        x_forwarded_proto="https", x_forwarded_host="example.com", x_forwarded_port="8443", x_forwarded_prefix="/a/"
    )
    assert posting_url(said, Terms(), "s") == b"http://localhost:1/messages?session_id=s"
    trusting = Terms(trust_proxy_headers=True)
    assert posting_url(said, trusting, "s") == b"https://example.com:8443/a/messages?session_id=s"
    prefixed = Terms(trust_proxy_headers=True, endpoint_prefix="/b")
    assert posting_url(said, prefixed, "s") == b"https://example.com:8443/b/messages?session_id=s"


@pytest.mark.parametrize("value", ["evil\r\ndata: x", "a b", "//evil", "x/y", "@evil", ""])
def test_a_malformed_header_of_a_proxy_is_passed_over(value: str) -> None:
    said = arrived(x_forwarded_proto=value, x_forwarded_host=value, x_forwarded_prefix=value)
    url = posting_url(said, Terms(trust_proxy_headers=True), "s")
    assert url == b"http://localhost:1/messages?session_id=s"


def test_a_call_in_flight_goes_on_when_others_are_posted_on_the_same_connection(
    serve: Serve, start_server: Any, line: Any
) -> None:
    client = line(serve(start_server("scripted_server.py", script={})))
    client.initialize()
    connection = http.client.HTTPConnection("127.0.0.1", client.port, timeout=20)
    target = client.url.removeprefix(f"http://127.0.0.1:{client.port}")
    for number, method in ((1, "tools/call"), (2, "ping")):
        body = {"jsonrpc": "2.0", "id": number, "method": method, "params": {"name": "never"}}
        connection.request("POST", target, json.dumps(body), {"content-type": "application/json"})
        response = connection.getresponse()
        assert (response.status, response.read()) == (202, b"Accepted")
    connection.close()


def test_the_real_client_works_with_progress_logs_and_questions(serve: Serve, start_server: Any) -> None:
    route = serve(start_server("sdk_server.py"))
    seen: list[float] = []

    async def elicit(_: object, params: ElicitRequestParams) -> ElicitResult:
        return ElicitResult(action="accept", content={"name": "Ada"})

    async def progress(done: float, total: float | None, message: str | None) -> None:
        seen.append(done)

    async def scenario() -> tuple[str, str]:
        async with (
            sse_client(f"http://127.0.0.1:{route.port}/sse") as streams,
            ClientSession(*streams, elicitation_callback=elicit) as session,
        ):
            await session.initialize()
            climbed = await session.call_tool("climb", {"steps": 3}, progress_callback=progress)
            greeted = await session.call_tool("greet", {})
            return climbed.content[0].text, greeted.content[0].text

    assert asyncio.run(asyncio.wait_for(scenario(), 20)) == ("climbed 3", "hello Ada")
    assert seen == [1, 2, 3]


def test_an_answer_that_a_server_of_http_lets_its_client_poll_for_comes_on_the_stream(
    gateway: RunningGateway, http_server: Any, reach: Any, line: Any
) -> None:
    client = line(reach(gateway, http_server("scripted_http_server.py"), greet=False))
    client.initialize()
    assert client.call("tools/call", 4, name="poll")["result"] == {"polled": True}
    streamed = client.call("tools/call", 5, name="stream")
    assert streamed["method"] == "notifications/message"
    assert client.message()["result"] == {"ok": True}
    assert client.call("tools/call", 6, name="html")["error"]


def test_a_stream_that_a_server_of_http_breaks_off_ends_with_an_error(
    gateway: RunningGateway, http_server: Any, reach: Any, line: Any
) -> None:
    client = line(reach(gateway, http_server("scripted_http_server.py"), greet=False))
    client.initialize()
    assert client.call("tools/call", 4, name="cut")["method"] == "notifications/message"
    assert client.message()["error"]["code"] == -32603


def test_what_a_server_of_http_says_of_its_own_accord_comes_on_the_stream(
    gateway: RunningGateway, http_server: Any, reach: Any, line: Any
) -> None:
    server = http_server("scripted_http_server.py")
    client = line(reach(gateway, server, greet=False))
    client.initialize()

    def listened() -> bool:
        return client.call("tools/call", 3, name="seen")["result"]["streams"] >= 1

    assert eventually(listened)
    body = {"jsonrpc": "2.0", "id": 4, "method": "tools/call", "params": {"name": "announce"}}
    assert client.post(body)[0] == 202
    assert {client.message().get("method"), client.message().get("method")} == {
        "notifications/tools/list_changed",
        None,
    }


def test_a_server_that_dies_ends_the_call_and_not_the_stream(serve: Serve, start_server: Any, line: Any) -> None:
    server = start_server()
    client = line(serve(server))
    client.initialize()
    server.stop()
    message = {"jsonrpc": "2.0", "id": 5, "method": "tools/call", "params": {"name": "count", "arguments": {}}}
    status, body = client.post(message)
    answer = client.message() if status == 202 else json.loads(body)
    assert answer["id"] == 5
    assert "error" in answer


def test_a_drain_ends_the_streams_on_which_nothing_is_answered(
    serve: Serve, start_server: Any, line: Any, gateway: RunningGateway
) -> None:
    client = line(serve(start_server()))
    client.initialize()
    gateway.order(Order.DRAIN)
    assert gateway.ended() == 0
    with pytest.raises(EOFError):
        client.event()


def test_a_client_that_leaves_amid_a_call_leaves_nothing(serve: Serve, start_server: Any, line: Any) -> None:
    route = serve(start_server("scripted_server.py", script={}))
    message = {"jsonrpc": "2.0", "id": 5, "method": "tools/call", "params": {"name": "never"}}
    for _ in range(3):
        client = line(route)
        client.initialize()
        assert client.post(message) == (202, b"Accepted")
        url = client.url
        client.close()
        other = line(route)
        assert eventually(lambda url=url, other=other: other.post(message, url=url)[0] == 404)
        other.close()


def test_a_stream_is_full_when_too_much_waits_to_be_read() -> None:
    async def scenario() -> None:
        line = SseLine(None)
        line.put(b"x" * 300_000)
        writing = asyncio.create_task(line.write(b"last"))
        await asyncio.sleep(0)
        assert line.is_full
        assert not writing.done()
        assert (await line.next()).endswith(b"last\r\n\r\n")
        await writing
        assert not line.is_full
        line.put(b"x" * (65 * 1024 * 1024))
        assert line.is_closed
        with pytest.raises(Gone):
            await line.write(b"more")

    asyncio.run(asyncio.wait_for(scenario(), 10))


def test_another_introduction_on_a_stream_ends_the_session_before(
    serve: Serve, start_server: Any, line: Any, gateway: Any
) -> None:
    client = line(serve(start_server()))
    client.initialize()
    client.initialize()
    sessions = gateway.folder / "sessions.json"
    assert eventually(lambda: len(json.loads(sessions.read_bytes())["echo"]["ended"]) == 1)
    answer = client.call("tools/call", 7, name="echo", arguments={"text": "still here"})
    assert answer["result"]["content"][0]["text"] == "still here"
    client.close()
    assert eventually(lambda: len(json.loads(sessions.read_bytes())["echo"]["ended"]) == 2)


def test_a_message_finds_its_stream_by_the_listener_of_all_workloads(
    serve: Serve, start_server: Any, line: Any, gateway: RunningGateway
) -> None:
    route, port = serve(start_server()), free_port()
    snapshot = RouteSnapshot(routes=(route,), shared_port=port)
    (gateway.folder / ROUTES_FILE).write_bytes(encode_document(snapshot))
    gateway.order(Order.RELOAD)
    eventually(lambda: listens(port))
    own, common = line(route), line(replace(route, port=port), "/echo/sse")
    assert common.url.startswith(f"http://127.0.0.1:{port}/echo/messages?session_id=")
    for client, elsewhere, prefix in ((own, common, "/echo"), (common, own, "")):
        client.initialize()
        name = client.url.partition("?")[2]
        message = {"jsonrpc": "2.0", "id": 5, "method": "ping"}
        assert elsewhere.post(message, f"{prefix}/messages?{name}")[0] == 202
        assert client.message()["id"] == 5


def test_a_message_finds_its_stream_by_whichever_process_it_comes(tmp_path: Path, line: Any, http_server: Any) -> None:
    server = http_server()
    command = serve_command("thv_gateway.gateway:HttpGateway", workers=2)
    gateway = RunningGateway(command, tmp_path / "several")
    url = f"http://127.0.0.1:{server.target_port}/mcp"
    route = server.route(tmp_path, target_port=0, target_url=url)
    gateway.write(route)
    gateway.start().until(RouteState.READY, route.incarnation)
    try:
        for client in [line(route) for _ in range(6)]:
            client.initialize()
            for number in range(6):
                assert client.call("ping", number)["id"] == number
    finally:
        gateway.cut_lifeline()
        gateway.ended()
