"""Servers that speak HTTP themselves, behind a running gateway: the sockets to them are handed over."""

from __future__ import annotations

import http.client
import json
import time
from pathlib import Path
from typing import Any

import pytest

from thv_core.model.route import Order, RouteState
from thv_testkit.gateways import McpClient, RunningGateway
from thv_testkit.waiting import eventually

SCRIPTED = "scripted_http_server.py"
MODERN = "io.modelcontextprotocol/"


def call(name: str, **arguments: Any) -> dict[str, Any]:
    params = {"name": name, "arguments": arguments}
    return {"jsonrpc": "2.0", "id": 5, "method": "tools/call", "params": params}


def asked(client: McpClient, name: str, **arguments: Any) -> tuple[int, dict[str, Any]]:
    status, _, body = client.send("POST", call(name, **arguments))
    return status, json.loads(body)


def test_its_tools_and_its_revision_are_reported(gateway: RunningGateway, http_server: Any, reach: Any) -> None:
    reach(gateway, http_server())
    report = gateway.until(RouteState.READY, "echo.1")
    assert "count" in report.tools
    assert report.protocol_version == "2025-11-25"


def test_tools_are_listed_over_all_pages_in_a_session_that_is_ended(
    gateway: RunningGateway, http_server: Any, reach: Any
) -> None:
    client = reach(gateway, http_server(SCRIPTED))
    assert gateway.until(RouteState.READY, "echo.1").tools == ("first", "second")
    seen = asked(client, "seen")[1]["result"]["seen"]
    methods = [message["method"] if message else verb for verb, _, message in seen]
    assert methods[:5] == ["initialize", "notifications/initialized", "tools/list", "tools/list", "DELETE"]


def test_calls_go_there_and_back(gateway: RunningGateway, http_server: Any, reach: Any) -> None:
    client = reach(gateway, http_server())
    assert client.tool("echo", text="hällo\n")["content"][0]["text"] == "hällo\n"
    assert client.count()[0] == 1
    assert client.count()[0] == 2


def test_a_server_may_take_its_time_to_listen(gateway: RunningGateway, http_server: Any, reach: Any) -> None:
    assert reach(gateway, http_server(SCRIPTED, "0.5")).session


def test_a_server_that_does_not_listen_fails_with_a_hint(
    gateway: RunningGateway, http_server: Any, tmp_path: Path, control_of: Any, write_snapshot: Any
) -> None:
    route = http_server(SCRIPTED, "60").route(tmp_path, start_timeout=0.5)
    write_snapshot(gateway.start(), route)
    with control_of(gateway) as control:
        control.hear()
        control.hand_over()
    report = gateway.until(RouteState.FAILED, "echo.1")
    assert report.error_code == "start-failed"
    assert report.reason == (
        f"nothing listens on port {route.target_port} in the server's own network;"
        " it may be told by PORT or its arguments"
    )


def test_its_sessions_are_the_servers_own(gateway: RunningGateway, http_server: Any, reach: Any) -> None:
    client = reach(gateway, http_server())
    assert len(client.session) == 32
    client.session = "f" * 32
    status, _, body = client.send("POST", {"jsonrpc": "2.0", "id": 1, "method": "tools/list"})
    assert (status, json.loads(body)["error"]["message"]) == (404, "there is no such session")
    client.session = "with space"
    assert client.send("POST", {"jsonrpc": "2.0", "id": 1, "method": "ping"})[0] == 400


def test_an_id_in_a_refusal_is_not_passed_on(gateway: RunningGateway, http_server: Any, reach: Any) -> None:
    client = reach(gateway, http_server(SCRIPTED))
    client.session = "forgotten"
    status, headers, body = client.send("POST", call("ok"))
    assert (status, json.loads(body)["error"]["code"]) == (404, -32001)
    assert "mcp-session-id" not in headers


def test_a_session_survives_a_restart_of_the_gateway(
    gateway: RunningGateway, http_server: Any, reach: Any, control_of: Any
) -> None:
    client = reach(gateway, http_server())
    number, pid = client.count()
    gateway.kill()
    client.close()
    gateway.start()
    with control_of(gateway) as control:
        assert control.hear().missing == ("echo.1",)
        assert control.hand_over().missing == ()
    report = gateway.until(RouteState.READY, "echo.1")
    assert "count" in report.tools
    assert client.count() == (number + 1, pid)


