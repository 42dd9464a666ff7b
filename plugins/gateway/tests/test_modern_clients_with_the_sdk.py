"""mcp 2.3's client in the modern era, through the gateway, at servers that are spoken to in the era of handshakes."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Awaitable, Callable, Iterator
from pathlib import Path
from typing import Any

import mcp_types as types
import pytest
from mcp import Client, MCPError
from mcp.client.subscriptions import ResourceUpdated, ToolsListChanged

from thv_core.model.route import RouteState
from thv_testkit.gateways import RunningGateway, RunningServer, free_port, serve_command

PROGRAMS = Path(__file__).parent / "programs"
MODERN = "2026-07-28"

Work = Callable[[Client], Awaitable[None]]


@pytest.fixture(scope="module")
def urls(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, str]]:
    folder = tmp_path_factory.mktemp("modern")
    programs = {"sdk": "sdk_server.py", "changing": "changing_server.py"}
    servers = {
        name: RunningServer(folder, [sys.executable, str(PROGRAMS / program)], name=name)
        for name, program in programs.items()
    }
    gateway = RunningGateway(serve_command("thv_gateway.gateway:HttpGateway"), folder / "gateway")
    ports = {name: free_port() for name in programs}
    gateway.serve(*[server.route(ports[name]) for name, server in servers.items()])
    try:
        gateway.start()
        for name in programs:
            gateway.until(RouteState.READY, f"{name}.1")
        yield {name: f"http://127.0.0.1:{port}/mcp" for name, port in ports.items()}
    finally:
        gateway.cut_lifeline()
        gateway.kill()
        for server in servers.values():
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


async def name_roots(context: Any) -> types.ListRootsResult:
    return types.ListRootsResult(roots=[types.Root(uri="file:///a")])


@pytest.mark.parametrize("mode", ["auto", MODERN])
def test_a_client_of_the_modern_era_needs_no_handshake(urls: dict[str, str], mode: str) -> None:
    async def work(client: Client) -> None:
        assert client.protocol_version == MODERN
        assert {tool.name for tool in (await client.list_tools()).tools} == {"climb", "tell", "greet", "think"}
        assert text(await client.call_tool("climb", {"steps": 1})) == "climbed 1"

    with_client(urls["sdk"], work, mode=mode)


def test_progress_reaches_the_call_that_asked_for_it(urls: dict[str, str]) -> None:
    async def work(client: Client) -> None:
        async def climb(steps: int) -> list[float]:
            seen: list[float] = []

            async def note(progress: float, total: float | None, message: str | None) -> None:
                seen.append(progress)

            assert text(await client.call_tool("climb", {"steps": steps}, progress_callback=note))
            return seen

        results = await asyncio.gather(*(climb(steps) for steps in (3, 5, 50)))
        assert results == [list(range(1, steps + 1)) for steps in (3, 5, 50)]

    with_client(urls["sdk"], work, mode=MODERN)


def test_questions_of_the_server_are_answered_over_several_rounds(urls: dict[str, str]) -> None:
    async def work(client: Client) -> None:
        for _ in range(3):
            assert text(await client.call_tool("greet", {})) == "hello Ada"
            assert text(await client.call_tool("think", {})) == "something"

    callbacks = {"elicitation_callback": answer_name, "sampling_callback": say_something}
    with_client(urls["sdk"], work, mode=MODERN, **callbacks)


def test_one_call_may_ask_again_and_again(urls: dict[str, str]) -> None:
    async def work(client: Client) -> None:
        assert text(await client.call_tool("interview", {})) == "Ada something file:///a"

    with_client(
        urls["changing"],
        work,
        mode=MODERN,
        elicitation_callback=answer_name,
        sampling_callback=say_something,
        list_roots_callback=name_roots,
    )


def test_a_client_without_the_capability_is_told_which_it_lacks(urls: dict[str, str]) -> None:
    async def work(client: Client) -> None:
        with pytest.raises(MCPError) as refused:
            await client.call_tool("greet", {})
        assert refused.value.code == types.MISSING_REQUIRED_CLIENT_CAPABILITY
        assert refused.value.error.data == {"requiredCapabilities": {"elicitation": {"form": {}}}}

    with_client(urls["sdk"], work, mode=MODERN)


def test_an_unknown_method_and_an_unknown_tool_are_errors(urls: dict[str, str]) -> None:
    async def work(client: Client) -> None:
        assert (await client.call_tool("nothing", {})).is_error
        with pytest.raises(MCPError) as refused:
            await client.read_resource("a:unknown")
        assert refused.value.code in (types.INVALID_PARAMS, types.METHOD_NOT_FOUND)

    with_client(urls["sdk"], work, mode=MODERN)


def test_a_listener_hears_of_tools_and_of_its_resources(urls: dict[str, str]) -> None:
    async def work(client: Client) -> None:
        async with client.listen(tools_list_changed=True, resource_subscriptions=["note:1"]) as heard:
            assert heard.honored.tools_list_changed
            assert heard.honored.resource_subscriptions == ["note:1"]
            await client.call_tool("touch", {"uri": "note:2"})
            await client.call_tool("touch", {"uri": "note:1"})
            assert await anext(heard) == ResourceUpdated(uri="note:1")
            await client.call_tool("change", {})
            assert isinstance(await anext(heard), ToolsListChanged)

    with_client(urls["changing"], work, mode=MODERN)


def test_a_call_that_is_given_up_ends_at_the_server(urls: dict[str, str]) -> None:
    async def work(client: Client) -> None:
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.5):
                await client.call_tool("hang", {})
        for _ in range(200):
            counted = text(await client.call_tool("hanging", {}))
            if counted == "0 of 1":
                break
            await asyncio.sleep(0.05)
        assert counted == "0 of 1"

    with_client(urls["changing"], work, mode=MODERN)


def test_clients_of_both_eras_share_one_server(urls: dict[str, str]) -> None:
    async def climb(mode: str, steps: int) -> None:
        async with Client(urls["sdk"], mode=mode) as client:
            for _ in range(5):
                assert text(await client.call_tool("climb", {"steps": steps})) == f"climbed {steps}"

    async def all_of_them() -> None:
        async with asyncio.timeout(60):
            await asyncio.gather(*(climb(mode, steps) for steps in (2, 3) for mode in ("legacy", MODERN)))

    asyncio.run(all_of_them())
