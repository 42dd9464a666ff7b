"""The real SDK on both sides of the relay: mcp 2.3's client and its streamable HTTP server, in either era."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

import mcp_types as types
import pytest
from mcp import Client, MCPError

from thv_testkit.gateways import RunningGateway, free_port

Work = Callable[[Client], Awaitable[None]]


@pytest.fixture
def url(gateway: RunningGateway, http_server: Any, reach: Any) -> str:
    server = http_server("sdk_server.py", str(free_port()))
    return f"http://127.0.0.1:{reach(gateway, server, greet=False).port}/mcp"


def with_client(url: str, work: Work, **options: Any) -> None:
    async def run() -> None:
        async with asyncio.timeout(30), Client(url, **options) as client:
            await work(client)

    asyncio.run(run())


def text(result: types.CallToolResult) -> str:
    assert not result.is_error, result
    return result.content[0].text


async def answer_name(context: Any, params: Any) -> types.ElicitResult:
    return types.ElicitResult(action="accept", content={"name": "Ada"})


@pytest.mark.parametrize(("mode", "version"), [("auto", "2026-07-28"), ("legacy", "2025-11-25")])
def test_client_and_server_speak_the_era_that_they_choose(url: str, mode: str, version: str) -> None:
    async def work(client: Client) -> None:
        assert client.protocol_version == version
        seen: list[float] = []

        async def note(progress: float, total: float | None, message: str | None) -> None:
            seen.append(progress)

        assert text(await client.call_tool("climb", {"steps": 3}, progress_callback=note)) == "climbed 3"
        assert seen == [1, 2, 3]
        with pytest.raises(MCPError):
            await client.get_prompt("nothing")

    with_client(url, work, mode=mode)


def test_questions_and_logs_of_the_server_reach_the_client_that_called(url: str) -> None:
    logged: asyncio.Queue[types.LoggingMessageNotificationParams] = asyncio.Queue()

    async def note(params: types.LoggingMessageNotificationParams) -> None:
        logged.put_nowait(params)

    async def work(client: Client) -> None:
        assert text(await client.call_tool("greet", {})) == "hello Ada"
        assert text(await client.call_tool("tell", {"text": "for you"})) == "told"
        async with asyncio.timeout(5):
            assert (await logged.get()).data == "for you"

    with_client(url, work, mode="legacy", elicitation_callback=answer_name, logging_callback=note)


def test_many_clients_at_once_get_their_own_answers(url: str) -> None:
    async def one(steps: int, mode: str) -> None:
        async with Client(url, mode=mode) as client:
            for _ in range(3):
                assert text(await client.call_tool("climb", {"steps": steps})) == f"climbed {steps}"

    async def all_of_them() -> None:
        async with asyncio.timeout(60):
            await asyncio.gather(*(one(steps, mode) for steps in range(1, 5) for mode in ("auto", "legacy")))

    asyncio.run(all_of_them())
