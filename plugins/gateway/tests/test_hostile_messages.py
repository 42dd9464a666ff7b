"""Bodies and headers that a client should not send, each with the exact status and code, in both eras.

``None`` for a code is an answer without a body. Every case is one that two readers could read differently, or that asks
for what an era does not have (MCP 2025-11-25 and 2026-07-28, transports; JSON-RPC 2.0).
"""

from __future__ import annotations

import base64
import json
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from thv_core.model.route import RouteState
from thv_testkit.gateways import McpClient, RunningGateway, RunningServer, free_port, serve_command

META = "io.modelcontextprotocol/"
MODERN = "2026-07-28"
FRAME = '{"jsonrpc":"2.0","id":1,"method":"tools/list"'

Json = dict[str, Any]
Headers = dict[str, str | None]


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[McpClient]:
    folder = tmp_path_factory.mktemp("hostile")
    server = RunningServer(folder)
    gateway = RunningGateway(serve_command("thv_gateway.gateway:HttpGateway"), folder / "gateway")
    client = McpClient(free_port())
    gateway.serve(server.route(client.port))
    try:
        gateway.start().until(RouteState.READY, "echo.1")
        client.initialize()
        yield client
    finally:
        client.close()
        gateway.cut_lifeline()
        gateway.kill()
        server.stop()


def _deep(depth: int) -> str:
    return "[" * depth + "]" * depth


