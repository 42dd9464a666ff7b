"""Clients of the modern era at a server on pipes that speaks the era of handshakes."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import pytest

from thv_core.model.route import RouteState
from thv_testkit.gateways import McpClient, RunningGateway, RunningServer
from thv_testkit.waiting import eventually

META = "io.modelcontextprotocol/"
ELICIT = {"method": "elicitation/create", "params": {"message": "Who?", "requestedSchema": {"type": "object"}}}
LINK = {
    "method": "elicitation/create",
    "params": {"mode": "url", "url": "https://a", "message": "m", "elicitationId": "e"},
}
SAMPLE = {"method": "sampling/createMessage", "params": {"messages": [], "maxTokens": 1}}
ROOTS = {"method": "roots/list"}
ABLE = {"elicitation": {}, "sampling": {}, "roots": {}}
DECLARED = {"clientCapabilities": ABLE}

StartServer = Callable[..., RunningServer]
Connect = Callable[..., McpClient]
Script = dict[str, Any]


class Bench:
    """A gateway, a scripted server, and a client of each era."""

    def __init__(self, gateway: RunningGateway, legacy: McpClient, modern: Any, server: RunningServer) -> None:
        self.gateway, self.legacy, self.modern, self.server = gateway, legacy, modern, server

    def seen(self) -> list[dict[str, Any]]:
        """Return what the server has read so far."""
        lines = self.legacy.tool("seen")["structuredContent"]["lines"]
        return [json.loads(line) for line in lines if line.strip()]

    def methods(self) -> list[str]:
        """Return the methods of what the server has read."""
        return [message.get("method", "") for message in self.seen()]

    def ask(self, *questions: Script, able: Script = ABLE, **more: Any) -> Any:
        """Call the tool that asks its client."""
        params = {"name": "ask", "arguments": {"questions": list(questions)}, **more}
        return self.modern.request("tools/call", params, meta={f"{META}clientCapabilities": able})


@pytest.fixture
def bench(
    gateway: RunningGateway, start_server: StartServer, connect: Connect, modern_client: Callable[[int], Any]
) -> Callable[..., Bench]:
    def build(script: Script | None = None, **seconds: float) -> Bench:
        server = start_server("scripted_server.py", script or {})
        legacy = connect(gateway, server, **seconds)
        return Bench(gateway, legacy, modern_client(legacy.port), server)

    return build


def test_discover_says_what_the_server_said_at_the_handshake(bench: Callable[..., Bench]) -> None:
    declared = {"tools": {"listChanged": True}, "tasks": {"list": {}}, "logging": {}}
    answer = bench({"initialize": {"capabilities": declared, "instructions": "Be kind."}}).modern.request(
        "server/discover"
    )
    result = answer.message()["result"]
    assert answer.status == 200
    assert result["resultType"] == "complete"
    assert "2026-07-28" in result["supportedVersions"]
    assert result["capabilities"] == {"tools": {"listChanged": True}, "logging": {}}
    assert result["instructions"] == "Be kind."
    assert result["_meta"][f"{META}serverInfo"]["name"] == "scripted"
    assert (result["ttlMs"], result["cacheScope"]) == (0, "private")
    assert "mcp-session-id" not in answer.headers


@pytest.mark.parametrize(
    "method", ["tools/list", "prompts/list", "resources/list", "resources/templates/list", "resources/read"]
)
def test_what_may_be_cached_says_that_it_may_not_be_here(bench: Callable[..., Bench], method: str) -> None:
    params = {"uri": "a:b"} if method == "resources/read" else {}
    result = bench().modern.request(method, params).message()["result"]
    assert (result["ttlMs"], result["cacheScope"], result["resultType"]) == (0, "private", "complete")


def test_other_results_are_complete_and_name_the_server(bench: Callable[..., Bench]) -> None:
    result = bench().modern.call("anything")["result"]
    assert result["resultType"] == "complete"
    assert "ttlMs" not in result
    assert result["_meta"] == {f"{META}serverInfo": {"name": "scripted", "version": "1"}}


def test_the_envelope_of_the_client_stays_here_and_its_own_meta_goes_on(bench: Callable[..., Bench]) -> None:
    place = bench()
    params = {"name": "x", "arguments": {"a": 1}}
    place.modern.request(
        "tools/call", params, meta={"traceparent": "t", f"{META}related-task": {"taskId": "1"}}
    ).message()
    sent = next(each for each in place.seen() if each.get("params", {}).get("name") == "x")
    assert sent["params"] == {**params, "_meta": {"traceparent": "t", f"{META}related-task": {"taskId": "1"}}}


def test_a_request_whose_envelope_is_all_its_meta_has_none_at_the_server(bench: Callable[..., Bench]) -> None:
    place = bench()
    place.modern.call("x")
    assert next(each for each in place.seen() if each.get("params", {}).get("name") == "x")["params"] == {
        "name": "x",
        "arguments": {},
    }


@pytest.mark.parametrize(
    ("code", "status", "told"),
    [(-32002, 400, -32602), (-32601, 404, -32601), (-32602, 400, -32602), (-32603, 200, -32603), (7, 200, 7)],
)
def test_errors_of_the_server_have_the_status_and_code_of_the_modern_era(
    bench: Callable[..., Bench], code: int, status: int, told: int
) -> None:
    error = {"code": code, "message": "no", "data": {"uri": "a:b"}}
    answer = bench({"answers": {"resources/read": {"error": error}}}).modern.request("resources/read", {"uri": "a:b"})
    assert answer.status == status
    assert answer.message() == {"jsonrpc": "2.0", "id": "r1", "error": {**error, "code": told}}


def test_an_error_of_a_tool_is_a_result(bench: Callable[..., Bench]) -> None:
    script = {"answers": {"tools/call": {"content": [], "isError": True}}}
    place = bench(script)
    answer = place.modern.request("tools/call", {"name": "x", "arguments": {}})
    assert answer.status == 200
    assert answer.message()["result"]["isError"] is True


@pytest.mark.parametrize(
    "method", ["ping", "logging/setLevel", "resources/subscribe", "resources/unsubscribe", "tasks/get", "tasks/list"]
)
def test_what_the_modern_era_has_no_more_is_not_found(bench: Callable[..., Bench], method: str) -> None:
    place = bench()
    answer = place.modern.request(method, {"uri": "a:b", "level": "debug"})
    assert (answer.status, answer.message()["error"]["code"]) == (404, -32601)
    assert method not in place.methods()


def test_a_notification_is_accepted_and_not_passed_on(bench: Callable[..., Bench]) -> None:
    place = bench()
    body = b'{"jsonrpc":"2.0","method":"notifications/roots/list_changed"}'
    assert place.modern.send("POST", body, {"mcp-protocol-version": "2026-07-28"}).status == 202
    assert "notifications/roots/list_changed" not in place.methods()


def test_a_session_id_is_ignored_and_none_is_given(bench: Callable[..., Bench]) -> None:
    answer = bench().modern.request("tools/list", headers={"mcp-session-id": "forged"})
    assert answer.status == 200
    assert "mcp-session-id" not in answer.headers


def test_progress_comes_by_the_clients_own_token_before_the_answer(bench: Callable[..., Bench]) -> None:
    answer = bench().modern.request("tools/call", {"name": "climb", "arguments": {}}, progressToken="mine")
    progress, response = answer.rest()
    assert progress["params"] == {"progressToken": "mine", "progress": 1}
    assert response["id"] == "r1"


def test_the_answer_is_a_stream_when_something_comes_before_it(bench: Callable[..., Bench]) -> None:
    place = bench({"initialize": {"capabilities": {"tools": {}, "logging": {}}}})
    log = {"jsonrpc": "2.0", "method": "notifications/message", "params": {"level": "info", "data": "hi"}}
    params = {"name": "x", "arguments": {"emit": [json.dumps(log)]}}
    answer = place.modern.request("tools/call", params, meta={f"{META}logLevel": "info"})
    assert answer.is_stream
    first, second = answer.rest()
    assert first["params"]["data"] == "hi"
    assert second["id"] == "r1"
    assert second["result"]["resultType"] == "complete"


@pytest.mark.parametrize(
    ("asked", "heard"), [("debug", ["debug", "warning"]), ("info", ["warning"]), ("error", []), (None, [])]
)
def test_logs_are_told_from_the_level_on_that_the_request_asks_for(
    bench: Callable[..., Bench], asked: str | None, heard: list[str]
) -> None:
    place = bench({"initialize": {"capabilities": {"tools": {}, "logging": {}}}})
    lines = [
        json.dumps({"jsonrpc": "2.0", "method": "notifications/message", "params": {"level": level, "data": 1}})
        for level in ("debug", "warning")
    ]
    meta = {f"{META}logLevel": asked} if asked else {}
    answer = place.modern.request("tools/call", {"name": "x", "arguments": {"emit": lines}}, meta=meta)
    *logs, response = answer.rest()
    assert [log["params"]["level"] for log in logs] == heard
    assert response["result"]["content"]
    asked_of_the_server = [each["params"]["level"] for each in place.seen() if each.get("method") == "logging/setLevel"]
    assert asked_of_the_server == ([asked] if asked else [])


def test_a_disconnect_cancels_the_call(bench: Callable[..., Bench]) -> None:
    place = bench()
    answer = place.modern.request("tools/call", {"name": "never", "arguments": {}})
    called = eventually(lambda: _named(place.seen(), "never"))
    answer.leave()
    cancelled = eventually(lambda: [each for each in place.seen() if each.get("method") == "notifications/cancelled"])
    assert cancelled[0]["params"]["requestId"] == called[0]["id"]


def test_a_call_that_is_silent_for_too_long_ends_with_an_error(bench: Callable[..., Bench]) -> None:
    place = bench(request_timeout=0.5)
    answer = place.modern.request("tools/call", {"name": "never", "arguments": {}})
    assert (answer.status, answer.message()["error"]["code"]) == (504, -32603)


def test_a_question_of_the_server_is_asked_and_answered_in_a_second_round(bench: Callable[..., Bench]) -> None:
    place = bench()
    first = place.ask(ELICIT)
    result = first.message()["result"]
    assert (first.status, result["resultType"]) == (200, "input_required")
    [(key, question)] = result["inputRequests"].items()
    assert question == ELICIT
    assert result["_meta"] == {f"{META}serverInfo": {"name": "scripted", "version": "1"}}
    answer = {"action": "accept", "content": {"name": "Ada"}}
    second = place.ask(ELICIT, inputResponses={key: answer}, requestState=result["requestState"]).message()
    assert second["id"] == "r2"
    assert second["result"]["structuredContent"] == {"q0": answer}
    assert second["result"]["resultType"] == "complete"


def test_everything_that_the_server_asks_at_once_is_asked_at_once(bench: Callable[..., Bench]) -> None:
    place = bench()
    result = place.ask(ELICIT, LINK, SAMPLE, ROOTS, able={**ABLE, "elicitation": {"form": {}, "url": {}}}).message()[
        "result"
    ]
    asked = result["inputRequests"]
    without_id = {"mode": "url", "url": "https://a", "message": "m"}
    assert list(asked.values()) == [ELICIT, {**LINK, "params": without_id}, SAMPLE, ROOTS]
    answers = {key: {"n": number} for number, key in enumerate(asked)}
    second = place.ask(ELICIT, inputResponses=answers, requestState=result["requestState"]).message()["result"]
    assert second["structuredContent"] == {f"q{number}": {"n": number} for number in range(4)}


def test_what_a_client_leaves_unanswered_it_is_asked_again(bench: Callable[..., Bench]) -> None:
    place = bench()
    first = place.ask(ELICIT, ROOTS).message()["result"]
    one, other = first["inputRequests"]
    second = place.ask(inputResponses={one: {"n": 1}, "stranger": {}}, requestState=first["requestState"])
    again = second.message()["result"]
    assert again["inputRequests"] == {other: ROOTS}
    third = place.ask(inputResponses={other: {"n": 2}}, requestState=again["requestState"]).message()["result"]
    assert third["structuredContent"] == {"q0": {"n": 1}, "q1": {"n": 2}}


@pytest.mark.parametrize(
    ("question", "able", "required"),
    [
        (ELICIT, {}, {"elicitation": {"form": {}}}),
        (ELICIT, {"elicitation": {"url": {}}}, {"elicitation": {"form": {}}}),
        (LINK, {"elicitation": {}}, {"elicitation": {"url": {}}}),
        (SAMPLE, {"roots": {}}, {"sampling": {}}),
        ({**SAMPLE, "params": {"tools": []}}, {"sampling": {}}, {"sampling": {"tools": {}}}),
        (ROOTS, {}, {"roots": {}}),
    ],
)
def test_a_client_is_not_asked_what_it_cannot_do(
    bench: Callable[..., Bench], question: Script, able: Script, required: Script
) -> None:
    place = bench()
    answer = place.ask(question, able=able)
    assert answer.status == 400
    error = answer.message()["error"]
    assert (error["code"], error["data"]) == (-32021, {"requiredCapabilities": required})
    refused = eventually(lambda: [each for each in place.seen() if "error" in each])
    assert refused[0]["id"] == "q0"
    assert "notifications/cancelled" in place.methods()


@pytest.mark.parametrize("spoilt", ["state", "method", "name", "forged", "session", "twice"])
def test_a_foreign_request_state_is_refused(bench: Callable[..., Bench], spoilt: str) -> None:
    place = bench()
    result = place.ask(ELICIT).message()["result"]
    state, answers = result["requestState"], {key: {} for key in result["inputRequests"]}
    params = {"name": "ask", "arguments": {}, "inputResponses": answers, "requestState": state}
    method = "tools/call"
    if spoilt == "state":
        params["requestState"] = ""
    elif spoilt == "method":
        method, params["uri"] = "prompts/get", "a:b"
    elif spoilt == "name":
        params["name"] = "other"
    elif spoilt == "forged":
        params["requestState"] = state[:-2] + ("A" if state[-2] != "A" else "B") + state[-1]
    elif spoilt == "session":
        params["requestState"] = place.legacy.session
    else:
        assert "result" in place.modern.request(method, params).message()
    answer = place.modern.request(method, params)
    assert (answer.status, answer.message()["error"]["code"]) == (400, -32602)


@pytest.mark.parametrize("answers", [[], "x", {"1": []}, {"1": None}])
def test_malformed_answers_are_refused_and_the_call_goes_on_waiting(bench: Callable[..., Bench], answers: Any) -> None:
    place = bench()
    state = place.ask(ELICIT).message()["result"]["requestState"]
    refused = place.ask(inputResponses=answers, requestState=state)
    assert (refused.status, refused.message()["error"]["code"]) == (400, -32602)
    assert "result" in place.ask(inputResponses={"1": {}}, requestState=state).message()


def test_a_parked_call_survives_its_clients_going_and_ends_when_nobody_comes_back(bench: Callable[..., Bench]) -> None:
    place = bench(request_timeout=1.5)
    answer = place.ask(ELICIT)
    state = answer.message()["result"]["requestState"]
    answer.leave()
    assert "notifications/cancelled" not in place.methods()
    eventually(lambda: "notifications/cancelled" in place.methods())
    late = place.ask(inputResponses={"1": {}}, requestState=state)
    assert (late.status, late.message()["error"]["code"]) == (400, -32602)
    assert [each["id"] for each in place.seen() if "error" in each] == ["q0"]


def test_a_listener_hears_what_it_asked_for_and_nothing_else(bench: Callable[..., Bench]) -> None:
    capabilities = {"tools": {"listChanged": True}, "prompts": {"listChanged": True}, "resources": {"subscribe": True}}
    place = bench({"initialize": {"capabilities": capabilities}})
    wanted = {"toolsListChanged": True, "resourcesListChanged": True, "resourceSubscriptions": ["a:1"]}
    stream = place.modern.request("subscriptions/listen", {"notifications": wanted})
    assert stream.is_stream
    acknowledged = stream.message()
    assert acknowledged["method"] == "notifications/subscriptions/acknowledged"
    assert acknowledged["params"] == {
        "notifications": {"toolsListChanged": True, "resourceSubscriptions": ["a:1"]},
        "_meta": {f"{META}subscriptionId": "r1"},
    }
    place.legacy.tool("x", emit=[_changed("prompts"), _updated("a:2"), _changed("resources"), _updated("a:1")])
    assert stream.message()["params"] == {"uri": "a:1", "_meta": {f"{META}subscriptionId": "r1"}}
    place.legacy.tool("x", emit=[_changed("tools")])
    told = stream.message()
    assert (told["method"], told["params"]["_meta"]) == (
        "notifications/tools/list_changed",
        {f"{META}subscriptionId": "r1"},
    )


def test_the_server_is_asked_once_for_a_resource_and_let_go_after_the_last(bench: Callable[..., Bench]) -> None:
    place = bench({"initialize": {"capabilities": {"resources": {"subscribe": True}, "tools": {}}}})
    params = {"notifications": {"resourceSubscriptions": ["a:1"]}}
    streams = [place.modern.request("subscriptions/listen", params) for _ in range(3)]
    assert [stream.message()["params"]["_meta"][f"{META}subscriptionId"] for stream in streams] == ["r1", "r2", "r3"]
    assert place.methods().count("resources/subscribe") == 1
    place.legacy.tool("x", emit=[_updated("a:1")])
    assert [stream.message()["params"]["uri"] for stream in streams] == ["a:1"] * 3
    for stream in streams[:2]:
        stream.leave()
    assert "resources/unsubscribe" not in place.methods()
    streams[2].leave()
    eventually(lambda: place.methods().count("resources/unsubscribe") == 1)


@pytest.mark.parametrize(
    "notifications", [None, [], "x", {"resourceSubscriptions": "a"}, {"resourceSubscriptions": [1]}]
)
def test_a_filter_that_is_none_is_refused(bench: Callable[..., Bench], notifications: Any) -> None:
    script = {"initialize": {"capabilities": {"resources": {"subscribe": True}}}}
    answer = bench(script).modern.request("subscriptions/listen", {"notifications": notifications})
    assert (answer.status, answer.message()["error"]["code"]) == (400, -32602)


def test_a_listener_names_so_many_resources_and_no_more(bench: Callable[..., Bench]) -> None:
    place = bench({"initialize": {"capabilities": {"resources": {"subscribe": True}}}})
    for uris in ([f"a:{number}" for number in range(1001)], [f"{number}".zfill(8000) for number in range(40)]):
        answer = place.modern.request("subscriptions/listen", {"notifications": {"resourceSubscriptions": uris}})
        assert (answer.status, answer.message()["error"]["code"]) == (400, -32602)


def test_a_listener_stays_through_an_exchange_of_the_server(
    bench: Callable[..., Bench], start_server: StartServer
) -> None:
    script = {"initialize": {"capabilities": {"resources": {"subscribe": True}, "tools": {}}}}
    place = bench(script)
    stream = place.modern.request("subscriptions/listen", {"notifications": {"resourceSubscriptions": ["a:1"]}})
    stream.message()
    successor = start_server("scripted_server.py", script, generation=2)
    place.gateway.serve(successor.route(place.legacy.port))
    place.gateway.until(RouteState.READY, "echo.2")
    eventually(lambda: "resources/subscribe" in place.methods())
    place.legacy.tool("x", emit=[_updated("a:1")])
    assert stream.message()["params"]["uri"] == "a:1"
    stream.leave()
    eventually(lambda: "resources/unsubscribe" in place.methods())


def test_a_drain_ends_a_listener_with_an_empty_result(bench: Callable[..., Bench]) -> None:
    place = bench()
    stream = place.modern.request("subscriptions/listen", {"notifications": {}})
    assert stream.message()["params"]["notifications"] == {}
    assert place.gateway.process is not None
    place.gateway.process.terminate()
    meta = {f"{META}subscriptionId": "r1"}
    assert stream.rest() == [{"jsonrpc": "2.0", "id": "r1", "result": {"resultType": "complete", "_meta": meta}}]


def _named(messages: list[Script], tool: str) -> list[Script]:
    return [each for each in messages if each.get("params", {}).get("name") == tool]


def _changed(what: str) -> str:
    return json.dumps({"jsonrpc": "2.0", "method": f"notifications/{what}/list_changed"})


def _updated(uri: str) -> str:
    return json.dumps({"jsonrpc": "2.0", "method": "notifications/resources/updated", "params": {"uri": uri}})
