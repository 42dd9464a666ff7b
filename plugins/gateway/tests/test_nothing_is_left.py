"""After whatever goes wrong there is no task, socket, call, waiter or mailbox more than before; counted inside."""

from __future__ import annotations

import json
import signal
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from thv_core.model.route import RouteState
from thv_core.spi import MiddlewareConfig
from thv_testkit.gateways import McpClient, RunningGateway, RunningServer
from thv_testkit.waiting import eventually

PROGRAM = Path(__file__).parent / "programs" / "serve_and_count.py"
COUNTING = MiddlewareConfig(type="counting")
PATIENCE = 1.5


def call(name: str, **arguments: Any) -> dict[str, Any]:
    params = {"name": name, "arguments": arguments, "_meta": {"progressToken": 1}}
    return {"jsonrpc": "2.0", "id": 7, "method": "tools/call", "params": params}


@pytest.fixture
def counted(tmp_path: Path) -> Iterator[RunningGateway]:
    gateway = RunningGateway([sys.executable, str(PROGRAM)], tmp_path / "gateway")
    yield gateway
    gateway.cut_lifeline()
    gateway.kill()


class Scene:
    """A gateway, its server, and a client that knows how much there was before."""

    def __init__(self, gateway: RunningGateway, server: RunningServer, client: McpClient) -> None:
        self.gateway, self.server, self.client = gateway, server, client
        assert client.tool("count" if server.folder.name == "echo.1" else "seen")
        self.before = self.counts()

    def counts(self) -> dict[str, int]:
        """Return how much there is of everything."""
        status, _, body = self.client.send("POST", b"{}", x_count="1")
        assert status == 200
        return json.loads(body)

    def is_as_before(self) -> bool:
        """Tell whether nothing is left."""
        now = self.counts()
        assert now.keys() == self.before.keys()
        left = {name: number - self.before[name] for name, number in now.items() if number > self.before[name]}
        return not left


@pytest.fixture
def scene(counted: RunningGateway, start_server: Any, connect: Any) -> Scene:
    server = start_server()
    return Scene(counted, server, connect(counted, server, COUNTING, request_timeout=PATIENCE))


def _begin_streams(scene: Scene, stream: Any, number: int = 5) -> list[Any]:
    streams = [stream(scene.client, "POST", call("sleep", seconds=30, steps=300)) for _ in range(number)]
    assert {each.begin() for each in streams} == {"text/event-stream"}
    assert scene.counts()["Call"] == scene.before["Call"] + number
    return streams


def test_a_server_that_dies_in_the_middle_of_answers(scene: Scene, stream: Any, start_server: Any) -> None:
    streams = _begin_streams(scene, stream)
    scene.server.stop()
    for each in streams:
        while "error" not in each.message():
            pass
        each.connection.close()
    assert eventually(scene.is_as_before)
    # And so it is with the next one.
    scene.gateway.serve(start_server(generation=2).route(scene.client.port, (COUNTING,)))
    scene.gateway.until(RouteState.READY, "echo.2")
    assert scene.client.tool("count")
    assert eventually(scene.is_as_before)


def test_a_server_that_hangs(scene: Scene, stream: Any) -> None:
    scene.server.process.send_signal(signal.SIGSTOP)
    waiting = [stream(scene.client, "POST", call("echo", text="x")) for _ in range(5)]
    assert [each.message()["error"]["message"] for each in waiting] == ["The server did not answer in time"] * 5
    for each in waiting:
        each.connection.close()
    scene.server.process.send_signal(signal.SIGCONT)
    assert eventually(scene.is_as_before)
    # Its late answers are for nobody, and disturb nobody.
    assert scene.client.tool("count")


def test_a_server_that_answers_garbage(counted: RunningGateway, start_server: Any, connect: Any, stream: Any) -> None:
    garbage = [
        "}{",
        '{"jsonrpc":"2.0"}',
        '{"jsonrpc":"2.0","id":null,"result":1}',
        '{"jsonrpc":"2.0","id":99,"result":{}}',
    ]
    server = start_server("scripted_server.py", {})
    scene = Scene(counted, server, connect(counted, server, COUNTING, request_timeout=PATIENCE))
    for _ in range(5):
        scene.client.tool("x", emit=garbage)
    assert eventually(scene.is_as_before)


def test_clients_that_hang_up_in_the_middle_of_streams(scene: Scene, stream: Any) -> None:
    own = stream(scene.client)
    own.begin()
    short = [stream(scene.client, "POST", call("sleep", seconds=0.5, steps=5)) for _ in range(5)]
    assert {each.begin() for each in short} == {"text/event-stream"}
    for each in (*short, own):
        each.response.close()
        each.connection.close()
    assert eventually(scene.is_as_before)


def test_clients_that_hang_up_before_any_answer(scene: Scene, stream: Any) -> None:
    for each in [stream(scene.client, "POST", call("sleep", seconds=0.5)) for _ in range(5)]:
        each.connection.close()
    assert eventually(scene.is_as_before)


def test_calls_that_are_cancelled(scene: Scene, stream: Any) -> None:
    streams = _begin_streams(scene, stream, 1)
    cancelled = {"jsonrpc": "2.0", "method": "notifications/cancelled", "params": {"requestId": 7}}
    assert scene.client.send("POST", cancelled)[0] == 202
    last: dict[str, Any] = {}
    while "error" not in last:
        last = streams[0].message()
    assert last["error"]["code"] == -32800
    streams[0].connection.close()
    assert eventually(scene.is_as_before)


def test_sessions_that_end_with_open_streams(scene: Scene, stream: Any, another: Callable[..., McpClient]) -> None:
    others = [another(scene.client) for _ in range(5)]
    streams = [stream(each) for each in others]
    for each in streams:
        each.begin()
    assert {each.send("DELETE", None)[0] for each in others} == {204}
    assert all(each.at_end() for each in streams)
    for each in (*others,):
        each.close()
    for each in streams:
        each.connection.close()
    assert eventually(scene.is_as_before)