BODIES: list[tuple[str, bytes | str, int]] = [
    ("nothing", b"", -32700),
    ("a space", b" ", -32700),
    ("no JSON", b"hello", -32700),
    ("half a body", FRAME, -32700),
    ("two bodies", FRAME + "}" + FRAME + "}", -32700),
    ("a trailing comma", FRAME + ",}", -32700),
    ("a comment", FRAME + "/* x */}", -32700),
    ("single quotes", "{'jsonrpc':'2.0','id':1,'method':'tools/list'}", -32700),
    ("a byte order mark", b"\xef\xbb\xbf" + FRAME.encode() + b"}", -32700),
    ("UTF-16", (FRAME + "}").encode("utf-16"), -32700),
    ("invalid UTF-8 in a value", b'{"jsonrpc":"2.0","id":1,"method":"\xff"}', -32700),
    ("invalid UTF-8 in a key", b'{"jsonrpc":"2.0","id":1,"method":"a","params":{"\xc3":1}}', -32700),
    ("overlong UTF-8", b'{"jsonrpc":"2.0","id":1,"method":"a","params":{"x":"\xc0\xaf"}}', -32700),
    ("a surrogate in UTF-8", b'{"jsonrpc":"2.0","id":1,"method":"a","params":{"x":"\xed\xa0\x80"}}', -32700),
    ("a control character", FRAME + ',"params":{"x":"a\x01b"}}', -32700),
    ("a newline in a string", FRAME + ',"params":{"x":"a\nb"}}', -32700),
    ("NaN", FRAME + ',"params":{"x":NaN}}', -32700),
    ("Infinity", FRAME + ',"params":{"x":Infinity}}', -32700),
    ("a number with a leading zero", FRAME + ',"params":{"x":01}}', -32700),
    ("a bad escape", FRAME + ',"params":{"x":"\\q"}}', -32700),
    ("an open string", FRAME + ',"params":{"x":"', -32700),
    ("nesting of lists", FRAME + f',"params":{{"x":{_deep(200)}}}}}', -32600),
    ("nesting of objects", FRAME + ',"params":' + '{"x":' * 200 + "1" + "}" * 201, -32600),
    ("nesting without an end", FRAME + ',"params":' + "[" * 100_000, -32600),
    ("a batch", "[" + FRAME + "}]", -32600),
    ("a batch after a space", " \n[" + FRAME + "}]", -32600),
    ("an empty batch", "[]", -32600),
    ("a string", '"tools/list"', -32600),
    ("a number", "1", -32600),
    ("null", "null", -32600),
    ("an empty object", "{}", -32600),
    ("no version", '{"id":1,"method":"tools/list"}', -32600),
    ("version 1.0", '{"jsonrpc":"1.0","id":1,"method":"tools/list"}', -32600),
    ("a version that is a number", '{"jsonrpc":2.0,"id":1,"method":"tools/list"}', -32600),
    ("a version with an escape", '{"jsonrpc":"2\\u002e0","id":1,"method":"tools/list"}', -32600),
    ("an id that is null", '{"jsonrpc":"2.0","id":null,"method":"tools/list"}', -32600),
    ("an id that is a list", '{"jsonrpc":"2.0","id":[1],"method":"tools/list"}', -32600),
    ("an id that is an object", '{"jsonrpc":"2.0","id":{"a":1},"method":"tools/list"}', -32600),
    ("an id that is true", '{"jsonrpc":"2.0","id":true,"method":"tools/list"}', -32600),
    ("no method", '{"jsonrpc":"2.0","id":1}', -32600),
    ("an empty method", '{"jsonrpc":"2.0","id":1,"method":""}', -32600),
    ("a method that is null", '{"jsonrpc":"2.0","id":1,"method":null}', -32600),
    ("a method that is a list", '{"jsonrpc":"2.0","id":1,"method":["tools/list"]}', -32600),
    ("a method and a result", FRAME + ',"result":{}}', -32600),
    ("a method and an error", FRAME + ',"error":{}}', -32600),
    ("a result and an error", '{"jsonrpc":"2.0","id":1,"result":{},"error":{}}', -32600),
    ("a response without an id", '{"jsonrpc":"2.0","result":{}}', -32600),
    ("params that are a list", FRAME + ',"params":[1]}', -32600),
    ("params that are a string", FRAME + ',"params":"x"}', -32600),
    ("params that are null", FRAME + ',"params":null}', -32600),
    ("_meta that is a list", FRAME + ',"params":{"_meta":[]}}', -32600),
    ("_meta that is null", FRAME + ',"params":{"_meta":null}}', -32600),
    ("two ids", '{"jsonrpc":"2.0","id":1,"id":2,"method":"tools/list"}', -32600),
    ("two methods", FRAME + ',"method":"tools/call"}', -32600),
    ("two methods by an escape", FRAME + ',"meth\\u006fd":"tools/call"}', -32600),
    ("a method in another case", FRAME + ',"Method":"tools/call"}', -32600),
    ("params in another case", FRAME + ',"Params":{}}', -32600),
    ("two params", FRAME + ',"params":{},"params":{}}', -32600),
    ("two names", FRAME + ',"params":{"name":"a","name":"b"}}', -32600),
    ("a name in another case", FRAME + ',"params":{"name":"a","NAME":"b"}}', -32600),
    ("a name in another case alone", FRAME + ',"params":{"Name":"a"}}', -32600),
    ("a name by the Kelvin sign", FRAME + ',"params":{"to\u212aen":1,"token":2}}', -32600),
    ("two cursors", FRAME + ',"params":{"cursor":"a","cursor":"b"}}', -32600),
    ("two _meta", FRAME + ',"params":{"_meta":{},"_meta":{}}}', -32600),
    ("_meta in another case", FRAME + ',"params":{"_META":{}}}', -32600),
    ("two progress tokens", FRAME + ',"params":{"_meta":{"progressToken":1,"progressToken":2}}}', -32600),
    ("a progress token in another case", FRAME + ',"params":{"_meta":{"ProgressToken":1}}}', -32600),
    ("a reserved key in another case", FRAME + f',"params":{{"_meta":{{"{META}ProtocolVersion":"x"}}}}}}', -32600),
    ("two reserved keys", FRAME + f',"params":{{"_meta":{{"{META}logLevel":1,"{META}logLevel":2}}}}}}', -32600),
    ("a request state in another case", FRAME + ',"params":{"requeststate":"x"}}', -32600),
    ("two input responses", FRAME + ',"params":{"inputResponses":{},"inputResponses":{}}}', -32600),
]


