"""Servers of HTTP and SSE behind clients of streamable HTTP and of SSE."""

from __future__ import annotations

import asyncio
import json
import os
import signal
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from mcp.client.session import ClientSession
from mcp.client.sse import sse_client
from mcp.client.streamable_http import streamable_http_client
from mcp_types import ElicitRequestParams, ElicitResult
from msgspec.structs import replace

from thv_core.model.route import Liveness, Route, RouteState
from thv_testkit.gateways import McpClient, RunningGateway, free_port
from thv_testkit.waiting import eventually

Another = Callable[..., McpClient]


def ok(client: McpClient) -> dict[str, Any]:
    """Return what the server tells of the session of a client."""
    return client.tool("ok")


def failed(client: McpClient, tool: str) -> tuple[int, dict[str, Any]]:
    """Call a tool that comes to nothing; return the status and the error."""
    params = {"name": tool, "arguments": {}}
    body = {"jsonrpc": "2.0", "id": 9, "method": "tools/call", "params": params}
    status, _, answer = client.send("POST", body)
    return status, json.loads(answer)["error"]


def streams(client: McpClient) -> int:
    return len(ok(client)["streams"])


@pytest.fixture
def served(gateway: RunningGateway, http_server: Any, reach: Any) -> Callable[..., McpClient]:
    def serve(*arguments: str, **route: Any) -> McpClient:
        server = http_server("scripted_sse_server.py", *arguments)
        serve.server = server
        return reach(gateway, server, **({"connectors": 16, "transport": "sse"} | route))

    return serve


def test_each_session_has_a_stream_of_its_own(served: Any, another: Another) -> None:
    one = served()
    other = another(one, sampling={})
    first, second = ok(one), ok(other)
    assert first["client"] == second["client"] == "testkit"
    assert first["session"] != second["session"]
    assert (first["capabilities"], second["capabilities"]) == ({}, {"sampling": {}})


def test_the_end_of_a_session_ends_its_stream(served: Any, another: Another) -> None:
    one = served()
    other = another(one)
    assert streams(one) == 3
    assert other.send("DELETE", None)[0] == 204
    assert eventually(lambda: streams(one) == 2)
    assert other.send("POST", {"jsonrpc": "2.0", "id": 1, "method": "ping"})[0] == 404


def test_the_tools_are_reported(served: Any, gateway: RunningGateway) -> None:
    served()
    report = gateway.until(RouteState.READY, "echo.1")
    assert (report.tools, report.protocol_version, report.eras) == (("ok",), "2024-11-05", ("legacy",))


def test_what_a_server_says_reaches_the_session_of_its_stream_alone(served: Any, another: Another, stream: Any) -> None:
    one = served()
    other = another(one)
    mine, theirs = ok(one)["session"], ok(other)["session"]
    told = stream(one, "POST", {"jsonrpc": "2.0", "id": 4, "method": "tools/call", "params": {"name": "tell"}})
    assert told.message()["params"]["data"] == mine != theirs
    assert told.message()["result"] == {"ok": True}


def test_a_session_whose_stream_was_cut_goes_on_with_all_that_it_asked_for(served: Any) -> None:
    client = served()
    before = ok(client)
    level = {"jsonrpc": "2.0", "id": 2, "method": "logging/setLevel", "params": {"level": "error"}}
    assert client.send("POST", level)[0] == 200
    subscribe = {"jsonrpc": "2.0", "id": 3, "method": "resources/subscribe", "params": {"uri": "a:b"}}
    assert client.send("POST", subscribe)[0] == 200
    status, error = failed(client, "cut")
    assert (status, error["code"]) == (502, -32603)
    assert eventually(lambda: ok(client)["subscribed"] == "a:b")
    after = ok(client)
    assert after["session"] != before["session"]
    assert (after["client"], after["level"]) == ("testkit", "error")


def test_garbage_on_a_stream_is_passed_over(served: Any) -> None:
    assert served().tool("garbage") == {"ok": True}


