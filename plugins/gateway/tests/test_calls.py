"""Calls through a running gateway: ids, tokens, streams, cancellation, timeouts, and who gets what."""

from __future__ import annotations

import contextlib
import json
import signal
import socket
import threading
from typing import Any

import pytest

from thv_core.model.route import Order, RouteState
from thv_testkit.gateways import McpClient, free_port
from thv_testkit.waiting import eventually


def call(name: str, arguments: dict[str, Any] | None = None, identifier: Any = 7, token: Any = None) -> dict[str, Any]:
    params: dict[str, Any] = {"name": name, "arguments": arguments or {}}
    if token is not None:
        params["_meta"] = {"progressToken": token}
    return {"jsonrpc": "2.0", "id": identifier, "method": "tools/call", "params": params}


def seen_by(client: McpClient) -> list[dict[str, Any]]:
    lines = client.tool("seen")["structuredContent"]["lines"]
    return [json.loads(line) for line in lines if line.startswith("{")]


@pytest.fixture
def scripted(gateway: Any, start_server: Any, connect: Any) -> McpClient:
    return connect(gateway, start_server("scripted_server.py", {}), request_timeout=1.0)


@pytest.fixture
def client(gateway: Any, start_server: Any, connect: Any) -> McpClient:
    return connect(gateway, start_server())


@pytest.mark.parametrize("raw", [b"7", b'"7"', b'"a\\u0062"', b"12345678901234567890123", b'"\\u00e4"'])
def test_an_id_comes_back_byte_for_byte(client: McpClient, raw: bytes) -> None:
    status, _, body = client.send("POST", b'{"jsonrpc":"2.0","id":%s,"method":"ping"}' % raw)
    assert status == 200
    assert body == b'{"jsonrpc":"2.0","id":%s,"result":{}}' % raw


def test_values_reach_the_server_as_they_were_written(scripted: McpClient) -> None:
    arguments = b'{"big": 12345678901234567890.10, "same":1, "same":2, "text":"\\u00e4\\/"}'
    body = b'{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"name":"x","arguments":%s}}' % arguments
    assert scripted.send("POST", body)[0] == 200
    lines = scripted.tool("seen")["structuredContent"]["lines"]
    assert any(arguments.decode() in line for line in lines)


def test_a_pretty_printed_body_is_one_line_for_the_server(scripted: McpClient) -> None:
    smuggled = json.dumps(call("x", {"a": [{"jsonrpc": "2.0"}]}), indent=1).replace("\n", "\r\n")
    assert scripted.send("POST", smuggled.encode())[0] == 200
    lines = scripted.tool("seen")["structuredContent"]["lines"]
    assert all(line.startswith('{"jsonrpc":"2.0"') and line.endswith("}") for line in lines)


def test_ids_and_tokens_of_the_client_never_reach_the_server(scripted: McpClient) -> None:
    scripted.send("POST", call("x", identifier="mine", token="mine"))
    (sent,) = [each for each in seen_by(scripted) if each.get("params", {}).get("name") == "x"]
    assert sent["id"] != "mine"
    assert sent["params"]["_meta"]["progressToken"] != "mine"


def test_an_answer_without_prelude_is_json_and_one_with_progress_is_a_stream(client: McpClient, stream: Any) -> None:
    assert stream(client, "POST", call("echo", {"text": "x"})).begin() == "application/json"
    slow = stream(client, "POST", call("sleep", {"seconds": 0.1, "steps": 2}, token=5))
    assert slow.begin() == "text/event-stream"
    assert [slow.message()["params"]["progress"] for _ in range(2)] == [1, 2]
    assert slow.message()["id"] == 7
    assert slow.at_end()


@pytest.mark.parametrize("token", [5, "five", "5"])
def test_a_progress_token_comes_back_as_it_was(client: McpClient, stream: Any, token: Any) -> None:
    slow = stream(client, "POST", call("sleep", {"seconds": 0.01, "steps": 1}, token=token))
    assert slow.message()["params"]["progressToken"] == token


