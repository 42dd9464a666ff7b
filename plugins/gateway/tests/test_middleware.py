"""Middleware of plugins in a running gateway: order, mutation, refusal, failure, and the end that always comes."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from thv_core.spi import MiddlewareConfig
from thv_testkit.gateways import McpClient
from thv_testkit.waiting import eventually

CALL = {"jsonrpc": "2.0", "id": 7, "method": "tools/call", "params": {"name": "count", "arguments": {"text": "a"}}}


def notes(path: Path) -> list[list[Any]]:
    return [json.loads(line) for line in path.read_text().splitlines()] if path.exists() else []


def begin_anew(path: Path) -> None:
    """Empty the record once every exchange so far has ended: an end is noted after the answer was sent."""
    eventually(lambda: notes(path) and _even(notes(path)))
    path.write_text("")


def _even(record: list[list[Any]]) -> bool:
    words = [note[0] for note in record]
    return words.count("request") == words.count("end")


@pytest.fixture
def record(tmp_path: Path) -> tuple[MiddlewareConfig, Path]:
    path = tmp_path / "record"
    return MiddlewareConfig(type="recorder", parameters={"path": str(path)}), path


def ends(path: Path, client: McpClient, *request: Any, **headers: str) -> list[Any]:
    """Send a request and return the end that the recorder noted, which must be the only one."""
    begin_anew(path)
    client.send(*request, **headers)
    (end,) = eventually(lambda: [note for note in notes(path) if note[0] == "end"])
    return end[1:]


def test_an_auditor_sees_every_exchange_end_exactly_once(
    staged_gateway: Any, start_server: Any, connect: Any, record: Any
) -> None:
    config, path = record
    client = connect(staged_gateway, start_server(), config)
    assert ends(path, client, "POST", CALL) == [200, "", "count"]
    assert ends(path, client, "POST", b"[]") == [400, "refused", ""]
    assert ends(path, client, "POST", b"x" * (8 * 1024 * 1024 + 1)) == [413, "refused", ""]
    client.close()
    assert ends(path, client, "POST", CALL, origin="http://evil.example") == [403, "refused", ""]
    assert ends(path, client, "POST", CALL, mcp_session_id="x") == [404, "refused", "count"]
    assert ends(path, client, "PUT", b"") == [405, "refused", ""]


def test_an_auditor_sees_each_message_of_a_stream(
    staged_gateway: Any, start_server: Any, connect: Any, record: Any, stream: Any
) -> None:
    config, path = record
    client = connect(staged_gateway, start_server(), config)
    begin_anew(path)
    arguments = {"seconds": 0.01, "steps": 2}
    params = {"name": "sleep", "arguments": arguments, "_meta": {"progressToken": 1}}
    slow = stream(client, "POST", CALL | {"params": params})
    while "result" not in slow.message():
        pass
    progress = ["message", "notification", "notifications/progress"]
    expected = [["request", "POST"], progress, progress, ["message", "response", ""], ["end", 200, "", "sleep"]]
    eventually(lambda: notes(path) == expected)


def test_what_a_stage_changed_is_what_the_server_sees_and_later_stages_judge(
    staged_gateway: Any, start_server: Any, connect: Any
) -> None:
    # The refuser refuses ``count``; the renamer, whose stage comes before, has made it ``echo``.
    stages = (MiddlewareConfig(type="refuser"), MiddlewareConfig(type="renamer"))
    client = connect(staged_gateway, start_server(), *stages)
    assert client.tool("count", text="my secret")["content"][0]["text"] == "my ******"


def test_a_stage_can_refuse(staged_gateway: Any, start_server: Any, connect: Any) -> None:
    client = connect(staged_gateway, start_server(), MiddlewareConfig(type="refuser"))
    status, _, body = client.send("POST", CALL)
    assert (status, body) == (403, b'{"refused":true}')
    assert client.tool("echo", text="x")


@pytest.mark.parametrize(("where", "status"), [("request", 500), ("message", 200), ("end", 200)])
def test_a_stage_that_raises_never_lets_anything_pass(
    staged_gateway: Any, start_server: Any, connect: Any, record: Any, where: str, status: int
) -> None:
    config, path = record
    raiser = MiddlewareConfig(type="raiser", parameters={"where": where})
    client = connect(staged_gateway, start_server(), config, raiser)
    begin_anew(path)
    answer = client.send("POST", CALL)
    assert answer[0] == status
    assert ("result" in json.loads(answer[2])) == (where == "end")
    assert eventually(lambda: [note for note in notes(path) if note[0] == "end"])
    log = staged_gateway.folder.parent / "servers/echo.1/proxy.log"
    assert "Raiser raised RuntimeError" in log.read_text()
    assert client.send("POST", {"jsonrpc": "2.0", "id": 1, "method": "ping"})[0] == 200


def test_an_auditor_sees_what_a_server_of_http_streams(
    staged_gateway: Any, http_server: Any, reach: Any, record: Any
) -> None:
    config, path = record
    client = reach(staged_gateway, http_server("scripted_http_server.py"), middleware=(config,))
    begin_anew(path)
    params = {"name": "stream", "arguments": {}}
    assert client.send("POST", CALL | {"params": params})[0] == 200
    message = ["message", "notification", "notifications/message"]
    expected = [["request", "POST"], message, ["message", "response", ""], ["end", 200, "", "stream"]]
    eventually(lambda: notes(path) == expected)
    assert ends(path, client, "POST", CALL | {"params": params | {"name": "html"}}) == [502, "unreadable", "html"]
    assert ends(path, client, "DELETE", None) == [200, "", ""]


def test_a_server_of_http_sees_what_a_stage_made_of_a_call(staged_gateway: Any, http_server: Any, reach: Any) -> None:
    stages = (MiddlewareConfig(type="refuser"), MiddlewareConfig(type="renamer"))
    client = reach(staged_gateway, http_server(), middleware=stages)
    assert client.tool("count", text="my secret")["content"][0]["text"] == "my ******"
