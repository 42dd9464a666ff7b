"""Servers over HTTP that speak the stateless era (MCP 2026-07-28), alone or beside the other one."""

from __future__ import annotations

import http.client
import json
import time
from collections.abc import Iterator
from typing import Any

import pytest

from thv_core.model.message import Kind, Message
from thv_core.model.route import Liveness, Order, RouteState
from thv_gateway.messages.versions import Era
from thv_gateway.relays.flights import Flight, Flights, listens
from thv_gateway.relays.heads import mirroring, modern_fields
from thv_gateway.stages.chain import Arrival
from thv_testkit.gateways import McpClient, RunningGateway
from thv_testkit.waiting import eventually

MODERN = "modern_http_server.py"
VERSION = "2026-07-28"
RESERVED = "io.modelcontextprotocol/"


def message(method: str, **params: Any) -> dict[str, Any]:
    meta = {RESERVED + "protocolVersion": VERSION, RESERVED + "clientCapabilities": {}}
    return {"jsonrpc": "2.0", "id": 5, "method": method, "params": params | {"_meta": meta}}


def headers_of(body: dict[str, Any], **more: str) -> dict[str, str]:
    name = body["params"].get("name", "")
    named = {"mcp-name": name} if name else {}
    own = {"accept": "application/json, text/event-stream", "content-type": "application/json"}
    return own | {"mcp-protocol-version": VERSION, "mcp-method": body["method"]} | named | more


class Asking:
    """One request of the stateless era whose answer is read when it is wanted."""

    def __init__(self, port: int, body: dict[str, Any], **more: str) -> None:
        self.connection = http.client.HTTPConnection("127.0.0.1", port, timeout=20)
        self.connection.request("POST", "/mcp", json.dumps(body), headers_of(body, **more))

    def answer(self) -> tuple[int, Any, dict[str, Any]]:
        response = self.connection.getresponse()
        found = response.status, response.headers, json.loads(response.read())
        self.connection.close()
        return found


def asked(client: McpClient, body: dict[str, Any], **more: str) -> tuple[int, Any, dict[str, Any]]:
    return Asking(client.port, body, **more).answer()


def seen(client: McpClient, **more: str) -> dict[str, Any]:
    return asked(client, message("tools/call", name="seen", arguments={}), **more)[2]["result"]


@pytest.fixture
def client(gateway: RunningGateway, http_server: Any, reach: Any) -> Iterator[McpClient]:
    return reach(gateway, http_server(MODERN), greet=False)


@pytest.mark.usefixtures("client")
def test_a_server_of_that_era_alone_is_ready_and_reports_its_tools(gateway: RunningGateway) -> None:
    report = gateway.until(RouteState.READY, "echo.1")
    assert (report.eras, report.tools, report.protocol_version) == (("modern",), ("first", "second"), VERSION)


def test_a_server_of_both_eras_is_known_as_one(gateway: RunningGateway, http_server: Any, reach: Any) -> None:
    reach(gateway, http_server("scripted_http_server.py"))
    report = gateway.until(RouteState.READY, "echo.1")
    assert (report.eras, report.protocol_version) == (("legacy", "modern"), "2025-11-25")


def test_a_server_of_the_other_era_alone_is_known_as_one(gateway: RunningGateway, http_server: Any, reach: Any) -> None:
    reach(gateway, http_server("sessionless_http_server.py"), greet=False)
    assert gateway.until(RouteState.READY, "echo.1").eras == ("legacy",)


def test_a_successor_of_the_gateway_knows_the_eras(gateway: RunningGateway, client: McpClient, control_of: Any) -> None:
    before = len(seen(client)["seen"])
    gateway.kill()
    gateway.start()
    with control_of(gateway) as control:
        control.hear()
        control.hand_over()
    assert gateway.until(RouteState.READY, "echo.1").eras == ("modern",)
    methods = [method for method, _, _ in seen(client)["seen"][before:]]
    assert "initialize" not in methods


def test_a_request_carries_the_head_of_its_era_and_no_session(client: McpClient) -> None:
    body = message("tools/call", name="seen", arguments={})
    more = {"mcp-session-id": "x", "mcp-param-region": "eu", "mcp-unknown": "1", "cookie": "a"}
    status, headers, answer = asked(client, body, **more)
    _, fields, params = answer["result"]["seen"][-1]
    assert status == 200
    assert "mcp-session-id" not in headers
    assert fields | {"host": "", "content-length": ""} == {
        "host": "",
        "content-length": "",
        "content-type": "application/json",
        "accept": "application/json, text/event-stream",
        "mcp-protocol-version": VERSION,
        "mcp-method": "tools/call",
        "mcp-name": "seen",
        "mcp-param-region": "eu",
        "mcp-unknown": "1",
    }
    assert params == body["params"]


@pytest.mark.parametrize(
    ("body", "status", "code"),
    [
        (message("nothing/known"), 404, -32601),
        (message("tools/call", name="needs", arguments={}), 400, -32021),
    ],
)
def test_refusals_come_back_with_their_status(client: McpClient, body: Any, status: int, code: int) -> None:
    found, _, answer = asked(client, body)
    assert (found, answer["error"]["code"]) == (status, code)
    if code == -32021:
        assert answer["error"]["data"] == {"requiredCapabilities": {"sampling": {}}}


