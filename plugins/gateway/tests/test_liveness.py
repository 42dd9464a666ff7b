"""Whether a server that was ready still answers: what counts as life, and what excuses silence."""

from __future__ import annotations

import asyncio
import contextlib
import http.client
import json
import os
import signal
from collections.abc import Awaitable, Callable
from typing import Any

import msgspec
import pytest

from thv_core.model.document import decode_document
from thv_core.model.route import Liveness, RouteReport, RouteState
from thv_gateway.servers.liveness import Heartbeat
from thv_testkit.gateways import McpClient, RunningGateway, free_port
from thv_testkit.waiting import eventually

TERMS = Liveness(interval=0.02, timeout=0.01, failures=3)
QUICK = Liveness(interval=0.2, timeout=0.2, failures=3)
BOUND = 20.0


class Server:
    """A server that answers pings as the test says; its words count by themselves."""

    def __init__(self, answer: Callable[[Server], Awaitable[None]]) -> None:
        self.heard = 0.0
        self.at_work = False
        self.pings = 0
        self.notes: list[tuple[str, ...]] = []
        self.answer = answer

    async def ping(self) -> None:
        self.pings += 1
        await self.answer(self)

    def speak(self) -> None:
        self.heard = asyncio.get_running_loop().time()


async def answers(server: Server) -> None:
    server.speak()


async def is_silent(_: Server) -> None:
    await asyncio.get_running_loop().create_future()


async def refuses(_: Server) -> None:
    raise ConnectionRefusedError


def watched(server: Server, work: Callable[[asyncio.Task[str]], Awaitable[None]], patience: float = 30.0) -> None:
    """Watch a server until the work of the test is done."""

    async def both() -> None:
        heartbeat = Heartbeat("time", TERMS, server, patience, lambda: server.notes.append(heartbeat.notes))
        watch = asyncio.create_task(heartbeat.lost())
        async with asyncio.timeout(BOUND):
            await work(watch)
        watch.cancel()

    asyncio.run(both())


async def until(condition: Callable[[], bool]) -> None:
    """Wait for what the heartbeat does; who calls bounds the time."""
    while not condition():  # noqa: ASYNC110 - the heartbeat under test sets no event
        await asyncio.sleep(0.002)


@pytest.mark.parametrize("answer", [is_silent, refuses])
def test_a_server_that_misses_so_many_pings_is_lost_and_the_reason_says_for_how_long(answer: Any) -> None:
    server = Server(answer)

    async def work(watch: asyncio.Task[str]) -> None:
        assert (await watch).startswith("time answers no ping: it has said nothing for ")

    watched(server, work)
    assert server.pings == TERMS.failures


def test_a_server_that_answers_its_pings_is_never_lost() -> None:
    server = Server(answers)

    async def work(watch: asyncio.Task[str]) -> None:
        await until(lambda: server.pings > 3 * TERMS.failures)
        assert not watch.done()

    watched(server, work)


def test_a_server_that_speaks_is_not_pinged() -> None:
    server = Server(is_silent)

    async def work(watch: asyncio.Task[str]) -> None:
        for _ in range(60):
            server.speak()
            await asyncio.sleep(0.001)
        assert not watch.done()

    watched(server, work)
    assert server.pings == 0


def test_a_word_between_two_misses_begins_the_count_anew() -> None:
    server = Server(is_silent)

    async def work(watch: asyncio.Task[str]) -> None:
        for _ in range(4):
            missed = server.pings
            await until(lambda missed=missed: server.pings == missed + TERMS.failures - 1)
            server.speak()
        assert not watch.done()

    watched(server, work)


def test_a_server_at_work_is_excused_and_its_user_told_once_until_it_is_done() -> None:
    server = Server(is_silent)
    server.at_work = True

    async def work(watch: asyncio.Task[str]) -> None:
        await until(lambda: server.pings > 2 * TERMS.failures)
        assert server.notes == [("time answers no ping while it works on a call",)]
        server.speak()
        await until(lambda: server.notes[-1] == ())
        server.at_work = False
        assert await watch

    watched(server, work)
    assert server.notes == [("time answers no ping while it works on a call",), ()]


