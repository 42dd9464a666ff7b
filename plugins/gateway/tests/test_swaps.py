"""The lives of a server on pipes exchanged under its clients: what belongs to a call stays with the life it is in."""

from __future__ import annotations

import contextlib
import json
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from msgspec.structs import replace

from thv_core.model.route import Route, RouteState
from thv_core.spi import MiddlewareConfig
from thv_testkit.gateways import McpClient, RunningGateway, RunningServer, free_port
from thv_testkit.steady import SteadyCaller, calling
from thv_testkit.waiting import eventually

SCRIPTED = "scripted_server.py"
PING = {"jsonrpc": "2.0", "id": 1, "method": "ping"}


def request(method: str, number: int = 9, **params: Any) -> dict[str, Any]:
    return {"jsonrpc": "2.0", "id": number, "method": method, "params": params}


def call(name: str, number: int = 9, **arguments: Any) -> dict[str, Any]:
    return request("tools/call", number, name=name, arguments=arguments)


def swap(gateway: RunningGateway, old: Route, new: Route) -> None:
    gateway.serve(replace(old, candidate=new))
    gateway.until(RouteState.READY, new.incarnation)
    gateway.serve(replace(new, retiring=(old.incarnation,)))


def lines_of(client: McpClient) -> list[dict[str, Any]]:
    return [json.loads(line) for line in client.tool("seen")["structuredContent"]["lines"] if line]


def methods_of(client: McpClient) -> list[str]:
    return [line.get("method", "") for line in lines_of(client)]


@pytest.fixture
def lives(start_server: Any) -> Callable[..., tuple[RunningServer, RunningServer]]:
    def start(program: str = "", script: Any = None) -> tuple[RunningServer, RunningServer]:
        options = {} if script is None else {"script": script}
        return start_server(program, **options), start_server(program, generation=2, **options)

    return start


@pytest.fixture
def second(connect: Any) -> Iterator[Callable[[McpClient], McpClient]]:
    """Open another connection of the same session."""
    clients: list[McpClient] = []

    def open_connection(client: McpClient) -> McpClient:
        clients.append(McpClient(client.port))
        clients[-1].session = client.session
        return clients[-1]

    yield open_connection
    for each in clients:
        each.close()


# Calls in flight -----------------------------------------------------------------------------------------------------


def test_progress_and_the_answer_come_from_the_life_that_was_called(
    gateway: RunningGateway, lives: Any, connect: Any, stream: Any, second: Any
) -> None:
    old, new = lives()
    client = connect(gateway, old)
    body = call("sleep", seconds=3, steps=6)
    body["params"]["_meta"] = {"progressToken": "mine"}
    working = stream(client, "POST", body)
    assert working.message()["params"] == {"progressToken": "mine", "progress": 1, "total": 6}
    swap(gateway, old.route(client.port), new.route(client.port))
    assert second(client).count()[1] == new.process.pid
    assert [working.message()["params"]["progress"] for _ in range(5)] == [2, 3, 4, 5, 6]
    assert working.message()["result"]["content"][0]["text"] == "slept 3 seconds"
    gateway.until_quiet("echo.1")


def test_a_question_of_the_former_life_is_answered_there(
    gateway: RunningGateway, lives: Any, connect: Any, stream: Any, another: Any
) -> None:
    old, new = lives()
    asked = another(connect(gateway, old), elicitation={})
    working = stream(asked, "POST", call("ask"))
    question = working.message()
    assert question["method"] == "elicitation/create"
    swap(gateway, old.route(asked.port), new.route(asked.port))
    young = stream(asked, "POST", call("ask", 10))
    later = young.message()
    assert later["id"] != question["id"]
    for each, name in ((question, "old"), (later, "new")):
        answer = {"jsonrpc": "2.0", "id": each["id"], "result": {"action": "accept", "content": {"name": name}}}
        assert asked.send("POST", answer)[0] == 202
    assert working.message()["result"]["structuredContent"]["content"] == {"name": "old"}
    assert young.message()["result"]["structuredContent"]["content"] == {"name": "new"}