def test_it_is_pinged_by_what_it_knows(gateway: RunningGateway, http_server: Any, reach: Any) -> None:
    client = reach(gateway, http_server(MODERN), greet=False, liveness=Liveness(interval=0.1, timeout=1.0, failures=2))

    def discovered() -> bool:
        # Whoever is asked something is not pinged: nothing is asked for longer than the interval.
        time.sleep(0.4)
        return "server/discover" in [method for method, _, _ in seen(client)["seen"][before:]]

    before = len(seen(client)["seen"])
    eventually(discovered)
    assert gateway.until(RouteState.READY, "echo.1").reason == ""


def test_a_client_that_goes_away_ends_its_call_at_the_server(client: McpClient) -> None:
    lost = Asking(client.port, message("tools/call", name="never", arguments={}))
    eventually(lambda: seen(client)["open"] == 1)
    lost.connection.close()
    eventually(lambda: seen(client)["open"] == 0)


def test_who_listens_is_no_call_and_is_told_when_it_is_over(gateway: RunningGateway, client: McpClient) -> None:
    listening = Asking(client.port, message("subscriptions/listen", notifications={"toolsListChanged": True}))
    response = listening.connection.getresponse()
    assert b"acknowledged" in response.readline()
    assert seen(client)["open"] == 1
    gateway.order(Order.DRAIN)
    events = [json.loads(line[6:]) for line in response if line.startswith(b"data: ")]
    (over,) = events
    assert over["id"] == 5
    assert over["result"] == {"resultType": "complete", "_meta": {RESERVED + "subscriptionId": 5}}
    listening.connection.close()
    assert gateway.ended() == 0


def test_who_listens_leaves_room_for_calls(gateway: RunningGateway, http_server: Any, reach: Any) -> None:
    client = reach(gateway, http_server(MODERN), connectors=4, greet=False)
    listening = [Asking(client.port, message("subscriptions/listen")) for _ in range(3)]
    assert all(b"acknowledged" in each.connection.getresponse().readline() for each in listening)
    status, headers, _ = asked(client, message("subscriptions/listen"))
    assert (status, headers["retry-after"]) == (503, "1")
    assert seen(client)["open"] == 3
    for each in listening:
        each.connection.close()
    eventually(lambda: seen(client)["open"] == 0)


def arrival(method: str, params: dict[str, bytes], *headers: tuple[bytes, bytes]) -> Arrival:
    request = Message(kind=Kind.REQUEST, id=b"1", method=method, params=params, has_params=True)
    fields = dict(headers)
    return Arrival("w", "POST", "/mcp", headers, message=request, era=Era.MODERN, fields=fields)


@pytest.mark.parametrize(
    ("method", "params", "name"),
    [
        ("tools/call", {"name": b'"echo"'}, b"echo"),
        ("tools/call", {"name": '"hällo"'.encode()}, b"=?base64?aMOkbGxv?="),
        ("prompts/get", {"name": b'" edge"'}, b"=?base64?IGVkZ2U=?="),
        ("resources/read", {"uri": b'"file:///a"', "name": b'"other"'}, b"file:///a"),
        ("tools/call", {"name": b'"=?base64?eA==?="'}, b"=?base64?PT9iYXNlNjQ/ZUE9PT89?="),
        ("tasks/cancel", {"taskId": b'"t1"'}, b"t1"),
        ("tools/list", {"name": b'"x"'}, None),
    ],
)
def test_the_head_repeats_what_the_message_says_now(method: str, params: dict[str, bytes], name: bytes | None) -> None:
    request = arrival(method, params).message
    assert request is not None
    fields = dict(mirroring(request))
    assert (fields[b"mcp-method"], fields.get(b"mcp-name")) == (method.encode(), name)


def test_what_a_stage_has_changed_is_what_the_head_says() -> None:
    meta = b'{"%bprotocolVersion":"2026-07-28"}' % RESERVED.encode()
    given = ((b"mcp-name", b"old"), (b"mcp-method", b"old"), (b"mcp-param-a", b"1"), (b"x-other", b"1"))
    came = arrival("tools/call", {"name": b'"new"', "_meta": meta}, *given)
    assert came.message is not None
    assert dict(modern_fields(came, came.message, frozenset())) == {
        b"mcp-protocol-version": b"2026-07-28",
        b"mcp-method": b"tools/call",
        b"mcp-name": b"new",
        b"mcp-param-a": b"1",
    }


def test_a_stream_may_be_silent_for_ever_and_a_call_may_not() -> None:
    flights = Flights(5.0, lambda: 100.0)
    listening = flights.begin(arrival("subscriptions/listen", {}))
    call = flights.begin(arrival("tools/call", {}))
    for each in (listening, call):
        flights.stir(each)
    assert (listening.deadline, call.deadline) == (float("inf"), 105.0)
    assert flights.streams() == [listening]
    legacy = arrival("subscriptions/listen", {})
    legacy.era = Era.LEGACY
    assert not listens(legacy)
    assert not Flight(legacy, 0.0).is_stream