@pytest.mark.parametrize("era", ["legacy", "modern"])
@pytest.mark.parametrize(("body", "code"), [case[1:] for case in BODIES], ids=[case[0] for case in BODIES])
def test_a_hostile_body_is_400_in_either_era(served: McpClient, era: str, body: bytes | str, code: int) -> None:
    data = body if isinstance(body, bytes) else body.encode()
    headers = {"mcp_protocol_version": "2025-11-25"}
    if era == "modern":
        headers = {"mcp_protocol_version": MODERN, "mcp_method": "tools/list"}
    status, _, answer = served.send("POST", data, **headers)
    assert (status, json.loads(answer)["error"]["code"]) == (400, code), answer


@pytest.mark.parametrize(
    ("body", "identifier"),
    [
        ('{"jsonrpc":"1.0","id":1,"method":"tools/list"}', 1),
        ('{"jsonrpc":"2.0","id":"a","method":"tools/list","params":[]}', "a"),
        ('{"jsonrpc":"2.0","id":"a","method":"tools/call","params":{"name":"x","name":"y"}}', "a"),
        ('{ "jsonrpc" : "2.0", "id" : 2, "method" : "x", "params" : ' + "[" * 200 + "]" * 200 + "}", 2),
        ('{"jsonrpc":"2.0","id":1,"id":2,"method":"tools/list"}', None),
        ('{"jsonrpc":"2.0","id":{},"method":"tools/list"}', None),
        # What answers a request of the server must not look like the answer to one of the client.
        ('{"jsonrpc":"2.0","id":1,"result":{},"error":{}}', None),
        ('[{"jsonrpc":"2.0","id":1,"method":"tools/list"}]', None),
        ('{"jsonrpc":"2.0","id":1,"method":"tools/list"', None),
    ],
)
def test_a_malformed_request_is_refused_under_its_id_where_that_is_clear(
    served: McpClient, body: str, identifier: object
) -> None:
    status, _, answer = served.send("POST", body.encode(), mcp_protocol_version="2025-11-25")
    assert status == 400
    assert json.loads(answer).get("id") == identifier, answer


def _envelope(**changes: Any) -> Json:
    meta = {f"{META}protocolVersion": MODERN, f"{META}clientCapabilities": {}}
    meta |= {META + name: value for name, value in changes.items()}
    return {name: value for name, value in meta.items() if value != "absent"}


def _request(method: str, params: Json | None = None, **meta: Any) -> Json:
    return {"jsonrpc": "2.0", "id": "i", "method": method, "params": {"_meta": _envelope(**meta), **(params or {})}}


def _wrapped(text: str) -> str:
    return f"=?base64?{base64.b64encode(text.encode()).decode()}?="


OPENING = {"protocolVersion": "2025-11-25", "capabilities": {}, "clientInfo": {"name": "n", "version": "1"}}
INITIALIZE = {"jsonrpc": "2.0", "id": 1, "method": "initialize", "params": OPENING}
LIST = _request("tools/list")
CALL = _request("tools/call", {"name": "echo", "arguments": {"text": "x"}})
READ = _request("resources/read", {"uri": "a:\u00e4"})