def test_a_cancellation_reaches_the_life_that_was_called(
    gateway: RunningGateway, lives: Any, connect: Any, stream: Any
) -> None:
    old, new = lives()
    client = connect(gateway, old)
    working = stream(client, "POST", call("sleep", seconds=60))
    eventually(lambda: not gateway_is_quiet(gateway, old.route(client.port)))
    swap(gateway, old.route(client.port), new.route(client.port))
    cancelled = {"jsonrpc": "2.0", "method": "notifications/cancelled", "params": {"requestId": 9}}
    assert client.send("POST", cancelled)[0] == 202
    assert working.message()["error"]["code"] == -32800
    gateway.until_quiet("echo.1")


def gateway_is_quiet(gateway: RunningGateway, route: Route) -> bool:
    """Hold for a moment to ask whether anything is in flight."""
    gateway.serve(replace(route, hold=True))
    quiet = gateway.until_reported(route.incarnation, lambda _: True).quiet
    gateway.serve(route)
    return quiet


def test_answers_and_cancellations_pass_a_hold(
    gateway: RunningGateway, lives: Any, connect: Any, stream: Any, another: Any
) -> None:
    old, _ = lives()
    asked = another(connect(gateway, old), elicitation={})
    working = stream(asked, "POST", call("ask"))
    question = working.message()
    gateway.serve(replace(old.route(asked.port), hold=True))
    gateway.until_reported("echo.1", lambda report: not report.quiet)
    answer = {"jsonrpc": "2.0", "id": question["id"], "result": {"action": "decline"}}
    assert asked.send("POST", answer)[0] == 202
    assert working.message()["result"]["structuredContent"] == {"action": "decline"}
    gateway.until_quiet("echo.1")


def test_a_request_whose_client_left_while_it_waited_is_sent_to_nobody(
    gateway: RunningGateway, lives: Any, connect: Any, stream: Any
) -> None:
    server, _ = lives()
    client = connect(gateway, server)
    gateway.serve(replace(server.route(client.port), hold=True))
    gateway.until_quiet("echo.1")
    leaving, staying = stream(client, "POST", call("count")), stream(client, "POST", call("count"))
    leaving.connection.close()
    # Whoever came later was heard later: the reception knows of the leave when it knows of this one.
    with contextlib.closing(McpClient(client.port)) as probe:
        assert probe.send("DELETE", None)[0] == 400
    gateway.serve(server.route(client.port))
    assert staying.message()["result"]["structuredContent"]["count"] == 1


def test_a_former_life_that_is_no_longer_wanted_is_let_go(
    gateway: RunningGateway, lives: Any, connect: Any, stream: Any
) -> None:
    old, new = lives()
    client = connect(gateway, old)
    working = stream(client, "POST", call("sleep", seconds=60))
    eventually(lambda: not gateway_is_quiet(gateway, old.route(client.port)))
    swap(gateway, old.route(client.port), new.route(client.port))
    gateway.serve(new.route(client.port))
    assert working.message()["error"]["message"] == "echo was started anew"


def test_a_candidate_is_initialized_once_in_its_life(gateway: RunningGateway, lives: Any, connect: Any) -> None:
    old, new = lives(SCRIPTED, {})
    client = connect(gateway, old)
    gateway.serve(replace(old.route(client.port), candidate=new.route(client.port)))
    gateway.until(RouteState.READY, "echo.2")
    gateway.kill()
    client.close()
    gateway.start().until(RouteState.READY, "echo.2")
    gateway.serve(new.route(client.port))
    assert methods_of(client).count("initialize") == 1


# Sessions ------------------------------------------------------------------------------------------------------------


def test_streams_of_sessions_go_on_at_the_new_life(
    gateway: RunningGateway, lives: Any, connect: Any, stream: Any
) -> None:
    old, new = lives(SCRIPTED, {})
    client = connect(gateway, old)
    listening = stream(client)
    listening.begin()
    swap(gateway, old.route(client.port), new.route(client.port))
    # The former life is let go.
    gateway.serve(new.route(client.port))
    changed = '{"jsonrpc":"2.0","method":"notifications/prompts/list_changed"}'
    client.tool("x", emit=[changed])
    assert listening.message()["method"] == "notifications/prompts/list_changed"