def test_work_excuses_no_longer_than_a_call_may_last() -> None:
    server = Server(is_silent)
    server.at_work = True

    async def work(watch: asyncio.Task[str]) -> None:
        assert await watch

    watched(server, work, patience=0.1)


# With real servers ---------------------------------------------------------------------------------------------------


def live(route: Any) -> Any:
    return msgspec.structs.replace(route, liveness=QUICK)


@pytest.fixture
def served(gateway: RunningGateway, start_server: Any, unused_port: int) -> tuple[RunningGateway, Any, McpClient]:
    server = start_server()
    gateway.start().serve(live(server.route(unused_port)))
    gateway.until(RouteState.READY, "echo.1")
    client = McpClient(unused_port)
    client.initialize()
    return gateway, server, client


@pytest.fixture
def unused_port() -> int:
    return free_port()


def test_a_frozen_server_on_pipes_is_reported_hung_once_and_its_clients_are_told(
    served: tuple[RunningGateway, Any, McpClient],
) -> None:
    gateway, server, client = served
    os.kill(server.process.pid, signal.SIGSTOP)
    with gateway.connected() as channel, channel.makefile("rb") as lines:
        states = []
        for line in lines:
            report = decode_document(line, RouteReport, "a report")
            states.append(report.state)
            if report.state is RouteState.HUNG:
                break
    assert states == [RouteState.READY, RouteState.HUNG]
    assert report.reason.startswith("echo answers no ping: ")
    status, headers, body = client.send("POST", b'{"jsonrpc":"2.0","id":1,"method":"tools/list"}')
    assert (status, headers["retry-after"]) == (503, "1")
    assert b"answers no ping" in body
    client.close()


def test_a_server_on_pipes_that_knows_no_ping_is_alive(
    gateway: RunningGateway, start_server: Any, unused_port: int
) -> None:
    server = start_server("no_ping_server.py")
    gateway.start().serve(live(server.route(unused_port)))
    gateway.until(RouteState.READY, "echo.1")
    client = McpClient(unused_port)
    client.initialize()
    eventually(lambda: (server.folder / "stderr").read_bytes().count(b"ping") >= 2 * QUICK.failures)
    gateway.until(RouteState.READY, "echo.1")
    client.close()


def test_a_frozen_server_of_http_is_reported_hung(gateway: RunningGateway, http_server: Any, reach: Any) -> None:
    server = http_server()
    reach(gateway, server, liveness=QUICK)
    os.kill(server.process.pid, signal.SIGSTOP)
    assert gateway.until(RouteState.HUNG, "echo.1").reason.startswith("echo answers no ping: ")


def test_a_server_of_http_is_pinged_in_one_session_of_the_gateways_own(
    gateway: RunningGateway, http_server: Any, reach: Any
) -> None:
    server = http_server("scripted_http_server.py")
    client = reach(gateway, server, liveness=QUICK)
    # Whoever looks at the server itself is no sign of life to the gateway.
    beside = McpClient(server.target_port)

    def pings() -> list[Any]:
        seen = beside.tool("seen")["seen"]
        return [each[1] for each in seen if each[0] == "POST" and each[2].get("method") == "ping"]

    eventually(lambda: len(pings()) >= 2 * QUICK.failures)
    sessions = {fields["mcp-session-id"] for fields in pings()}
    assert len(sessions) == 1
    assert client.session not in sessions
    gateway.until(RouteState.READY, "echo.1")
    beside.close()


def test_health_tells_when_a_server_was_last_asked_and_how_soon_it_answered(
    gateway: RunningGateway, http_server: Any, reach: Any
) -> None:
    client = reach(gateway, http_server(), liveness=QUICK)

    def health() -> dict[str, Any]:
        with contextlib.closing(http.client.HTTPConnection("127.0.0.1", client.port)) as connection:
            connection.request("GET", "/health")
            return json.loads(connection.getresponse().read())["mcp"]

    eventually(lambda: "last_checked" in health())
    assert 0 < health()["response_time_ms"] < 1000
    assert health()["last_checked"].endswith("Z")