MODERN_CASES: list[tuple[str, Json, Headers, int, int | None]] = [
    ("a good list", LIST, {}, 200, None),
    ("a good call", CALL, {}, 200, None),
    ("spaces around a value", CALL, {"mcp-name": " echo\t", "mcp-method": "tools/call "}, 200, None),
    ("a name in base64", CALL, {"mcp-name": _wrapped("echo")}, 200, None),
    ("no version header", LIST, {"mcp-protocol-version": None}, 400, -32020),
    ("no method header", LIST, {"mcp-method": None}, 400, -32020),
    ("an empty method header", LIST, {"mcp-method": ""}, 400, -32020),
    ("another method", LIST, {"mcp-method": "tools/call"}, 400, -32020),
    ("a method in another case", LIST, {"mcp-method": "Tools/List"}, 400, -32020),
    ("a method in base64", LIST, {"mcp-method": _wrapped("tools/list")}, 400, -32020),
    ("no name header", CALL, {"mcp-name": None}, 400, -32020),
    ("another name", CALL, {"mcp-name": "count"}, 400, -32020),
    ("a name in another case", CALL, {"mcp-name": "Echo"}, 400, -32020),
    ("an empty name header", CALL, {"mcp-name": ""}, 400, -32020),
    ("a list of names", CALL, {"mcp-name": "echo, count"}, 400, -32020),
    ("base64 of another name", CALL, {"mcp-name": _wrapped("count")}, 400, -32020),
    ("base64 with a space", CALL, {"mcp-name": "=?base64?ZWNo bw==?="}, 400, -32020),
    ("base64 without padding", CALL, {"mcp-name": "=?base64?ZWNobw?="}, 400, -32020),
    ("base64 that is not canonical", CALL, {"mcp-name": "=?base64?ZWNobx==?="}, 400, -32020),
    (
        "base64 of the URL alphabet",
        _request("tools/call", {"name": "\u00ff>"}),
        {"mcp-name": "=?base64?w78-?="},
        400,
        -32020,
    ),
    ("base64 of invalid UTF-8", CALL, {"mcp-name": "=?base64?/w==?="}, 400, -32020),
    ("a marker in another case", CALL, {"mcp-name": "=?BASE64?ZWNobw==?="}, 400, -32020),
    ("base64 of nothing", CALL, {"mcp-name": "=?base64??="}, 400, -32020),
    ("bytes above ASCII", READ, {"mcp-name": "a:\u00e4"}, 400, -32020),
    ("a name header for a call without a name", _request("tools/call"), {"mcp-name": "echo"}, 400, -32020),
    ("a name that is a number", _request("tools/call", {"name": 5}), {"mcp-name": "5"}, 400, -32020),
    ("a name that is a list", _request("tools/call", {"name": ["echo"]}), {"mcp-name": "echo"}, 400, -32020),
    ("a header version of the other era", LIST, {"mcp-protocol-version": "2025-11-25"}, 200, None),
    (
        "an unknown version",
        _request("tools/list", protocolVersion="2099-01-01"),
        {"mcp-protocol-version": "2099-01-01"},
        400,
        -32022,
    ),
    ("another unknown version", LIST, {"mcp-protocol-version": "2099-01-01"}, 400, -32020),
    ("a draft version", LIST, {"mcp-protocol-version": "DRAFT-2026-v1"}, 400, -32020),
    ("an empty version", LIST, {"mcp-protocol-version": ""}, 400, -32020),
    ("a version in the body that is older", _request("tools/list", protocolVersion="2025-11-25"), {}, 400, -32020),
    ("a version in the body that is a number", _request("tools/list", protocolVersion=20260728), {}, 400, -32020),
    ("no version in the body", _request("tools/list", protocolVersion="absent"), {}, 400, -32602),
    ("no capabilities", _request("tools/list", clientCapabilities="absent"), {}, 400, -32602),
    ("capabilities that are a list", _request("tools/list", clientCapabilities=[]), {}, 400, -32602),
    ("capabilities that are null", _request("tools/list", clientCapabilities=None), {}, 400, -32602),
    ("client info that is a string", _request("tools/list", clientInfo="me"), {}, 400, -32602),
    ("a log level that is none", _request("tools/list", logLevel="loud"), {}, 400, -32602),
    ("a log level that is a number", _request("tools/list", logLevel=1), {}, 400, -32602),
    ("no _meta", {**LIST, "params": {}}, {}, 400, -32602),
    ("no params", {"jsonrpc": "2.0", "id": "i", "method": "tools/list"}, {}, 400, -32602),
    ("a response with a result", {"jsonrpc": "2.0", "id": 1, "result": {}}, {}, 400, -32600),
    ("a response with an error", {"jsonrpc": "2.0", "id": 1, "error": {"code": 1, "message": ""}}, {}, 400, -32600),
    (
        "a notification of an unknown version",
        {"jsonrpc": "2.0", "method": "notifications/x"},
        {"mcp-protocol-version": "2099-01-01"},
        400,
        -32022,
    ),
    (
        "a notification",
        {"jsonrpc": "2.0", "method": "notifications/cancelled", "params": {"requestId": 1}},
        {},
        202,
        None,
    ),
    ("an unknown method", _request("tools/nothing"), {}, 404, -32601),
    ("ping", _request("ping"), {}, 404, -32601),
    ("logging/setLevel", _request("logging/setLevel", {"level": "debug"}), {}, 404, -32601),
    ("resources/subscribe", _request("resources/subscribe", {"uri": "a:b"}), {}, 404, -32601),
    ("tasks/list", _request("tasks/list"), {}, 404, -32601),
    ("a session that is guessed", LIST, {"mcp-session-id": "0"}, 200, None),
    ("a forged request state", _request("tools/call", {"name": "echo", "requestState": "x.y"}), {}, 400, -32602),
    ("a request state that is a number", _request("tools/call", {"name": "echo", "requestState": 1}), {}, 400, -32602),
    (
        "a request state of bytes above ASCII",
        _request("tools/call", {"name": "echo", "requestState": "\u00e4.\u00e4"}),
        {},
        400,
        -32602,
    ),
    ("a listen without a filter", _request("subscriptions/listen"), {}, 400, -32602),
    (
        "an initialize",
        _request("initialize", {"protocolVersion": "2025-11-25", "capabilities": {}, "clientInfo": {}}),
        {},
        404,
        -32601,
    ),
]