def test_a_candidate_tells_clients_nothing(
    gateway: RunningGateway, start_server: Any, connect: Any, stream: Any
) -> None:
    old = start_server(SCRIPTED, {})
    client = connect(gateway, old)
    listening = stream(client)
    listening.begin()
    said = '{"jsonrpc":"2.0","method":"notifications/prompts/list_changed"}'
    new = start_server(SCRIPTED, {"says": [said]}, generation=2)
    gateway.serve(replace(old.route(client.port), candidate=new.route(client.port)))
    gateway.until(RouteState.READY, "echo.2")
    client.tool("x", emit=['{"jsonrpc":"2.0","method":"notifications/resources/list_changed"}'])
    assert listening.message()["method"] == "notifications/resources/list_changed"


def test_who_listens_is_told_that_the_tools_are_others(
    gateway: RunningGateway, start_server: Any, connect: Any, stream: Any
) -> None:
    old, new = start_server(), start_server(SCRIPTED, {}, generation=2)
    client = connect(gateway, old)
    listening = stream(client)
    listening.begin()
    swap(gateway, old.route(client.port), new.route(client.port))
    assert listening.message()["method"] == "notifications/tools/list_changed"


@pytest.mark.parametrize("by", ["swap", "restart", "gateway"])
def test_a_new_life_is_told_what_sessions_asked_for(
    gateway: RunningGateway, lives: Any, connect: Any, another: Any, by: str
) -> None:
    script = {"initialize": {"capabilities": {"tools": {}, "logging": {}, "resources": {"subscribe": True}}}}
    old, new = lives(SCRIPTED, script)
    client = connect(gateway, old)
    other = another(client)
    assert client.send("POST", request("logging/setLevel", level="info"))[0] == 200
    assert other.send("POST", request("logging/setLevel", level="error"))[0] == 200
    assert client.send("POST", request("resources/subscribe", uri="file:///a"))[0] == 200
    wanted = new
    if by == "swap":
        swap(gateway, old.route(client.port), new.route(client.port))
    elif by == "restart":
        old.stop()
        gateway.serve(new.route(client.port))
    else:
        wanted = old
        gateway.kill()
        client.close()
        gateway.start()
    gateway.until(RouteState.READY, f"echo.{wanted.generation}")
    asked = [line for line in lines_of(client) if line.get("method") in ("logging/setLevel", "resources/subscribe")]
    assert [line["params"] for line in asked[-2:]] == [{"level": "info"}, {"uri": "file:///a"}]


def test_a_server_logs_what_serves_every_session_and_no_more_when_one_has_ended(
    gateway: RunningGateway, lives: Any, connect: Any, another: Any
) -> None:
    client = connect(gateway, lives(SCRIPTED, {})[0])
    other = another(client)
    for each, level in ((client, "warning"), (other, "debug"), (client, "error")):
        assert each.send("POST", request("logging/setLevel", level=level))[0] == 200
    assert other.send("DELETE", None)[0] == 204
    levels = [line["params"]["level"] for line in lines_of(client) if line.get("method") == "logging/setLevel"]
    assert levels == ["warning", "debug", "debug", "error"]


def test_a_session_that_has_ended_stays_so_for_the_next_gateway(
    gateway: RunningGateway, lives: Any, connect: Any
) -> None:
    client = connect(gateway, lives()[0])
    assert client.send("DELETE", None)[0] == 204
    gateway.kill()
    client.close()
    gateway.start().until(RouteState.READY, "echo.1")
    assert client.send("POST", PING)[0] == 404
    assert (gateway.folder / "sessions.json").stat().st_mode & 0o777 == 0o600


# What else may change ------------------------------------------------------------------------------------------------


def recorder(path: Path) -> tuple[MiddlewareConfig, ...]:
    return (MiddlewareConfig(type="recorder", parameters={"path": str(path)}),)


def test_middleware_is_exchanged_under_calls(staged_gateway: RunningGateway, lives: Any, tmp_path: Path) -> None:
    old, new = lives()
    port = free_port()
    notes = tmp_path / "notes"
    staged_gateway.start().serve(old.route(port))
    staged_gateway.until(RouteState.READY, "echo.1")
    with calling(port, port) as callers:
        swap(staged_gateway, old.route(port), new.route(port, recorder(notes)))
        for caller in callers:
            caller.until_answered_by(new.process.pid)
        # The same life with other stages again.
        staged_gateway.serve(new.route(port))
        for caller in callers:
            caller.until_more()
    words = [json.loads(line)[0] for line in notes.read_text().splitlines()]
    assert words.count("request") == words.count("message") == words.count("end") > 0