def test_a_call_without_an_answer_ends_in_time_and_the_session_goes_on(served: Any) -> None:
    client = served(request_timeout=1.0)
    assert failed(client, "never")[0] == 504
    assert ok(client)["client"] == "testkit"


def test_a_server_that_dies_is_gone(served: Any, gateway: RunningGateway) -> None:
    client = served()
    assert failed(client, "die")[0] == 502
    gateway.until(RouteState.GONE, "echo.1")
    assert failed(client, "ok")[0] == 503


def test_a_server_that_hangs_is_found_out(served: Any, gateway: RunningGateway) -> None:
    terms = Liveness(interval=0.2, timeout=0.2, failures=2)
    client = served(liveness=terms, request_timeout=1.0)
    os.kill(served.server.process.pid, signal.SIGSTOP)
    assert "answers no ping" in gateway.until(RouteState.HUNG, "echo.1").reason
    assert failed(client, "ok")[0] == 503


@pytest.mark.parametrize(
    ("mode", "reason"),
    [("elsewhere", "another origin"), ("refusing", "HTTP 403"), ("silent", "does not say where")],
)
def test_a_server_that_begins_no_stream_as_it_should_fails(
    gateway: RunningGateway,
    http_server: Any,
    mode: str,
    reason: str,
    write_snapshot: Any,
    control_of: Any,
    tmp_path: Path,
) -> None:
    server = http_server("scripted_sse_server.py", mode)
    gateway.start()
    write_snapshot(gateway, server.route(tmp_path, transport="sse", start_timeout=12.0))
    with control_of(gateway) as control:
        control.hear()
        control.hand_over("echo.1", 8)
    assert reason in gateway.until(RouteState.FAILED, "echo.1").reason


def test_a_successor_of_the_gateway_goes_on_with_a_session(
    served: Any, gateway: RunningGateway, control_of: Any
) -> None:
    client = served()
    client.close()
    gateway.kill()
    gateway.start()
    with control_of(gateway) as control:
        control.hear()
        control.hand_over("echo.1", 16)
    gateway.until(RouteState.READY, "echo.1")
    assert ok(client)["client"] == "testkit"


def test_the_session_that_is_idle_longest_gives_its_place_and_comes_back(served: Any, another: Another) -> None:
    # Of 8 connections 5 are for the streams of clients.
    clients = [served(connectors=8)]
    clients += [another(clients[0]) for _ in range(5)]
    assert streams(clients[-1]) == 6
    assert [ok(client)["client"] for client in clients] == ["testkit"] * 6
    assert eventually(lambda: streams(clients[-1]) == 6)


def test_too_many_sessions_at_work_are_told_to_come_again(served: Any, another: Another, stream: Any) -> None:
    client = served(connectors=8)
    listening = [client, *(another(client) for _ in range(4))]
    for each in listening:
        stream(each).begin()
    body = {"jsonrpc": "2.0", "id": 1, "method": "initialize", "params": {"capabilities": {}}}
    body["params"] |= {"protocolVersion": "2025-06-18", "clientInfo": {"name": "x", "version": "1"}}
    client.session, known = "", client.session
    status, headers, answer = client.send("POST", body)
    assert (status, headers["retry-after"], json.loads(answer)["id"]) == (503, "1", 1)
    client.session = known
    assert ok(client)["client"] == "testkit"


MODERN = {
    "io.modelcontextprotocol/protocolVersion": "2026-07-28",
    "io.modelcontextprotocol/clientInfo": {"name": "modern", "version": "1"},
    "io.modelcontextprotocol/clientCapabilities": {},
}


def test_modern_clients_that_are_the_same_share_one_stream(served: Any) -> None:
    client = served()
    seen = [asked_in_the_modern_era(client), asked_in_the_modern_era(client)]
    assert [each["client"] for each in seen] == ["modern"] * 2
    assert seen[0]["session"] == seen[1]["session"]
    other = asked_in_the_modern_era(client, sampling={})
    assert other["session"] != seen[0]["session"]
    assert other["capabilities"] == {"sampling": {}}