@pytest.mark.parametrize(
    ("body", "headers", "status", "code"), [case[1:] for case in MODERN_CASES], ids=[case[0] for case in MODERN_CASES]
)
def test_a_request_of_the_modern_era_is_held_to_its_rules(
    served: McpClient, modern_client: Callable[[int], Any], body: Json, headers: Headers, status: int, code: int | None
) -> None:
    fields: Headers = {"mcp-protocol-version": MODERN, "mcp-method": body.get("method")}
    name = body.get("params", {}).get("name", body.get("params", {}).get("uri"))
    if isinstance(name, str):
        fields["mcp-name"] = name if name.isascii() else _wrapped(name)
    if headers.get("mcp-protocol-version") == "2025-11-25":
        # The header of the other era wins over what the body says.
        fields["mcp-session-id"] = served.session
    answer = modern_client(served.port).send("POST", json.dumps(body).encode(), fields | headers)
    data = answer.response.read()
    found = json.loads(data) if data else {}
    assert (answer.status, found.get("error", {}).get("code")) == (status, code), data
    if code is not None and "id" in body and "method" in body:
        assert found["id"] == body["id"]
    if status != 200:
        assert "mcp-session-id" not in answer.headers


def test_an_unknown_version_is_told_which_would_be_understood(
    served: McpClient, modern_client: Callable[[int], Any]
) -> None:
    body = json.dumps(_request("tools/list", protocolVersion="2099-01-01")).encode()
    answer = modern_client(served.port).send(
        "POST", body, {"mcp-protocol-version": "2099-01-01", "mcp-method": "tools/list"}
    )
    assert answer.message()["error"]["data"] == {"supported": [MODERN], "requested": "2099-01-01"}


@pytest.mark.parametrize("method", ["GET", "DELETE"])
def test_the_modern_era_knows_nothing_but_posts(
    served: McpClient, modern_client: Callable[[int], Any], method: str
) -> None:
    answer = modern_client(served.port).send(method, b"", {"mcp-protocol-version": MODERN})
    assert (answer.status, answer.headers["allow"]) == (405, "POST")


