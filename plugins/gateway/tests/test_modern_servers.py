"""A server of the stateless era behind pipes, with clients of its own era and of the other one."""

from __future__ import annotations

import contextlib
import json
from collections.abc import Callable
from typing import Any

import pytest

from thv_core.model.route import RouteState
from thv_testkit.gateways import McpClient, RunningGateway, RunningServer, free_port
from thv_testkit.waiting import eventually

META = "io.modelcontextprotocol/"
VERSION = "2026-07-28"
NAMED = {"tools/call": "name", "resources/read": "uri", "prompts/get": "name"}
WHO = {"who": {"method": "elicitation/create", "params": {"mode": "form", "message": "Who?", "requestedSchema": {}}}}

StartServer = Callable[..., RunningServer]
Connect = Callable[..., McpClient]
OpenStream = Callable[..., Any]


def request(method: str, identifier: object = 1, **params: Any) -> dict[str, Any]:
    return {"jsonrpc": "2.0", "id": identifier, "method": method, "params": params}


def modern(method: str, identifier: object = 1, meta: dict[str, Any] | None = None, **params: Any) -> dict[str, Any]:
    envelope = {
        META + "protocolVersion": VERSION,
        META + "clientInfo": {"name": "test", "version": "3"},
        META + "clientCapabilities": {"elicitation": {"form": {}}},
    }
    return request(method, identifier, _meta=envelope | (meta or {}), **params)


def heads(body: dict[str, Any]) -> dict[str, str]:
    named = NAMED.get(body["method"])
    name = {"mcp_name": body["params"][named]} if named else {}
    return {"mcp_protocol_version": VERSION, "mcp_method": body["method"], "mcp_session_id": "", **name}


def ask(client: McpClient, body: dict[str, Any]) -> tuple[int, dict[str, Any]]:
    """Post a request of the stateless era; its answer must be the first thing that comes back."""
    plain = McpClient(client.port)
    try:
        status, _, answer = plain.send("POST", body, **{k: v for k, v in heads(body).items() if v})
    finally:
        plain.close()
    return status, json.loads(answer)


def call(name: str, identifier: object = 1, meta: dict[str, Any] | None = None, **arguments: Any) -> dict[str, Any]:
    return modern("tools/call", identifier, meta, name=name, arguments=arguments)


def seen(client: McpClient, method: str) -> list[dict[str, Any]]:
    """Return what the server was sent with this method."""
    _, answer = ask(client, call("seen"))
    messages: list[dict[str, Any]] = answer["result"]["structuredContent"]["messages"]
    return [message for message in messages if message.get("method") == method]


def filters(client: McpClient) -> list[dict[str, Any]]:
    return ask(client, call("filters"))[1]["result"]["structuredContent"]["filters"]


@pytest.fixture
def serve(gateway: RunningGateway, start_server: StartServer, connect: Connect) -> Connect:
    """Start a modern server and connect a client of the other era to it."""

    def started(script: dict[str, Any] | None = None, **seconds: float) -> McpClient:
        return connect(gateway, start_server("modern_server.py", script or {}), **seconds)

    return started


# --- The choice of the era ---


def test_a_server_that_refuses_initialize_is_ready_when_it_can_be_discovered(
    gateway: RunningGateway, serve: Connect
) -> None:
    serve()
    report = gateway.until(RouteState.READY, "echo.1")
    assert report.protocol_version == VERSION
    assert "count" in report.tools


@pytest.mark.parametrize(
    "script", [{"discover": {"supportedVersions": ["2030-01-01"]}}, {"discover": {"supportedVersions": 5}}]
)
def test_a_server_that_speaks_neither_era_fails_with_the_reason_of_initialize(
    gateway: RunningGateway, start_server: StartServer, script: dict[str, Any]
) -> None:
    gateway.serve(start_server("modern_server.py", script | {"initialize": "Not with me"}).route(free_port()))
    report = gateway.start().until(RouteState.FAILED, "echo.1")
    assert report.reason == "echo refused initialize: Not with me"