def test_other_stages_for_the_same_life_cost_no_call_in_flight(
    staged_gateway: RunningGateway, lives: Any, connect: Any, stream: Any, tmp_path: Path
) -> None:
    server, _ = lives()
    client = connect(staged_gateway, server)
    working = stream(client, "POST", call("sleep", seconds=1))
    staged_gateway.serve(server.route(client.port, recorder(tmp_path / "notes")))
    assert client.count()[1] == server.process.pid
    assert working.message()["result"]["content"][0]["text"] == "slept 1 seconds"


def test_stages_that_cannot_be_had_let_nobody_in(staged_gateway: RunningGateway, lives: Any, connect: Any) -> None:
    server, successor = lives()
    client = connect(staged_gateway, server)
    broken = server.route(client.port, (MiddlewareConfig(type="nobody-offers-this"),))
    for candidate in (None, successor.route(client.port)):
        staged_gateway.serve(replace(broken, candidate=candidate))
        staged_gateway.until(RouteState.FAILED, "echo.1")
        eventually(lambda: not is_let_in(client))
    staged_gateway.until(RouteState.READY, "echo.2")
    staged_gateway.serve(successor.route(client.port))
    eventually(lambda: is_let_in(client))
    assert client.count()[1] == successor.process.pid


def is_let_in(client: McpClient) -> bool:
    client.close()
    try:
        return client.send("POST", PING)[0] == 200
    except OSError:
        return False


def test_the_host_changes_while_the_port_stays(gateway: RunningGateway, lives: Any) -> None:
    old, new = lives()
    route = old.route(free_port())
    wide = replace(new.route(route.port), host="0.0.0.0")
    gateway.start().serve(route)
    gateway.until(RouteState.READY, "echo.1")
    client = SteadyCaller(route.port)
    gateway.serve(replace(route, candidate=wide))
    gateway.until(RouteState.READY, "echo.2")
    gateway.serve(replace(wide, retiring=("echo.1",)))
    gateway.until_quiet("echo.1")
    gateway.serve(wide)
    with contextlib.closing(McpClient(route.port)) as other:
        other.session = client.session
        assert other.count()[1] == new.process.pid
    client.stop()
    with contextlib.closing(McpClient(route.port)) as back:
        gateway.serve(replace(wide, candidate=route))
        gateway.until(RouteState.READY, "echo.1")
        gateway.serve(route)
        back.initialize()
        assert back.count()[1] == old.process.pid


def test_a_connection_to_the_former_port_is_served_until_its_life_has_retired(
    gateway: RunningGateway, lives: Any, connect: Any, stream: Any
) -> None:
    old, new = lives()
    client = connect(gateway, old)
    working = stream(client, "POST", call("sleep", seconds=1))
    moved = new.route(free_port())
    swap(gateway, old.route(client.port), moved)
    assert client.count()[1] == new.process.pid
    assert working.message()["result"]["content"][0]["text"] == "slept 1 seconds"
    gateway.serve(moved)
    eventually(lambda: not listens_on(client.port))


def listens_on(port: int) -> bool:
    with contextlib.closing(McpClient(port)) as client:
        try:
            client.send("GET", None)
        except OSError:
            return False
        return True


# Kills ---------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("phase", ["candidate", "promoted", "holding", "starting"])
def test_a_gateway_that_is_killed_in_a_phase_is_followed_by_one_that_goes_on_with_it(
    gateway: RunningGateway, lives: Any, connect: Any, phase: str
) -> None:
    old, new = lives()
    client = connect(gateway, old)
    here, there = old.route(client.port), new.route(client.port)
    snapshots = {
        "candidate": replace(here, candidate=there),
        "promoted": replace(there, retiring=("echo.1",)),
        "holding": replace(here, hold=True),
        "starting": replace(here, hold=True, candidate=there),
    }
    if phase == "promoted":
        gateway.serve(snapshots["candidate"])
        gateway.until(RouteState.READY, "echo.2")
    if phase == "starting":
        old.stop()
    gateway.serve(snapshots[phase])
    gateway.kill()
    client.close()
    gateway.start()
    expected = {"candidate": ("echo.2", False), "promoted": ("echo.1", True), "holding": ("echo.1", True)}
    name, quiet = expected.get(phase, ("echo.2", False))
    gateway.until_reported(name, lambda report: report.quiet is quiet and (quiet or report.state is RouteState.READY))
    counted: list[int] = []
    waiting = threading.Thread(target=lambda: counted.append(client.count()[1]))
    if phase in ("holding", "starting"):
        waiting.start()
        waiting.join(0.2)
        assert waiting.is_alive()
    gateway.serve(there)
    gateway.until(RouteState.READY, "echo.2")
    if phase in ("holding", "starting"):
        waiting.join()
        assert counted == [new.process.pid]
    assert client.count()[1] == new.process.pid


