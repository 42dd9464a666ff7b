"""The real SDK on both sides: mcp 2.3's client over HTTP and its server over standard streams."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Awaitable, Callable, Iterator
from pathlib import Path
from typing import Any

import mcp_types as types
import pytest
from mcp import Client, MCPError

from thv_core.model.route import RouteState
from thv_testkit.gateways import RunningGateway, RunningServer, free_port, serve_command

PROGRAM = Path(__file__).parent / "programs" / "sdk_server.py"

Work = Callable[[Client], Awaitable[None]]


@pytest.fixture(scope="module")
def url(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    folder = tmp_path_factory.mktemp("sdk")
    server = RunningServer(folder, [sys.executable, str(PROGRAM)], name="sdk")
    gateway = RunningGateway(serve_command("thv_gateway.gateway:HttpGateway"), folder / "gateway")
    port = free_port()
    gateway.serve(server.route(port))
    try:
        report = gateway.start().until(RouteState.READY, "sdk.1")
        assert set(report.tools) == {"climb", "tell", "greet", "think"}
        yield f"http://127.0.0.1:{port}/mcp"
    finally:
        gateway.cut_lifeline()
        gateway.kill()
        server.stop()


def with_client(url: str, work: Work, **options: Any) -> None:
    async def run() -> None:
        async with asyncio.timeout(30), Client(url, **options) as client:
            await work(client)

    asyncio.run(run())


def text(result: types.CallToolResult) -> str:
    assert not result.is_error, result
    return result.content[0].text


async def answer_name(context: Any, params: Any) -> types.ElicitResult:
    assert params.message == "Who is there?"
    return types.ElicitResult(action="accept", content={"name": "Ada"})


async def say_something(context: Any, params: Any) -> types.CreateMessageResult:
    content = types.TextContent(type="text", text="something")
    return types.CreateMessageResult(role="assistant", content=content, model="none", stop_reason="endTurn")


@pytest.mark.parametrize("mode", ["auto", "legacy"])
def test_a_client_of_both_eras_falls_back_to_the_handshake(url: str, mode: str) -> None:
    async def work(client: Client) -> None:
        assert client.protocol_version == {"auto": "2026-07-28", "legacy": "2025-11-25"}[mode]
        assert text(await client.call_tool("climb", {"steps": 1})) == "climbed 1"

    with_client(url, work, mode=mode)


def test_progress_reaches_the_call_that_asked_for_it(url: str) -> None:
    async def work(client: Client) -> None:
        async def climb(steps: int) -> list[float]:
            seen: list[float] = []

            async def note(progress: float, total: float | None, message: str | None) -> None:
                assert total == steps
                seen.append(progress)

            assert text(await client.call_tool("climb", {"steps": steps}, progress_callback=note))
            return seen

        results = await asyncio.gather(*(climb(steps) for steps in (3, 5, 7, 50)))
        assert results == [list(range(1, steps + 1)) for steps in (3, 5, 7, 50)]

    with_client(url, work)


def test_a_question_of_the_server_is_answered_by_the_client_that_called(url: str) -> None:
    async def work(client: Client) -> None:
        assert text(await client.call_tool("greet", {})) == "hello Ada"
        assert text(await client.call_tool("think", {})) == "something"

    with_client(url, work, elicitation_callback=answer_name, sampling_callback=say_something)


@pytest.mark.parametrize(("mode", "code"), [("legacy", types.METHOD_NOT_FOUND), ("auto", -32021)])
def test_a_client_without_the_capability_is_not_asked(url: str, mode: str, code: int) -> None:
    async def work(client: Client) -> None:
        with pytest.raises(MCPError) as refused:
            await client.call_tool("greet", {})
        assert refused.value.code == code

    with_client(url, work, mode=mode)


def test_log_messages_reach_the_client_whose_call_is_in_flight(url: str) -> None:
    async def work(client: Client) -> None:
        assert text(await client.call_tool("tell", {"text": "for you"})) == "told"
        async with asyncio.timeout(5):
            assert (await logged.get()).data == "for you"

    logged: asyncio.Queue[types.LoggingMessageNotificationParams] = asyncio.Queue()

    async def note(params: types.LoggingMessageNotificationParams) -> None:
        logged.put_nowait(params)

    with_client(url, work, logging_callback=note, mode="legacy")


def test_many_clients_at_once_get_their_own_answers(url: str) -> None:
    async def one(steps: int) -> None:
        async with Client(url) as client:
            for _ in range(5):
                assert text(await client.call_tool("climb", {"steps": steps})) == f"climbed {steps}"

    async def all_of_them() -> None:
        async with asyncio.timeout(60):
            await asyncio.gather(*(one(steps) for steps in range(1, 9)))

    asyncio.run(all_of_them())