def test_a_server_that_says_nothing_of_itself_fails_with_the_reason_of_initialize(
    gateway: RunningGateway, start_server: StartServer
) -> None:
    server = start_server("modern_server.py", {"mute": True, "initialize": "Not with me"})
    gateway.serve(server.route(free_port(), start_timeout=1))
    assert gateway.start().until(RouteState.FAILED, "echo.1").reason == "echo refused initialize: Not with me"


def test_a_restarted_gateway_asks_a_modern_server_nothing_again(gateway: RunningGateway, serve: Connect) -> None:
    client = serve()
    gateway.kill()
    client.close()
    gateway.start().until(RouteState.READY, "echo.1")
    assert len(seen(client, "initialize")) == 1
    assert len(seen(client, "server/discover")) == 1
    assert "result" in json.loads(client.send("POST", request("ping"))[2])


# --- Clients of its own era ---


def test_results_pass_verbatim_under_the_id_of_the_client(serve: Connect) -> None:
    status, answer = ask(serve(), modern("tools/list", "mine"))
    assert (status, answer["id"]) == (200, "mine")
    assert answer["result"]["ttlMs"] == 5
    assert answer["result"]["_meta"][META + "serverInfo"]["name"] == "modern"


def test_the_envelope_is_made_anew_and_says_of_the_client_what_it_said(serve: Connect) -> None:
    client = serve()
    ask(client, call("seen", meta={"traceparent": "00-1", META + "odd": 1, META + "related-task": {"taskId": "t"}}))
    meta = seen(client, "tools/call")[0]["params"]["_meta"]
    assert meta.pop(META + "clientInfo") == {"name": "test", "version": "3"}
    assert meta.pop(META + "clientCapabilities") == {"elicitation": {"form": {}}}
    assert meta == {"traceparent": "00-1", META + "related-task": {"taskId": "t"}, META + "protocolVersion": VERSION}


def test_input_that_is_required_passes_with_its_state_and_the_retry_goes_on(serve: Connect) -> None:
    client = serve()
    first = ask(client, call("ask", requests=WHO))[1]["result"]
    assert first == {"resultType": "input_required", "inputRequests": WHO, "requestState": "a é state"}
    retry = call("ask", 2, requests=WHO)
    retry["params"] |= {"inputResponses": {"who": {"action": "decline"}}, "requestState": first["requestState"]}
    came = ask(client, retry)[1]["result"]["structuredContent"]
    assert came == {"responses": {"who": {"action": "decline"}}, "state": "a é state"}


def test_progress_and_logs_reach_the_call_that_asked_for_them(serve: Connect, stream: OpenStream) -> None:
    client = serve()
    counting = call("count", 1, {"progressToken": "mine"}, steps=2)
    counted = stream(client, "POST", counting, **heads(counting))
    assert [counted.message()["params"] for _ in range(2)] == [
        {"progressToken": "mine", "progress": 1},
        {"progressToken": "mine", "progress": 2},
    ]
    assert counted.message()["id"] == 1
    logging = call("log", 2, {META + "logLevel": "debug"}, text="so")
    logged = stream(client, "POST", logging, **heads(logging))
    assert logged.message()["params"] == {"level": "debug", "data": "so"}
    assert logged.message()["id"] == 2


@pytest.mark.parametrize(
    ("code", "status"), [(-32601, 404), (-32021, 400), (-32022, 400), (-32020, 400), (-32602, 200), (-32603, 200)]
)
def test_errors_of_the_server_have_the_status_of_the_transport(serve: Connect, code: int, status: int) -> None:
    got, answer = ask(serve(), call("fail", code=code))
    assert (got, answer["error"]) == (status, {"code": code, "message": "failed", "data": {"why": "asked to"}})


def test_each_subscription_has_the_name_that_its_client_gave_it(serve: Connect, stream: OpenStream) -> None:
    client = serve()
    streams = []
    for identifier, chosen in (("tools", {"toolsListChanged": True}), (7, {"resourceSubscriptions": ["file:///a"]})):
        body = modern("subscriptions/listen", identifier, notifications=chosen)
        streams.append(stream(client, "POST", body, **heads(body)))
        acknowledged = streams[-1].message()
        assert acknowledged["method"] == "notifications/subscriptions/acknowledged"
        assert acknowledged["params"] == {"notifications": chosen, "_meta": {META + "subscriptionId": identifier}}
    ask(client, call("change", uri="file:///b"))
    ask(client, call("change", uri="file:///a"))
    ask(client, call("change", method="notifications/tools/list_changed"))
    changed = streams[0].message()
    assert (changed["method"], changed["params"]["_meta"]) == (
        "notifications/tools/list_changed",
        {META + "subscriptionId": "tools"},
    )
    updated = streams[1].message()
    assert updated["params"] == {"uri": "file:///a", "_meta": {META + "subscriptionId": 7}}