# A life of the other era ---------------------------------------------------------------------------------------------

MODERN = "modern_server.py"
LEVEL = "io.modelcontextprotocol/logLevel"


def sent_to(client: McpClient) -> list[dict[str, Any]]:
    return client.tool("seen")["structuredContent"]["messages"]


def subscribed(client: McpClient) -> list[str]:
    chosen = client.tool("filters")["structuredContent"]["filters"]
    return [uri for each in chosen for uri in each.get("resourceSubscriptions", ())]


def test_sessions_go_on_at_a_life_of_the_other_era_and_back(
    gateway: RunningGateway, start_server: Any, connect: Any, stream: Any
) -> None:
    old = start_server(SCRIPTED, {"initialize": {"capabilities": {"logging": {}, "resources": {"subscribe": True}}}})
    modern, last = start_server(MODERN, generation=2), start_server(SCRIPTED, {}, generation=3)
    client = connect(gateway, old)
    for body in (request("resources/subscribe", uri="file:///a"), request("logging/setLevel", level="error")):
        assert client.send("POST", body)[0] == 200
    listening = stream(client)
    listening.begin()
    swap(gateway, old.route(client.port), modern.route(client.port))
    assert listening.message()["method"] == "notifications/tools/list_changed"
    assert eventually(lambda: subscribed(client)) == ["file:///a"]
    assert sent_to(client)[-1]["params"]["_meta"][LEVEL] == "error"
    client.tool("change", uri="file:///a")
    assert listening.message()["params"] == {"uri": "file:///a"}
    swap(gateway, modern.route(client.port), last.route(client.port))
    assert listening.message()["method"] == "notifications/tools/list_changed"
    assert "resources/subscribe" in methods_of(client)


def test_a_question_of_a_former_life_of_the_stateless_era_is_answered_there(
    gateway: RunningGateway, start_server: Any, connect: Any, stream: Any, another: Any
) -> None:
    old, new = start_server(MODERN), start_server(SCRIPTED, {}, generation=2)
    asked = another(connect(gateway, old), elicitation={})
    who = {"who": {"method": "elicitation/create", "params": {"message": "Who?"}}}
    working = stream(asked, "POST", call("ask", requests=who))
    question = working.message()
    swap(gateway, old.route(asked.port), new.route(asked.port))
    answer = {"jsonrpc": "2.0", "id": question["id"], "result": {"action": "decline"}}
    assert asked.send("POST", answer)[0] == 202
    assert working.message()["result"]["structuredContent"]["responses"] == {"who": {"action": "decline"}}
    gateway.until_quiet("echo.1")


def test_clients_that_listen_to_a_former_life_are_told_to_listen_again(
    gateway: RunningGateway, start_server: Any, connect: Any, stream: Any
) -> None:
    old, new = start_server(MODERN), start_server(MODERN, generation=2)
    client = connect(gateway, old)
    meta = {"io.modelcontextprotocol/protocolVersion": "2026-07-28", "io.modelcontextprotocol/clientCapabilities": {}}
    body = request("subscriptions/listen", 4, notifications={"toolsListChanged": True}, _meta=meta)
    head = {"mcp_protocol_version": "2026-07-28", "mcp_method": "subscriptions/listen"}
    listening = stream(client, "POST", body, **head)
    assert listening.message()["method"] == "notifications/subscriptions/acknowledged"
    swap(gateway, old.route(client.port), new.route(client.port))
    assert listening.message()["result"]["resultType"] == "complete"
    assert listening.at_end()
    gateway.until_quiet("echo.1")
