"""A server of the real SDK that knows the stateless era alone, on pipes and over HTTP, and the real client of both."""

from __future__ import annotations

import asyncio
import subprocess
import sys
from collections.abc import Awaitable, Callable, Iterator
from pathlib import Path
from typing import Any

import mcp_types as types
import pytest
from mcp import Client

from thv_core.model.route import Route, RouteState
from thv_testkit.gateways import RunningGateway, RunningServer, free_port, listens, serve_command
from thv_testkit.waiting import eventually

PROGRAM = Path(__file__).parent / "programs" / "modern_sdk_server.py"
VERSIONS = {"legacy": "2025-11-25", "auto": "2026-07-28"}

Work = Callable[[Client], Awaitable[None]]


@pytest.fixture(scope="module", params=["pipes", "http"])
def url(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    folder = tmp_path_factory.mktemp("modern")
    gateway = RunningGateway(serve_command("thv_gateway.gateway:HttpGateway"), folder / "gateway")
    port, far = free_port(), free_port()
    command = [sys.executable, str(PROGRAM)]
    if request.param == "pipes":
        server = RunningServer(folder, command, name="sdk")
        process, route = server.process, server.route(port)
    else:
        process = subprocess.Popen([*command, str(far)], stderr=subprocess.DEVNULL)
        eventually(lambda: listens(far))
        log, target = str(folder / "proxy.log"), f"http://127.0.0.1:{far}/mcp"
        route = Route(
            workload="sdk", incarnation="sdk.1", port=port, log=log, transport="streamable-http", target_url=target
        )
    gateway.serve(route)
    try:
        report = gateway.start().until(RouteState.READY, "sdk.1")
        assert (report.protocol_version, report.eras) == ("2026-07-28", ("modern",))
        assert set(report.tools) == {"change", "climb", "greet", "tell"}
        yield f"http://127.0.0.1:{port}/mcp"
    finally:
        gateway.cut_lifeline()
        gateway.kill()
        process.kill()
        process.wait()


def with_client(url: str, mode: str, work: Work, **options: Any) -> None:
    async def run() -> None:
        async with asyncio.timeout(30), Client(url, mode=mode, **options) as client:
            assert client.protocol_version == VERSIONS[mode]
            await work(client)

    asyncio.run(run())


def text(result: types.CallToolResult) -> str:
    assert not result.is_error, result
    return result.content[0].text


modes = pytest.mark.parametrize("mode", ["legacy", "auto"])


@modes
def test_lists_and_resources_can_be_read(url: str, mode: str) -> None:
    async def work(client: Client) -> None:
        assert {tool.name for tool in (await client.list_tools()).tools} == {"change", "climb", "greet", "tell"}
        assert (await client.read_resource("note://one")).contents[0].text == "one"
        assert client.instructions == "Be brief."

    with_client(url, mode, work)


@modes
def test_progress_reaches_the_call_that_asked_for_it(url: str, mode: str) -> None:
    async def work(client: Client) -> None:
        async def climb(steps: int) -> list[float]:
            seen: list[float] = []

            async def note(progress: float, total: float | None, message: str | None) -> None:
                assert total == steps
                seen.append(progress)

            assert text(await client.call_tool("climb", {"steps": steps}, progress_callback=note)) == f"climbed {steps}"
            return seen

        climbed = await asyncio.gather(*[climb(steps) for steps in (1, 4, 7)])
        assert climbed == [[1], [1, 2, 3, 4], [1, 2, 3, 4, 5, 6, 7]]

    with_client(url, mode, work)


@modes
def test_a_client_is_asked_for_what_the_server_needs(url: str, mode: str) -> None:
    async def answer(context: Any, params: Any) -> types.ElicitResult:
        assert params.message == "Who is there?"
        return types.ElicitResult(action="accept", content={"name": "Ada"})

    async def work(client: Client) -> None:
        greetings = await asyncio.gather(*[client.call_tool("greet", {}) for _ in range(5)])
        assert [text(each) for each in greetings] == ["hello Ada"] * 5

    with_client(url, mode, work, elicitation_callback=answer)


def test_a_legacy_session_is_told_what_the_server_logs(url: str) -> None:
    async def work(client: Client) -> None:
        await client.call_tool("tell", {"text": "so"})
        async with asyncio.timeout(10):
            assert await heard.get() == "so"

    async def note(params: types.LoggingMessageNotificationParams) -> None:
        heard.put_nowait(params.data)

    heard: asyncio.Queue[Any] = asyncio.Queue()
    with_client(url, "legacy", work, logging_callback=note)


def test_a_legacy_session_is_told_of_changes(url: str) -> None:
    async def work(client: Client) -> None:
        with pytest.warns(match="resources/subscribe"):
            await client.subscribe_resource("note://one")
        # Its own stream is opened soon after it was initialized.
        while len(heard) < 2:
            await client.call_tool("change", {})
        assert {"notifications/tools/list_changed", "notifications/resources/updated"} <= heard

    async def note(message: Any) -> None:
        heard.add(getattr(message, "method", ""))

    heard: set[str] = set()
    with_client(url, "legacy", work, message_handler=note)