@pytest.mark.parametrize("tool", ["end_listening", "cancel_listening"])
def test_a_subscription_that_the_server_ends_ends_with_a_result(serve: Connect, stream: OpenStream, tool: str) -> None:
    client = serve()
    body = modern("subscriptions/listen", 9, notifications={"toolsListChanged": True})
    listening = stream(client, "POST", body, **heads(body))
    listening.message()
    ask(client, call(tool))
    assert listening.message() == {
        "jsonrpc": "2.0",
        "id": 9,
        "result": {"resultType": "complete", "_meta": {META + "subscriptionId": 9}},
    }
    assert listening.at_end()


def test_a_client_that_goes_away_has_cancelled_its_call_and_its_subscription(
    serve: Connect, stream: OpenStream
) -> None:
    client = serve()
    body = modern("subscriptions/listen", 9, notifications={"promptsListChanged": True})
    listening, never = stream(client, "POST", body, **heads(body)), call("never", 3)
    listening.message()
    waiting = stream(client, "POST", never, **heads(never))
    eventually(lambda: [each for each in seen(client, "tools/call") if each["params"]["name"] == "never"])
    ids = {each["id"] for each in seen(client, "tools/call") if each["params"]["name"] == "never"}
    ids |= {
        each["id"]
        for each in seen(client, "subscriptions/listen")
        if each["params"]["notifications"] == {"promptsListChanged": True}
    }
    assert len(ids) == 2
    waiting.connection.close()
    listening.connection.close()
    listening.response.close()
    assert eventually(lambda: {each["params"]["requestId"] for each in seen(client, "notifications/cancelled")} >= ids)


# --- Clients of the era of handshakes ---


def test_initialize_is_answered_from_what_was_discovered(serve: Connect) -> None:
    result = serve().initialize("2025-06-18")
    assert result == {
        "protocolVersion": "2025-06-18",
        "capabilities": {
            "completions": {},
            "logging": {},
            "prompts": {"listChanged": True},
            "resources": {"subscribe": True, "listChanged": True},
            "tools": {"listChanged": True},
        },
        "serverInfo": {"name": "modern", "version": "7"},
        "instructions": "Be brief.",
    }


def test_an_unknown_revision_is_answered_with_the_latest_that_has_handshakes(serve: Connect) -> None:
    assert serve().initialize("2026-07-28")["protocolVersion"] == "2025-11-25"


def test_what_only_the_stateless_era_knows_is_taken_out_of_results(serve: Connect) -> None:
    client = serve()
    listed = json.loads(client.send("POST", request("tools/list"))[2])["result"]
    assert listed.keys() == {"tools"}
    assert json.loads(client.send("POST", request("ping", 2))[2])["result"] == {}


def test_a_resource_that_is_not_found_has_the_code_of_that_era(serve: Connect) -> None:
    client = serve()
    missing = json.loads(client.send("POST", request("resources/read", uri="file:///none"))[2])
    assert missing["error"] == {"code": -32002, "message": "Resource not found", "data": {"uri": "file:///none"}}
    known = json.loads(client.send("POST", request("resources/read", uri="file:///known"))[2])
    assert known["result"] == {"contents": [{"uri": "file:///known", "text": "it"}]}
    other = json.loads(client.send("POST", request("tools/call", name="fail", arguments={"code": -32602}))[2])
    assert other["error"]["code"] == -32602


def test_a_result_of_an_unknown_type_is_an_error(serve: Connect) -> None:
    answer = json.loads(serve().send("POST", request("tools/call", name="odd"))[2])
    assert answer["error"]["code"] == -32603