def test_a_cancelled_call_ends_and_the_server_learns_its_own_id(scripted: McpClient, stream: Any) -> None:
    waiting = stream(scripted, "POST", call("never", identifier="stop me"))
    eventually(lambda: any(each.get("params", {}).get("name") == "never" for each in seen_by(scripted)))
    cancelled = {"jsonrpc": "2.0", "method": "notifications/cancelled", "params": {"requestId": "stop me"}}
    assert scripted.send("POST", cancelled)[0] == 202
    answer = waiting.message()
    assert answer["error"]["code"] == -32800
    assert answer["id"] == "stop me"
    lines = seen_by(scripted)
    (sent,) = [each["id"] for each in lines if each.get("params", {}).get("name") == "never"]
    (told,) = [each["params"]["requestId"] for each in lines if each["method"] == "notifications/cancelled"]
    assert told == sent


def test_a_call_is_cancelled_once_however_often_its_client_says_so(scripted: McpClient, stream: Any) -> None:
    waiting = stream(scripted, "POST", call("never", identifier=1))
    eventually(lambda: any(each.get("params", {}).get("name") == "never" for each in seen_by(scripted)))
    cancelled = {"jsonrpc": "2.0", "method": "notifications/cancelled", "params": {"requestId": 1}}
    for _ in range(20):
        assert scripted.send("POST", cancelled)[0] == 202
    assert waiting.message()["error"]["code"] == -32800
    methods = [each["method"] for each in seen_by(scripted)]
    assert (methods.count("notifications/cancelled"), methods.count("ping")) == (1, 1)


def test_a_session_cannot_cancel_the_call_of_another(client: McpClient, another: Any, stream: Any) -> None:
    waiting = stream(client, "POST", call("sleep", {"seconds": 0.5}, identifier=1))
    other = another(client)
    other.send("POST", {"jsonrpc": "2.0", "method": "notifications/cancelled", "params": {"requestId": 1}})
    assert waiting.message()["result"]["content"][0]["text"] == "slept 0.5 seconds"


def test_silence_ends_a_call_and_the_server_is_told(scripted: McpClient) -> None:
    status, _, body = scripted.send("POST", call("never"))
    assert status == 504
    assert json.loads(body)["id"] == 7
    assert any(each["method"] == "notifications/cancelled" for each in seen_by(scripted))


def test_progress_keeps_a_slow_call_alive(gateway: Any, start_server: Any, connect: Any, stream: Any) -> None:
    client = connect(gateway, start_server(), request_timeout=0.5)
    slow = stream(client, "POST", call("sleep", {"seconds": 1.5, "steps": 10}, token=1))
    messages = [slow.message() for _ in range(11)]
    assert "result" in messages[-1]


def test_a_client_that_hangs_up_does_not_cancel(client: McpClient, stream: Any, tmp_path: Any) -> None:
    waiting = stream(client, "POST", call("sleep", {"seconds": 0.2}))
    waiting.connection.close()
    assert client.tool("echo", text="x")
    assert client.tool("sleep", seconds=0.4)


def test_a_server_that_dies_ends_the_calls_in_flight(
    client: McpClient, gateway: Any, stream: Any, start_server: Any
) -> None:
    waiting = stream(client, "POST", call("sleep", {"seconds": 60}))
    client.send("POST", call("crash"))
    assert waiting.message()["error"]["code"] == -32603
    assert waiting.response.status == 502


def test_a_question_goes_to_the_caller_and_only_he_may_answer(client: McpClient, another: Any, stream: Any) -> None:
    asker, stranger = another(client, elicitation={}), another(client, elicitation={})
    asking = stream(asker, "POST", call("ask"))
    question = asking.message()
    assert question["method"] == "elicitation/create"
    for wrong, right in ((stranger, "wrong"), (asker, "right")):
        answer = {"jsonrpc": "2.0", "id": question["id"], "result": {"action": "accept", "content": {"name": right}}}
        assert wrong.send("POST", answer)[0] == 202
    assert asking.message()["result"]["structuredContent"]["content"] == {"name": "right"}


def test_a_question_that_could_be_for_two_sessions_is_refused(client: McpClient, another: Any, stream: Any) -> None:
    first, second = another(client, elicitation={}), another(client, elicitation={})
    waiting = stream(first, "POST", call("sleep", {"seconds": 1}, token=1))
    waiting.message()
    answer = stream(second, "POST", call("ask")).message()
    assert "several clients" in json.dumps(answer)


