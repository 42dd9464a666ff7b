"""The lives of servers that speak HTTP exchanged under their clients, whose sessions go on at the next one."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from msgspec.structs import replace

from thv_core.model.route import Route, RouteState
from thv_testkit.gateways import McpClient, RunningGateway, free_port
from thv_testkit.steady import calling
from thv_testkit.waiting import eventually

SCRIPTED = "scripted_http_server.py"
Json = dict[str, Any]


def request(method: str, number: int = 9, **params: Any) -> Json:
    return {"jsonrpc": "2.0", "id": number, "method": method, "params": params}


def call(name: str, number: int = 9, **arguments: Any) -> Json:
    return request("tools/call", number, name=name, arguments=arguments)


def asked(client: McpClient, name: str, **arguments: Any) -> tuple[int, Json]:
    status, _, body = client.send("POST", call(name, **arguments))
    return status, json.loads(body)


def seen_by(client: McpClient) -> list[tuple[str, dict[str, str], Json | None]]:
    """Return what the server got, without the interview and the pings of the gateway."""
    seen = asked(client, "seen")[1]["result"]["seen"]
    return [each for each in seen if "thv" not in json.dumps(each)]


Swap = Callable[..., None]
Serve = Callable[..., None]


@pytest.fixture
def serve(gateway: RunningGateway, write_snapshot: Any, control_of: Any) -> Serve:
    """Serve a route and hand over the ways into the lives that speak HTTP."""

    def serve_route(route: Route, *incarnations: str) -> None:
        write_snapshot(gateway, route, outlets=incarnations or [route.incarnation])
        with control_of(gateway) as control:
            missing = control.hear().missing
            for name in missing:
                control.hand_over(name)

    return serve_route


@pytest.fixture
def swap(gateway: RunningGateway, serve: Serve) -> Swap:
    """Put a life beside the current one, and in its place when it is ready."""

    def swap_lives(old: Route, new: Route) -> None:
        lives = [each.incarnation for each in (old, new) if each.transport != "stdio"]
        serve(replace(old, candidate=new), *lives)
        gateway.until(RouteState.READY, new.incarnation)
        serve(replace(new, retiring=(old.incarnation,)), *lives)

    return swap_lives


@pytest.fixture
def pair(http_server: Any, tmp_path: Path) -> Callable[..., tuple[Route, Route]]:
    """Start two lives of a server and return their routes."""

    def start(*command: str) -> tuple[Route, Route]:
        port = free_port()
        servers = [http_server(*command) for _ in (1, 2)]
        old, new = (each.route(tmp_path, port=port, incarnation=f"echo.{n}") for n, each in enumerate(servers, 1))
        return old, new

    return start


@pytest.fixture
def visitor() -> Iterator[Callable[..., McpClient]]:
    """Open a connection, of a session that there is or of none."""
    clients: list[McpClient] = []

    def come(port: int, session: str = "") -> McpClient:
        clients.append(McpClient(port))
        clients[-1].session = session
        return clients[-1]

    yield come
    for each in clients:
        each.close()


@pytest.fixture
def ready(gateway: RunningGateway, serve: Serve, visitor: Any) -> Callable[..., McpClient]:
    """Serve a route and return a client with a session."""

    def serve_and_greet(route: Route, **capabilities: Json) -> McpClient:
        gateway.start()
        serve(route)
        gateway.until(RouteState.READY, route.incarnation)
        client = visitor(route.port)
        client.initialize(**capabilities)
        return client

    return serve_and_greet


def test_clients_that_call_without_a_pause_notice_no_swap(
    gateway: RunningGateway, serve: Serve, swap: Swap, http_server: Any, tmp_path: Path, ready: Any
) -> None:
    servers = [http_server() for _ in range(3)]
    port = free_port()
    routes = [each.route(tmp_path, port=port, incarnation=f"echo.{n}") for n, each in enumerate(servers, 1)]
    ready(routes[0])
    with calling(port, port, port) as callers:
        for old, new, server in zip(routes, routes[1:], servers[1:], strict=False):
            swap(old, new)
            for caller in callers:
                caller.until_answered_by(server.process.pid)
            gateway.until_quiet(old.incarnation)
            serve(new)


def test_clients_that_call_without_a_pause_notice_no_exchange_in_turn(
    gateway: RunningGateway, serve: Serve, http_server: Any, tmp_path: Path, ready: Any
) -> None:
    first, second = http_server(), http_server()
    port = free_port()
    old, new = first.route(tmp_path, port=port), second.route(tmp_path, port=port, incarnation="echo.2")
    ready(old)
    with calling(port, port, port) as callers:
        serve(replace(old, hold=True))
        gateway.until_quiet("echo.1")
        first.stop()
        serve(replace(old, hold=True, candidate=new), "echo.2")
        gateway.until(RouteState.READY, "echo.2")
        serve(new)
        for caller in callers:
            caller.until_answered_by(second.process.pid)


def test_a_stream_that_answers_a_call_comes_from_the_life_that_was_called(
    gateway: RunningGateway, serve: Serve, swap: Swap, pair: Any, stream: Any, ready: Any
) -> None:
    old, new = pair()
    client = ready(old)
    body = call("sleep", seconds=3, steps=3)
    body["params"]["_meta"] = {"progressToken": "mine"}
    working = stream(client, "POST", body)
    assert working.message()["params"]["progress"] == 1
    swap(old, new)
    assert not gateway.until_reported("echo.1", lambda _: True).quiet
    other = client.count()
    assert [working.message()["params"]["progress"] for _ in range(2)] == [2, 3]
    assert working.message()["result"]["content"][0]["text"] == "slept 3 seconds"
    gateway.until_quiet("echo.1")
    serve(new)
    assert client.count() == (other[0] + 1, other[1])


def test_a_question_of_either_life_is_answered_there(
    gateway: RunningGateway, serve: Serve, swap: Swap, pair: Any, stream: Any, ready: Any
) -> None:
    old, new = pair()
    client = ready(old, elicitation={})
    working = stream(client, "POST", call("ask"))
    first = working.message()
    swap(old, new)
    young = stream(client, "POST", call("ask", 10))
    later = young.message()
    # Both lives number what they ask from the beginning.
    assert first["id"] == "echo-1" != later["id"]
    for each, name in ((later, "new"), (first, "old")):
        answer = {"jsonrpc": "2.0", "id": each["id"], "result": {"action": "accept", "content": {"name": name}}}
        assert client.send("POST", answer)[0] == 202
    assert working.message()["result"]["structuredContent"]["content"] == {"name": "old"}
    assert young.message()["result"]["structuredContent"]["content"] == {"name": "new"}


def test_a_cancellation_reaches_the_life_that_was_called(
    gateway: RunningGateway, serve: Serve, swap: Swap, pair: Any, stream: Any, ready: Any
) -> None:
    old, new = pair(SCRIPTED)
    client = ready(old)
    stream(client, "POST", call("slowly"))
    gateway_works(gateway, serve, old)
    swap(old, new)
    cancelled = {"jsonrpc": "2.0", "method": "notifications/cancelled", "params": {"requestId": 9}}
    assert client.send("POST", cancelled)[0] == 202
    assert "notifications/cancelled" not in str(seen_by(client))
    gateway.until_quiet("echo.1")


def gateway_works(gateway: RunningGateway, serve: Serve, route: Route) -> None:
    """Wait until a call is in flight."""

    def is_quiet() -> bool:
        serve(replace(route, hold=True))
        quiet = gateway.until_reported(route.incarnation, lambda _: True).quiet
        serve(route)
        return quiet

    eventually(lambda: not is_quiet())


def ends_in_silence(stream: Any) -> bool:
    """Tell whether a stream ends without a message; an event without data may have begun it."""
    stream.begin()
    return b"{" not in stream.response.read()


def test_the_stream_of_a_session_ends_and_is_opened_again_at_the_new_life(
    gateway: RunningGateway, serve: Serve, swap: Swap, pair: Any, stream: Any, ready: Any
) -> None:
    old, new = pair(SCRIPTED)
    client = ready(old)
    listening = stream(client)
    listening.begin()
    swap(old, new)
    assert ends_in_silence(listening)
    again = stream(client)
    again.begin()
    eventually(lambda: asked(client, "seen")[1]["result"]["streams"] == 1)
    asked(client, "announce")
    while not (said := again.response.readline()).startswith(b"data: {"):
        assert said
    assert json.loads(said[6:])["method"] == "notifications/tools/list_changed"


def test_the_stream_of_a_session_stays_as_long_as_a_call_of_it_is_in_flight(
    gateway: RunningGateway, serve: Serve, swap: Swap, pair: Any, stream: Any, ready: Any
) -> None:
    old, new = pair(SCRIPTED)
    client = ready(old)
    listening, working = stream(client), stream(client, "POST", call("slowly"))
    listening.begin()
    working.message()
    swap(old, new)
    assert asked(client, "ok")[0] == 200
    assert not gateway.until_reported("echo.1", lambda _: True).quiet
    while "result" not in working.message():
        pass
    gateway.until_quiet("echo.1")
    assert ends_in_silence(listening)


def test_a_call_that_is_polled_for_is_finished_by_the_life_that_was_called(
    gateway: RunningGateway, serve: Serve, swap: Swap, pair: Any, ready: Any
) -> None:
    old, new = pair(SCRIPTED)
    client = ready(old)
    assert b"result" not in client.send("POST", call("poll"))[2]
    swap(old, new)
    assert asked(client, "ok")[0] == 200
    assert not gateway.until_reported("echo.1", lambda _: True).quiet
    answer = client.send("GET", None, last_event_id="poll")[2]
    assert json.loads(answer.partition(b"data: ")[2]) == {"jsonrpc": "2.0", "id": 9, "result": {"polled": True}}
    gateway.until_quiet("echo.1")


@pytest.mark.parametrize("by", ["cancellation", "time"])
def test_a_call_that_nobody_polls_for_keeps_a_life_only_so_long(
    gateway: RunningGateway, serve: Serve, swap: Swap, pair: Any, ready: Any, by: str
) -> None:
    old, new = (replace(each, request_timeout=60 if by == "cancellation" else 1.5) for each in pair(SCRIPTED))
    client = ready(old)
    client.send("POST", call("poll"))
    swap(old, new)
    assert not gateway.until_reported("echo.1", lambda _: True).quiet
    if by == "cancellation":
        cancelled = {"jsonrpc": "2.0", "method": "notifications/cancelled", "params": {"requestId": 9}}
        assert client.send("POST", cancelled)[0] == 202
    gateway.until_quiet("echo.1")


def test_a_client_is_introduced_by_its_own_words_and_once(
    gateway: RunningGateway, serve: Serve, swap: Swap, pair: Any, ready: Any, visitor: Any
) -> None:
    old, new = pair(SCRIPTED)
    ready(old)
    client = visitor(old.port)
    client.initialize(roots={"listChanged": True})
    for method, params in (("logging/setLevel", {"level": "error"}), ("resources/subscribe", {"uri": "file:///a"})):
        assert client.send("POST", request(method, **params))[0] == 200
    swap(old, new)
    others = [visitor(old.port, client.session) for _ in range(4)]
    statuses: list[int] = []
    threads = [threading.Thread(target=lambda each=each: statuses.append(asked(each, "ok")[0])) for each in others]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert statuses == [200] * 4
    messages = [(fields, message) for _, fields, message in seen_by(client) if message]
    introductions = [message["params"] for _, message in messages if message["method"] == "initialize"]
    assert introductions == [
        {
            "protocolVersion": "2025-11-25",
            "capabilities": {"roots": {"listChanged": True}},
            "clientInfo": {"name": "testkit", "version": "1"},
        }
    ]
    sessions = {fields["mcp-session-id"] for fields, message in messages if message["method"] == "tools/call"}
    assert len(sessions) == 1
    assert client.session not in sessions
    methods = [message["method"] for fields, message in messages if fields.get("mcp-session-id") in sessions]
    told = ["notifications/initialized", "logging/setLevel", "resources/subscribe"]
    assert [method for method in methods if method != "tools/call"] == told


@pytest.mark.parametrize("length", [0, 20_000])
def test_an_id_that_another_life_gave_to_someone_else_opens_no_session_of_theirs(
    gateway: RunningGateway, serve: Serve, swap: Swap, pair: Any, ready: Any, visitor: Any, length: int
) -> None:
    old, new = pair(SCRIPTED)
    client = ready(old)
    swap(old, new)
    # This server numbers its sessions: the next client of the new life gets the very id that ours has.
    other = visitor(old.port)
    other.initialize(experimental={"words": "x" * length})
    assert other.session != client.session
    used = {}
    for each in (client, other):
        asked(each, "ok")
        used[each.session] = seen_by(each)[-1][1]["mcp-session-id"]
    assert len(set(used.values())) == 2


def test_a_session_that_nobody_knows_is_judged_by_the_server(
    gateway: RunningGateway, serve: Serve, swap: Swap, pair: Any, ready: Any
) -> None:
    old, new = pair()
    client = ready(old)
    swap(old, new)
    client.session = "f" * 32
    status, _, body = client.send("POST", request("tools/list"))
    assert (status, json.loads(body)["error"]["message"]) == (404, "there is no such session")
    client.session = ""
    assert client.send("POST", request("tools/list"))[0] == 400


def test_a_session_that_is_ended_before_the_new_life_knows_it_stays_ended(
    gateway: RunningGateway, serve: Serve, swap: Swap, pair: Any, ready: Any
) -> None:
    old, new = pair()
    client = ready(old)
    swap(old, new)
    assert client.send("DELETE", None)[0] == 204
    assert client.send("POST", request("tools/list"))[0] == 404


def test_ids_are_translated_also_by_the_next_gateway(
    gateway: RunningGateway, serve: Serve, swap: Swap, pair: Any, ready: Any, visitor: Any
) -> None:
    old, new = pair(SCRIPTED)
    ready(old)
    client = visitor(old.port)
    client.initialize()
    swap(old, new)
    asked(client, "ok")
    known = seen_by(client)[-1][1]["mcp-session-id"]
    assert known != client.session
    gateway.kill()
    client.close()
    gateway.start()
    serve(new)
    gateway.until(RouteState.READY, "echo.2")
    assert asked(client, "ok")[0] == 200
    assert seen_by(client)[-1][1]["mcp-session-id"] == known
    assert (gateway.folder / "sessions.json").stat().st_mode & 0o777 == 0o600


def test_a_new_life_that_refuses_a_client_makes_it_initialize_anew(
    gateway: RunningGateway, serve: Serve, swap: Swap, http_server: Any, tmp_path: Path, ready: Any
) -> None:
    port = free_port()
    answer = tmp_path / "answer.json"
    answer.write_text("{}")
    old = http_server(SCRIPTED).route(tmp_path, port=port)
    new = http_server(SCRIPTED, "0", str(answer)).route(tmp_path, port=port, incarnation="echo.2")
    client = ready(old)
    swap(old, new)
    answer.write_text('{"protocolVersion": 5}')
    status, body = asked(client, "ok")
    assert (status, body["error"]["code"]) == (404, -32001)


def test_a_session_speaks_the_revision_that_the_new_life_agreed_to(
    serve: Serve, swap: Swap, http_server: Any, tmp_path: Path, ready: Any
) -> None:
    port = free_port()
    answer = tmp_path / "answer.json"
    answer.write_text('{"protocolVersion": "2025-06-18"}')
    old = http_server(SCRIPTED).route(tmp_path, port=port)
    new = http_server(SCRIPTED, "0", str(answer)).route(tmp_path, port=port, incarnation="echo.2")
    client = ready(old)
    swap(old, new)
    assert client.send("POST", call("ok"), mcp_protocol_version="2025-11-25")[0] == 200
    fields = [fields for _, fields, message in seen_by(client) if message and message["method"] == "tools/call"]
    assert fields[0]["mcp-protocol-version"] == "2025-06-18"


def test_the_id_of_an_event_means_nothing_to_another_life(
    serve: Serve, swap: Swap, pair: Any, stream: Any, ready: Any
) -> None:
    old, new = pair(SCRIPTED)
    client = ready(old)
    swap(old, new)
    for expected in (False, True):
        listening = stream(client, last_event_id="1")
        # The scripted server begins each stream with an event that has an id.
        listening.begin()
        assert listening.response.readline().startswith(b"id: ")
        gets = [fields for verb, fields, _ in asked(client, "seen")[1]["result"]["seen"] if verb == "GET"]
        assert ("last-event-id" in {name.lower() for name in gets[-1]}) is expected
        listening.connection.close()


@pytest.mark.parametrize("held", [True, False])
def test_a_session_goes_on_when_the_transport_changes(
    gateway: RunningGateway, serve: Serve, swap: Swap, pair: Any, start_server: Any, ready: Any, *, held: bool
) -> None:
    old, new = pair()
    piped = start_server(generation=3).route(old.port)
    client = ready(old)
    with calling(old.port) as callers:
        for before, after in ((old, piped), (piped, new)):
            if held:
                lives = [each.incarnation for each in (before, after) if each.transport != "stdio"]
                serve(replace(before, hold=True, candidate=after), *lives)
                gateway.until_quiet(before.incarnation)
                gateway.until(RouteState.READY, after.incarnation)
                serve(after, *lives)
            else:
                swap(before, after)
            assert client.count()[0]
            for caller in callers:
                caller.until_more()


def test_the_clients_of_a_server_without_sessions_find_one_with_them(
    gateway: RunningGateway, serve: Serve, swap: Swap, http_server: Any, tmp_path: Path, start_server: Any, visitor: Any
) -> None:
    port = free_port()
    old = http_server("sessionless_http_server.py").route(tmp_path, port=port)
    new = http_server().route(tmp_path, port=port, incarnation="echo.2")
    gateway.start()
    serve(old)
    assert not gateway.until(RouteState.READY, "echo.1").stateful
    client = visitor(port)
    assert client.send("POST", request("initialize", protocolVersion="2025-11-25", capabilities={}))[0] == 200
    assert client.send("POST", request("tools/list"))[0] == 200
    swap(old, new)
    assert gateway.until(RouteState.READY, "echo.2").stateful
    assert client.count()[0] == 1
    swap(new, start_server(generation=3).route(port))
    assert client.count()[0] == 1