def test_a_session_is_ended_by_its_client(gateway: RunningGateway, http_server: Any, reach: Any) -> None:
    client = reach(gateway, http_server())
    assert client.send("DELETE", None)[0] == 200
    assert client.send("POST", {"jsonrpc": "2.0", "id": 1, "method": "ping"})[0] == 404


def test_what_the_server_refuses_is_refused_as_it_says(gateway: RunningGateway, http_server: Any, reach: Any) -> None:
    client = reach(gateway, http_server())
    status, headers, _ = client.send("GET", None)
    assert (status, headers["allow"]) == (405, "POST, DELETE")
    status, _, body = client.send("POST", call("nothing"))
    assert json.loads(body)["error"]["message"] == "there is no tool nothing"


def test_only_headers_of_the_protocol_reach_the_server(gateway: RunningGateway, http_server: Any, reach: Any) -> None:
    server = http_server(SCRIPTED)
    client = reach(gateway, server)
    secret = {"authorization": "Bearer x", "cookie": "x", "mcp_name": "seen", "mcp_param_x": "1"}
    _, _, body = client.send("POST", call("seen"), **secret)
    _, fields, _ = json.loads(body)["result"]["seen"][-1]
    assert fields == {
        "host": f"127.0.0.1:{server.target_port}",
        "content-type": "application/json",
        "accept": "application/json, text/event-stream",
        "content-length": fields["content-length"],
        "mcp-session-id": client.session,
        "mcp-name": "seen",
        "mcp-param-x": "1",
    }


@pytest.mark.parametrize(
    ("tool", "status", "text"),
    [
        ("html", 502, "echo answered HTTP 200 with what is not MCP"),
        ("redirect", 502, "echo answered HTTP 307 with what is not MCP"),
        ("accepted", 502, "echo answered HTTP 202 with what is not MCP"),
        ("strange", 502, "echo answered HTTP 777 with what is not MCP"),
        ("other", 502, "echo answered HTTP 200 with what is not MCP"),
        ("hang-up", 502, "echo closed the connection"),
        ("not-http", 502, "echo answered with what is not HTTP"),
    ],
)
def test_answers_that_are_none_are_errors(
    tool: str, status: int, text: str, gateway: RunningGateway, http_server: Any, reach: Any
) -> None:
    client = reach(gateway, http_server(SCRIPTED))
    found, body = asked(client, tool)
    assert (found, body["id"], body["error"]["message"]) == (status, 5, text)
    assert asked(client, "ok")[0] == 200


def test_an_error_of_the_server_is_relayed(gateway: RunningGateway, http_server: Any, reach: Any) -> None:
    client = reach(gateway, http_server(SCRIPTED))
    status, headers, body = client.send("POST", call("broken"))
    assert (status, headers["content-type"], body) == (500, "text/plain", b"it broke")


def test_large_answers_pass_within_bounds(gateway: RunningGateway, http_server: Any, reach: Any) -> None:
    client = reach(gateway, http_server(SCRIPTED))
    assert len(asked(client, "large", size=20 << 20)[1]["result"]["x"]) == 20 << 20
    status, body = asked(client, "large", size=33 << 20)
    assert (status, body["error"]["message"]) == (502, f"echo answered with more than {32 << 20} bytes")
    assert asked(client, "ok")[0] == 200


def test_events_are_relayed_one_by_one(gateway: RunningGateway, http_server: Any, reach: Any) -> None:
    client = reach(gateway, http_server(SCRIPTED))
    status, headers, body = client.send("POST", call("stream"))
    assert (status, headers["content-type"]) == (200, "text/event-stream")
    assert body.split(b"\r\n\r\n") == [
        b": keep-alive",
        b'id: 7\r\nevent: message\r\nretry: 5\r\ndata: {"jsonrpc":"2.0","method":"notifications/message",'
        b'"params":{"data":"1"}}',
        b'data: {"jsonrpc":"2.0","id":5,"result":{"ok": true}}',
        b"",
    ]