@pytest.mark.parametrize("accept", ["application/json", "text/event-stream", "text/html"])
def test_a_client_of_the_modern_era_accepts_bodies_and_events(
    served: McpClient, modern_client: Callable[[int], Any], accept: str
) -> None:
    answer = modern_client(served.port).request("tools/list", headers={"accept": accept})
    assert answer.status == 406


LEGACY_CASES: list[tuple[str, Json, Headers, int, int | None]] = [
    ("no session", {"jsonrpc": "2.0", "id": 1, "method": "tools/list"}, {"mcp-session-id": None}, 400, -32000),
    (
        "a session that is guessed",
        {"jsonrpc": "2.0", "id": 1, "method": "tools/list"},
        {"mcp-session-id": "1"},
        404,
        -32001,
    ),
    (
        "a session of a forged signature",
        {"jsonrpc": "2.0", "id": 1, "method": "ping"},
        {"mcp-session-id": "e30.e30"},
        404,
        -32001,
    ),
    ("stray keys beside an explicit header", LIST, {"mcp-protocol-version": "2025-11-25"}, 200, None),
    ("a response that nobody asked for", {"jsonrpc": "2.0", "id": 9, "result": {}}, {}, 202, None),
    ("a notification", {"jsonrpc": "2.0", "method": "notifications/initialized"}, {}, 202, None),
    ("an initialize beneath a modern header", INITIALIZE, {"mcp-protocol-version": MODERN}, 200, None),
    ("an initialize beneath an unknown header", INITIALIZE, {"mcp-protocol-version": "2099-01-01"}, 200, None),
    ("modern headers without a version", {"jsonrpc": "2.0", "id": 1, "method": "ping"}, {"mcp-method": "x"}, 200, None),
]


@pytest.mark.parametrize(
    ("body", "headers", "status", "code"), [case[1:] for case in LEGACY_CASES], ids=[case[0] for case in LEGACY_CASES]
)
def test_a_request_of_the_era_of_handshakes_is_held_to_its_rules(
    served: McpClient, modern_client: Callable[[int], Any], body: Json, headers: Headers, status: int, code: int | None
) -> None:
    fields: Headers = {"mcp-session-id": served.session}
    answer = modern_client(served.port).send("POST", json.dumps(body).encode(), fields | headers)
    data = answer.response.read()
    found = json.loads(data) if data else {}
    assert (answer.status, found.get("error", {}).get("code")) == (status, code), data


@pytest.mark.parametrize(
    ("header", "values", "code"),
    [
        ("mcp-protocol-version", (MODERN, MODERN), -32020),
        ("mcp-protocol-version", ("2025-11-25", MODERN), -32020),
        ("mcp-protocol-version", ("2025-11-25", "2025-11-25"), -32600),
        ("mcp-method", ("tools/list", "tools/list"), -32020),
        ("mcp-name", ("a", "b"), -32020),
    ],
)
def test_a_routing_header_that_is_given_twice_is_refused(
    served: McpClient, header: str, values: tuple[str, str], code: int
) -> None:
    served._connection.putrequest("POST", "/mcp", skip_accept_encoding=True)
    body = json.dumps(LIST).encode()
    fields = [("accept", "application/json, text/event-stream"), ("content-type", "application/json")]
    fields += [("content-length", str(len(body)))]
    fields += [
        (name, value)
        for name, value in (("mcp-protocol-version", MODERN), ("mcp-method", "tools/list"))
        if name != header
    ]
    for name, value in [*fields, *[(header, value) for value in values]]:
        served._connection.putheader(name, value)
    served._connection.endheaders(body)
    response = served._connection.getresponse()
    assert (response.status, json.loads(response.read())["error"]["code"]) == (400, code)