def test_progress_of_a_legacy_call_has_the_token_of_the_client(serve: Connect, stream: OpenStream) -> None:
    body = request("tools/call", 4, name="count", arguments={"steps": 2}, _meta={"progressToken": 77})
    counted = stream(serve(), "POST", body)
    assert [counted.message()["params"]["progressToken"] for _ in range(2)] == [77, 77]
    assert counted.message() == {
        "jsonrpc": "2.0",
        "id": 4,
        "result": {"content": [{"type": "text", "text": "counted"}]},
    }


def test_the_level_that_a_session_set_is_that_of_each_of_its_requests(
    serve: Connect, another: Callable[..., McpClient], stream: OpenStream
) -> None:
    client = serve()
    other = another(client)
    assert json.loads(client.send("POST", request("logging/setLevel", level="error"))[2])["result"] == {}
    for each, level in ((client, "error"), (other, "info")):
        logged = stream(each, "POST", request("tools/call", 2, name="log", arguments={"text": "so"}))
        assert logged.message()["params"] == {"level": level, "data": "so"}
        assert logged.message()["result"]["content"][0]["text"] == f"logged at {level}"


def test_one_subscription_upstream_serves_every_session(
    serve: Connect, another: Callable[..., McpClient], stream: OpenStream
) -> None:
    client = serve()
    other = another(client)
    streams = [stream(client), stream(other)]
    for each in streams:
        each.begin()
    for each, uri in ((client, "file:///a"), (other, "file:///b")):
        assert json.loads(each.send("POST", request("resources/subscribe", uri=uri))[2])["result"] == {}
    changing = {"toolsListChanged": True, "promptsListChanged": True, "resourcesListChanged": True}
    assert filters(client) == [changing | {"resourceSubscriptions": ["file:///a", "file:///b"]}]
    ask(client, call("change", uri="file:///a"))
    ask(client, call("change", uri="file:///b"))
    ask(client, call("change", method="notifications/tools/list_changed"))
    for each, uri in zip(streams, ("file:///a", "file:///b"), strict=True):
        assert each.message()["params"] == {"uri": uri}
        assert each.message()["method"] == "notifications/tools/list_changed"
    client.send("POST", request("resources/unsubscribe", uri="file:///a"))
    assert eventually(lambda: filters(client) == [changing | {"resourceSubscriptions": ["file:///b"]}])


def test_a_subscription_that_ended_is_begun_again(serve: Connect, stream: OpenStream) -> None:
    client = serve()
    client.send("POST", request("resources/subscribe", uri="file:///a"))
    listening = stream(client)
    listening.begin()
    ask(client, call("end_listening"))
    assert eventually(lambda: filters(client))
    ask(client, call("change", uri="file:///a"))
    assert listening.message()["params"] == {"uri": "file:///a"}


def test_what_the_server_needs_is_asked_on_the_stream_of_the_call(
    serve: Connect, another: Callable[..., McpClient], stream: OpenStream
) -> None:
    client = another(serve(), elicitation={})
    calling = stream(client, "POST", request("tools/call", 5, name="ask", arguments={"requests": WHO}))
    question = calling.message()
    assert (question["method"], question["params"]) == (WHO["who"]["method"], WHO["who"]["params"])
    answer = {"jsonrpc": "2.0", "id": question["id"], "result": {"action": "accept", "content": {"name": "Ada"}}}
    assert client.send("POST", answer)[0] == 202
    assert calling.message() == {
        "jsonrpc": "2.0",
        "id": 5,
        "result": {
            "content": [],
            "structuredContent": {
                "responses": {"who": {"action": "accept", "content": {"name": "Ada"}}},
                "state": "a é state",
            },
        },
    }
    ids = [each["id"] for each in seen(client, "tools/call") if each["params"]["name"] == "ask"]
    assert len(set(ids)) == 2


def test_a_client_that_cannot_be_asked_gets_an_error(serve: Connect) -> None:
    answer = json.loads(serve().send("POST", request("tools/call", name="ask", arguments={"requests": WHO}))[2])
    assert answer["error"]["message"] == "The client did not declare this capability"