def test_events_come_at_once(gateway: RunningGateway, http_server: Any, reach: Any, stream: Any) -> None:
    client = reach(gateway, http_server(SCRIPTED))
    began = time.monotonic()
    assert stream(client, "POST", call("slowly")).message()["method"] == "notifications/message"
    assert time.monotonic() - began < 0.7


def test_a_stream_that_breaks_off_ends_with_an_error(gateway: RunningGateway, http_server: Any, reach: Any) -> None:
    client = reach(gateway, http_server(SCRIPTED))
    events = client.send("POST", call("cut"))[2].split(b"\r\n\r\n")
    assert json.loads(events[1].partition(b"data: ")[2]) == {
        "jsonrpc": "2.0",
        "id": 5,
        "error": {"code": -32603, "message": "echo closed the connection"},
    }


def test_a_sessions_own_stream_is_relayed_and_ends_with_its_client(
    gateway: RunningGateway, http_server: Any, reach: Any, stream: Any
) -> None:
    client = reach(gateway, http_server(SCRIPTED))
    listening = stream(client)
    assert listening.begin() == "text/event-stream"
    eventually(lambda: asked(client, "seen")[1]["result"]["streams"] == 1)
    assert asked(client, "announce")[0] == 200
    lines = [listening.response.readline() for _ in range(5)]
    assert lines[:3] == [b"id: 1\r\n", b"data: \r\n", b"\r\n"]
    assert b"list_changed" in lines[4]
    listening.response.close()
    listening.connection.close()
    eventually(lambda: asked(client, "seen")[1]["result"]["streams"] == 0)


def test_streams_leave_room_for_calls(gateway: RunningGateway, http_server: Any, reach: Any, stream: Any) -> None:
    client = reach(gateway, http_server(SCRIPTED), connectors=4)
    streams = [stream(client) for _ in range(4)]
    assert [each.begin() for each in streams[:3]] == ["text/event-stream"] * 3
    streams[3].begin()
    assert streams[3].response.status == 503
    assert asked(client, "ok")[0] == 200


def test_a_call_goes_on_without_its_client(gateway: RunningGateway, http_server: Any, reach: Any, stream: Any) -> None:
    client = reach(gateway, http_server(), connectors=2)
    lost = stream(client, "POST", call("sleep", seconds=0.5))
    lost.connection.close()
    assert client.tool("echo", text="x")
    assert client.count()[0] == 1


def test_a_server_that_does_not_answer_is_given_up(gateway: RunningGateway, http_server: Any, reach: Any) -> None:
    client = reach(gateway, http_server(SCRIPTED), request_timeout=0.5)
    status, body = asked(client, "never")
    assert (status, body["error"]["message"]) == (504, "The server did not answer in time")
    assert asked(client, "ok")[0] == 200


def test_a_server_that_ends_is_reported_gone(gateway: RunningGateway, http_server: Any, reach: Any) -> None:
    server = http_server()
    client = reach(gateway, server)
    server.stop()
    assert client.send("POST", call("ok"))[0] in (502, 503)
    report = gateway.until(RouteState.GONE, "echo.1")
    assert report.reason == f"echo accepts no connections on port {server.target_port} any more"
    assert client.send("POST", call("ok"))[0] == 503


def test_a_successor_is_served_on_the_same_port(
    gateway: RunningGateway, http_server: Any, reach: Any, tmp_path: Path, control_of: Any, write_snapshot: Any
) -> None:
    client = reach(gateway, http_server())
    successor = http_server()
    write_snapshot(gateway, successor.route(tmp_path, port=client.port, incarnation="echo.2"))
    with control_of(gateway) as control:
        assert control.hear().missing == ("echo.2",)
        control.hand_over("echo.2")
    gateway.until(RouteState.READY, "echo.2")
    assert client.count() == (1, successor.process.pid)


def test_a_drain_ends_streams_and_finishes_calls(
    gateway: RunningGateway, http_server: Any, reach: Any, stream: Any
) -> None:
    client = reach(gateway, http_server(SCRIPTED))
    listening, waiting = stream(client), stream(client, "POST", call("slowly"))
    listening.begin()
    waiting.begin()
    gateway.order(Order.DRAIN)
    assert not [line for line in listening.response if b"error" in line]
    assert b'"ok": true' in waiting.response.read()
    assert gateway.ended() == 0


