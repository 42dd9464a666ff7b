import http.client
import json
import threading

import pytest

from thv_testkit.echo.http_transport import HttpEcho
from thv_testkit.echo.server import Echo

META = {
    "io.modelcontextprotocol/protocolVersion": "2026-07-28",
    "io.modelcontextprotocol/clientCapabilities": {"elicitation": {}},
}


@pytest.fixture
def port():
    with HttpEcho(Echo(), 0) as listener:
        threading.Thread(target=listener.serve_forever, args=(0.02,), daemon=True).start()
        yield listener.server_port
        listener.shutdown()


@pytest.fixture
def connect(port):
    connections = []

    def connecting():
        connections.append(http.client.HTTPConnection("127.0.0.1", port, timeout=10))
        return connections[-1]

    yield connecting
    for connection in connections:
        connection.close()


@pytest.fixture
def ask(connect):
    def asking(method, params=None, headers=None, verb="POST", **message):
        connection = connect()
        body = json.dumps({"jsonrpc": "2.0", "id": 1, "method": method, "params": params or {}, **message})
        connection.request(verb, "/mcp", body, {"Content-Type": "application/json", **(headers or {})})
        return connection.getresponse()

    return asking


@pytest.fixture
def session(ask):
    answer = ask("initialize", {"protocolVersion": "2025-11-25"})
    assert json.load(answer)["result"]["protocolVersion"] == "2025-11-25"
    return {"Mcp-Session-Id": answer.headers["mcp-session-id"]}


def modern(method, name=""):
    headers = {"MCP-Protocol-Version": "2026-07-28", "Mcp-Method": method}
    return headers | ({"Mcp-Name": name} if name else {})


def events(answer):
    assert answer.headers["content-type"] == "text/event-stream"
    return [json.loads(line[6:]) for line in answer if line.startswith(b"data: ")]


def test_a_legacy_call_needs_its_session(ask, session):
    params = {"name": "echo", "arguments": {"text": "hello"}}
    assert json.load(ask("tools/call", params, session))["result"]["content"][0]["text"] == "hello"
    assert ask("tools/call", params).status == 400
    assert ask("tools/call", params, {"Mcp-Session-Id": "unknown"}).status == 404


def test_a_session_that_was_ended_is_unknown(ask, session):
    assert ask("", verb="DELETE", headers=session).status == 200
    assert ask("", verb="DELETE", headers=session).status == 404
    assert ask("ping", {}, session).status == 404


def test_a_modern_call_is_stateless(ask):
    params = {"name": "echo", "arguments": {"text": "hello"}, "_meta": META}
    answer = ask("tools/call", params, modern("tools/call", "echo"))
    assert (answer.status, answer.headers["mcp-session-id"]) == (200, None)
    assert json.load(answer)["result"]["resultType"] == "complete"


@pytest.mark.parametrize("headers", [{}, modern("tools/list"), modern("tools/call", "count"), modern("tools/call")])
def test_modern_headers_that_disagree_with_the_body_are_refused(ask, headers):
    answer = ask("tools/call", {"name": "echo", "arguments": {"text": "x"}, "_meta": META}, headers)
    assert (answer.status, json.load(answer)["error"]["code"]) == (400, -32020)


def test_modern_errors_have_a_status(ask):
    assert ask("no/such/method", {"_meta": META}, modern("no/such/method")).status == 404
    unsupported = {**META, "io.modelcontextprotocol/protocolVersion": "2030-01-01"}
    headers = {**modern("tools/list"), "MCP-Protocol-Version": "2030-01-01"}
    answer = ask("tools/list", {"_meta": unsupported}, headers)
    assert (answer.status, json.load(answer)["error"]["code"]) == (400, -32022)


def test_progress_turns_the_answer_into_a_stream(ask, session):
    params = {"name": "sleep", "arguments": {"seconds": 0.05, "steps": 2}, "_meta": {"progressToken": 1}}
    messages = events(ask("tools/call", params, session))
    assert [each.get("method") for each in messages] == ["notifications/progress", "notifications/progress", None]


def test_a_question_is_answered_by_another_request(ask, session, connect):
    answer = ask("tools/call", {"name": "ask", "arguments": {"kind": "sampling"}}, session)
    lines = (line for line in answer if line.startswith(b"data: "))
    question = json.loads(next(lines)[6:])
    assert question["method"] == "sampling/createMessage"
    connection = connect()
    body = json.dumps({"jsonrpc": "2.0", "id": question["id"], "result": {"role": "assistant"}})
    connection.request("POST", "/mcp", body, session)
    assert connection.getresponse().status == 202
    assert json.loads(next(lines)[6:])["result"]["structuredContent"] == {"role": "assistant"}


def test_a_notification_is_accepted_without_a_body(connect, session):
    connection = connect()
    connection.request("POST", "/mcp", json.dumps({"jsonrpc": "2.0", "method": "notifications/initialized"}), session)
    answer = connection.getresponse()
    assert (answer.status, answer.read()) == (202, b"")


@pytest.mark.parametrize(
    ("body", "headers", "status"),
    [
        (b"{", {}, 400),
        (b"[]", {}, 400),
        (b"{}", {"Origin": "https://evil.example"}, 403),
        (b"", {"Content-Length": str(1 << 30)}, 413),
    ],
    ids=["no JSON", "batch", "foreign origin", "too long"],
)
def test_what_cannot_be_meant_is_refused(connect, body, headers, status):
    connection = connect()
    connection.request("POST", "/mcp", body, headers)
    assert connection.getresponse().status == status


def test_there_is_no_stream_to_get(connect):
    connection = connect()
    connection.request("GET", "/mcp")
    assert connection.getresponse().status == 405