def test_what_a_client_refuses_to_answer_ends_the_call(
    serve: Connect, another: Callable[..., McpClient], stream: OpenStream
) -> None:
    client = another(serve(), elicitation={})
    calling = stream(client, "POST", request("tools/call", 5, name="ask", arguments={"requests": WHO}))
    refusal = {"jsonrpc": "2.0", "id": calling.message()["id"], "error": {"code": -1, "message": "No"}}
    client.send("POST", refusal)
    assert calling.message()["error"] == {"code": -1, "message": "No"}


def test_a_call_can_be_cancelled_while_its_question_is_open(
    serve: Connect, another: Callable[..., McpClient], stream: OpenStream
) -> None:
    client = another(serve(), elicitation={})
    calling = stream(client, "POST", request("tools/call", 5, name="ask", arguments={"requests": WHO}))
    question = calling.message()
    cancelled = {"jsonrpc": "2.0", "method": "notifications/cancelled", "params": {"requestId": 5}}
    assert client.send("POST", cancelled)[0] == 202
    assert calling.message()["params"] == {"requestId": question["id"]}
    assert calling.message()["error"]["code"] == -32800


def test_a_server_that_asks_without_end_is_stopped(serve: Connect) -> None:
    client = serve()
    answer = json.loads(client.send("POST", request("tools/call", name="endless"))[2])
    assert answer["error"] == {"code": -32603, "message": "The server asked for input too often"}
    assert len(seen(client, "tools/call")) <= 20


@pytest.mark.parametrize("kind", ["refused", "short"])
def test_a_server_without_subscriptions_is_used_all_the_same(serve: Connect, kind: str) -> None:
    client = serve({"listen": kind})
    assert client.tool("count", steps=0)["content"][0]["text"] == "counted"
    answer = json.loads(client.send("POST", request("resources/subscribe", uri="file:///a"))[2])
    assert ("error" in answer) == (kind == "refused")
    assert len(seen(client, "subscriptions/listen")) < 5


# --- What servers do that they should not ---


def test_a_server_that_dies_leaves_no_call_unanswered(
    serve: Connect, another: Callable[..., McpClient], stream: OpenStream
) -> None:
    client = another(serve(), elicitation={})
    asked = stream(client, "POST", request("tools/call", 5, name="ask", arguments={"requests": WHO}))
    asked.message()
    body = call("never", 6)
    never = stream(client, "POST", body, **heads(body))
    listen = modern("subscriptions/listen", 9, notifications={"toolsListChanged": True})
    listening = stream(client, "POST", listen, **heads(listen))
    listening.message()
    with contextlib.suppress(AssertionError):
        client.tool("die")
    for each in (asked, never, listening):
        answer = each.message()
        while "error" not in answer:
            answer = each.message()
        assert answer["error"]["code"] == -32603


@pytest.mark.parametrize(
    "line",
    [
        '{"jsonrpc":"2.0","id":ID,"result":{"resultType":"input_required","inputRequests":5}}',
        '{"jsonrpc":"2.0","id":ID,"result":{"resultType":"input_required","inputRequests":{"a":5},"requestState":"x"}}',
        '{"jsonrpc":"2.0","id":ID,"result":{"resultType":5}}',
        '{"jsonrpc":"2.0","id":ID,"error":5}',
    ],
)
def test_an_answer_that_makes_no_sense_is_an_error(serve: Connect, line: str) -> None:
    answer = json.loads(serve().send("POST", request("tools/call", name="garbage", arguments={"lines": [line]}))[2])
    assert answer["error"]["code"] == -32603


def test_what_a_server_may_not_say_reaches_nobody(serve: Connect) -> None:
    lines = [
        '{"jsonrpc":"2.0","id":1,"method":"elicitation/create","params":{}}',
        '{"jsonrpc":"2.0","method":"notifications/message","params":{"level":"info","data":"to whom?"}}',
        '{"jsonrpc":"2.0","method":"notifications/cancelled","params":{"requestId":ID}}',
        '{"jsonrpc":"2.0","method":"notifications/progress","params":{"progressToken":"x","progress":1}}',
        '{"jsonrpc":"2.0","method":"notifications/tools/list_changed"}',
        '{"jsonrpc":"2.0","id":ID,"result":{"resultType":"complete","content":[]}}',
    ]
    status, answer = ask(serve(), call("garbage", lines=lines))
    assert (status, answer["result"]["content"]) == (200, [])