def test_many_calls_share_few_connections(gateway: RunningGateway, http_server: Any, reach: Any, stream: Any) -> None:
    client = reach(gateway, http_server(), connectors=2)
    streams = [stream(client, "POST", call("sleep", seconds=0.05)) for _ in range(12)]
    assert all("slept" in str(each.message()) for each in streams)


def test_a_host_name_of_the_profile_reaches_it_and_loopback_no_longer(
    gateway: RunningGateway, http_server: Any, tmp_path: Path, control_of: Any, write_snapshot: Any
) -> None:
    server = http_server()
    route = server.route(tmp_path, allow_host=("mcp.example.com", ".inside.example"))
    write_snapshot(gateway.start(), route)
    with control_of(gateway) as control:
        control.hear()
        control.hand_over()
    gateway.until(RouteState.READY, "echo.1")
    client = McpClient(route.port)
    port = route.port
    allowed = ["mcp.example.com", f"MCP.example.com:{port}", "a.inside.example", f"a.b.inside.example:{port}"]
    refused = ["localhost", f"127.0.0.1:{port}", "inside.example", ".inside.example", "xinside.example", "other"]
    found = {name: client.send("POST", call("x"), host=name)[0] for name in allowed + refused}
    assert {name for name, status in found.items() if status == 403} == set(refused)
    own = {"host": "mcp.example.com", "origin": f"http://mcp.example.com:{port}"}
    assert client.send("POST", call("x"), **own)[0] == 400
    assert client.send("POST", call("x"), **own | {"origin": "https://evil.example"})[0] == 403
    client.close()


def test_health_names_the_transport(gateway: RunningGateway, http_server: Any, reach: Any) -> None:
    client = reach(gateway, http_server())
    connection = http.client.HTTPConnection("127.0.0.1", client.port)
    connection.request("GET", "/health")
    assert json.loads(connection.getresponse().read())["transport"] == "streamable-http"
    connection.close()


def test_a_page_of_the_server_is_no_page_for_a_browser(gateway: RunningGateway, http_server: Any, reach: Any) -> None:
    client = reach(gateway, http_server(SCRIPTED))
    status, headers, _ = client.send("POST", call("page"))
    assert (status, headers["content-type"]) == (500, "text/plain")


def ended(client: McpClient) -> list[Any]:
    return [entry for entry in asked(client, "seen")[1]["result"]["seen"] if entry[0] == "ended"]


@pytest.mark.parametrize("version", ["2026-07-28", "2025-11-25"])
def test_an_endless_answer_ends_some_time_after_its_client(
    version: str, gateway: RunningGateway, http_server: Any, reach: Any
) -> None:
    client = reach(gateway, http_server(SCRIPTED))
    connection = http.client.HTTPConnection("127.0.0.1", client.port, timeout=20)
    fields = {"accept": "*/*", "mcp-session-id": client.session, "mcp-protocol-version": version}
    message = call("endless")
    if version == "2026-07-28":
        fields |= {"mcp-method": "tools/call", "mcp-name": "endless"}
        message["params"]["_meta"] = {MODERN + "protocolVersion": version, MODERN + "clientCapabilities": {}}
    connection.request("POST", "/mcp", json.dumps(message), fields)
    response = connection.getresponse()
    assert response.readline().startswith(b"data: ")
    assert not ended(client)
    response.close()
    connection.close()
    (entry,) = eventually(lambda: ended(client))
    # In the stateless era at once; before, a call goes on without its client, but not for ever.
    assert (entry[1] < 32 << 20) == (version == "2026-07-28")


def test_a_slow_reader_slows_the_server_down(gateway: RunningGateway, http_server: Any, reach: Any) -> None:
    client = reach(gateway, http_server(SCRIPTED))
    connection = http.client.HTTPConnection("127.0.0.1", client.port, timeout=20)
    connection.request("POST", "/mcp", json.dumps(call("endless")), {"accept": "*/*", "mcp-session-id": client.session})
    assert connection.getresponse().status == 200

    def sent() -> list[int]:
        seen = asked(client, "seen")[1]["result"]["seen"]
        return [entry[1] for entry in seen if entry[0] == "sent"]

    before = -1
    while before != (now := max(sent(), default=0)):
        before = now
        time.sleep(0.3)
    assert 0 < now < 32 << 20
    connection.close()