def asked_in_the_modern_era(client: McpClient, **capabilities: Any) -> dict[str, Any]:
    """Call ``ok`` without a session."""
    meta = MODERN | {"io.modelcontextprotocol/clientCapabilities": capabilities}
    params = {"name": "ok", "arguments": {}, "_meta": meta}
    body = {"jsonrpc": "2.0", "id": 1, "method": "tools/call", "params": params}
    fields = {"mcp_protocol_version": "2026-07-28", "mcp_method": "tools/call", "mcp_name": "ok"}
    status, _, answer = client.send("POST", body, **fields)
    assert status == 200, answer
    return json.loads(answer)["result"]


def test_a_server_somewhere_else_is_reached_by_its_url(
    gateway: RunningGateway, http_server: Any, tmp_path: Path
) -> None:
    server = http_server("scripted_sse_server.py")
    url = f"http://127.0.0.1:{server.target_port}/sse"
    route = server.route(tmp_path, transport="sse", target_port=0, target_url=url)
    gateway.start().serve(route)
    gateway.until(RouteState.READY, "echo.1")
    client = McpClient(route.port)
    client.initialize()
    assert ok(client)["client"] == "testkit"
    # It is out of reach for a while, and nobody here could start it anew.
    assert failed(client, "die")[0] == 502
    assert failed(client, "ok")[0] == 503
    gateway.until(RouteState.READY, "echo.1")
    client.close()


def test_a_session_goes_on_at_the_next_life_of_its_server(
    gateway: RunningGateway, http_server: Any, tmp_path: Path, write_snapshot: Any, control_of: Any
) -> None:
    lives = [http_server("scripted_sse_server.py") for _ in (1, 2)]
    port = free_port()
    old, new = (
        each.route(tmp_path, transport="sse", port=port, incarnation=f"echo.{number}")
        for number, each in enumerate(lives, 1)
    )
    gateway.start()

    def serve(route: Route) -> None:
        write_snapshot(gateway, route, outlets=["echo.1", "echo.2"])

    with control_of(gateway) as control:
        serve(old)
        for name in eventually(lambda: control.hear().missing):
            control.hand_over(name)
        gateway.until(RouteState.READY, "echo.1")
        client = McpClient(port)
        client.initialize(sampling={})
        assert ok(client)["capabilities"] == {"sampling": {}}
        serve(replace(old, candidate=new))
        gateway.until(RouteState.READY, "echo.2")
        serve(replace(new, retiring=("echo.1",)))
        gateway.until_quiet("echo.1")
        lives[0].stop()
        assert ok(client)["capabilities"] == {"sampling": {}}
    client.close()


@pytest.mark.parametrize("over", ["http", "sse"])
def test_the_real_client_and_the_real_server_understand_each_other(
    gateway: RunningGateway, http_server: Any, reach: Any, over: str
) -> None:
    port = reach(gateway, http_server("sdk_sse_server.py"), 16, greet=False, transport="sse").port
    seen: list[float] = []

    async def elicit(_: object, params: ElicitRequestParams) -> ElicitResult:
        return ElicitResult(action="accept", content={"name": "Ada"})

    async def progress(done: float, total: float | None, message: str | None) -> None:
        seen.append(done)

    def opened() -> Any:
        origin = f"http://127.0.0.1:{port}"
        return sse_client(f"{origin}/sse") if over == "sse" else streamable_http_client(f"{origin}/mcp")

    async def scenario() -> tuple[str, str]:
        async with opened() as streams, ClientSession(*streams[:2], elicitation_callback=elicit) as session:
            await session.initialize()
            climbed = await session.call_tool("climb", {"steps": 3}, progress_callback=progress)
            greeted = await session.call_tool("greet", {})
            return climbed.content[0].text, greeted.content[0].text

    assert asyncio.run(asyncio.wait_for(scenario(), 20)) == ("climbed 3", "hello Ada")
    assert seen == [1, 2, 3]