def test_log_messages_never_reach_a_foreign_session(scripted: McpClient, another: Any, stream: Any) -> None:
    other = another(scripted)
    foreign = stream(other)
    assert foreign.begin() == "text/event-stream"
    note = '{"jsonrpc":"2.0","method":"notifications/message","params":{"level":"info","data":"private"}}'
    mine = stream(scripted, "POST", call("x", {"emit": [note]}))
    assert mine.message()["params"]["data"] == "private"
    changed = '{"jsonrpc":"2.0","method":"notifications/prompts/list_changed"}'
    scripted.tool("x", emit=[changed])
    assert foreign.message()["method"] == "notifications/prompts/list_changed"


def test_changes_of_lists_reach_every_listening_session(scripted: McpClient, another: Any, stream: Any) -> None:
    streams = [stream(scripted), stream(another(scripted))]
    assert {each.begin() for each in streams} == {"text/event-stream"}
    scripted.tool("x", emit=['{"jsonrpc":"2.0","method":"notifications/tools/list_changed"}'])
    assert [each.message()["method"] for each in streams] == ["notifications/tools/list_changed"] * 2


def test_updates_reach_subscribers_only_also_after_a_restart(
    scripted: McpClient, another: Any, stream: Any, gateway: Any
) -> None:
    def request(method: str) -> dict[str, Any]:
        return {"jsonrpc": "2.0", "id": 1, "method": method, "params": {"uri": "file:///a"}}

    other = another(scripted)
    for each in (scripted, other):
        assert each.send("POST", request("resources/subscribe"))[0] == 200
    assert other.send("POST", request("resources/unsubscribe"))[0] == 200
    assert not any(each["method"] == "resources/unsubscribe" for each in seen_by(scripted))
    gateway.kill()
    gateway.start()
    for each in (scripted, other):
        each.close()
        eventually(lambda each=each: _alive(each))
    mine, foreign = stream(scripted), stream(other)
    assert {mine.begin(), foreign.begin()} == {"text/event-stream"}
    updated = '{"jsonrpc":"2.0","method":"notifications/resources/updated","params":{"uri":"file:///a"}}'
    changed = '{"jsonrpc":"2.0","method":"notifications/prompts/list_changed"}'
    scripted.tool("x", emit=[updated, changed])
    assert mine.message()["params"]["uri"] == "file:///a"
    assert foreign.message()["method"].endswith("list_changed")


def test_a_uri_that_is_too_long_is_not_subscribed_to(scripted: McpClient) -> None:
    for length, status in ((8192, 200), (8193, 400)):
        subscribe = {"jsonrpc": "2.0", "id": 1, "method": "resources/subscribe", "params": {"uri": "x" * length}}
        assert scripted.send("POST", subscribe)[0] == status


def test_a_new_incarnation_learns_what_sessions_had_subscribed_to(
    scripted: McpClient, gateway: Any, start_server: Any
) -> None:
    subscribe = {"jsonrpc": "2.0", "id": 1, "method": "resources/subscribe", "params": {"uri": "file:///a"}}
    assert scripted.send("POST", subscribe)[0] == 200
    gateway.serve(start_server("scripted_server.py", {}, generation=2).route(scripted.port))
    gateway.until(RouteState.READY, "echo.2")
    assert any(each["method"] == "resources/subscribe" for each in seen_by(scripted))


def _alive(client: McpClient) -> bool:
    try:
        return client.send("POST", {"jsonrpc": "2.0", "id": 1, "method": "ping"})[0] == 200
    except OSError:
        client.close()
        return False


def test_a_burst_reaches_a_client_that_reads(client: McpClient, stream: Any) -> None:
    chatty = stream(client, "POST", call("log", {"text": "x", "times": 10_000}))
    assert [chatty.message()["method"] for _ in range(10_000)] == ["notifications/message"] * 10_000
    assert "result" in chatty.message()


def test_a_client_that_does_not_read_disturbs_nobody(client: McpClient, another: Any, stream: Any) -> None:
    other = another(client)
    deaf = stream(client, "POST", call("log", {"text": "x" * 5000, "times": 10_000}))
    assert deaf.begin() == "text/event-stream"
    # The server answers in order: the ping's answer comes when everything was said to the deaf one.
    assert other.send("POST", {"jsonrpc": "2.0", "id": 1, "method": "ping"})[0] == 200
    received = []
    while not ({"result", "error"} & (received[-1] if received else {}).keys()):
        received.append(deaf.message())
    assert received[-1].get("error", {}).get("message") == "The client reads too slowly"
    assert len(received) < 10_000


def test_a_server_that_does_not_read_makes_the_gateway_refuse_more(
    gateway: Any, start_server: Any, connect: Any, stream: Any
) -> None:
    server = start_server()
    client = connect(gateway, server)
    server.process.send_signal(signal.SIGSTOP)
    waiting = [stream(client, "POST", call("echo", {"text": "x" * 500_000}, identifier=each)) for each in range(12)]

    def refused() -> bool:
        probe = stream(client, "POST", call("echo", {"text": "x" * 500_000}))
        probe.connection.sock.settimeout(0.1)
        try:
            return probe.begin() == "application/json" and probe.response.status == 503
        except TimeoutError:
            return False

    eventually(refused)
    status, headers, _ = client.send("POST", call("echo", {"text": "x"}))
    assert (status, headers["retry-after"]) == (503, "1")
    server.process.send_signal(signal.SIGCONT)
    assert [each.message()["id"] for each in waiting[:3]] == [0, 1, 2]


def test_a_request_waits_for_a_server_that_is_starting(gateway: Any, start_server: Any) -> None:
    server, port = start_server(), free_port()
    server.process.send_signal(signal.SIGSTOP)
    gateway.start().serve(server.route(port))
    gateway.until(RouteState.STARTING, "echo.1")
    client = McpClient(port)
    eventually(lambda: _listens(port))
    timer = threading.Timer(0.3, server.process.send_signal, [signal.SIGCONT])
    timer.start()
    with contextlib.closing(client):
        assert client.initialize()["serverInfo"]
    timer.join()


def _listens(port: int) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0


def test_a_reload_that_changes_nothing_disturbs_nothing(
    gateway: Any, start_server: Any, connect: Any, stream: Any
) -> None:
    client = connect(gateway, start_server())
    listening, waiting = stream(client), stream(client, "POST", call("sleep", {"seconds": 0.5}))
    listening.begin()
    gateway.order(Order.RELOAD)
    assert waiting.message()["result"]
    assert client.send("DELETE", None)[0] == 204
    assert listening.at_end()


def test_a_second_stream_replaces_the_first(client: McpClient, stream: Any) -> None:
    first = stream(client)
    first.begin()
    second = stream(client)
    second.begin()
    assert first.at_end()


def test_a_deleted_session_is_unknown_and_its_stream_ends(client: McpClient, stream: Any) -> None:
    listening = stream(client)
    listening.begin()
    assert client.send("DELETE", None)[0] == 204
    assert listening.at_end()
    status, _, body = client.send("POST", {"jsonrpc": "2.0", "id": 1, "method": "ping"})
    assert (status, json.loads(body)["error"]["code"]) == (404, -32001)


def test_a_ping_of_the_server_is_answered_by_the_gateway(scripted: McpClient) -> None:
    assert scripted.tool("x", emit=['{"jsonrpc":"2.0","id":"p","method":"ping"}'])
    eventually(lambda: '{"jsonrpc":"2.0","id":"p","result":{}}' in scripted.tool("seen")["structuredContent"]["lines"])


def test_many_threads_get_their_own_answers(client: McpClient, another: Any) -> None:
    wrong: list[str] = []

    def work(each: McpClient, name: str) -> None:
        for number in range(30):
            said = each.tool("echo", text=f"{name} {number}")["content"][0]["text"]
            if said != f"{name} {number}":
                wrong.append(said)

    threads = [threading.Thread(target=work, args=(another(client), str(index))) for index in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(timeout=30)
    assert not wrong
