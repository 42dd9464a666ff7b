"""Clients that speak only stdio, and servers somewhere else: ``thv proxy stdio`` and ``thv proxy``."""

from __future__ import annotations

import asyncio
import contextlib
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from harness.home import Thv, heed_interrupts, wait_for
from harness.serving import free_port, listens
from harness.session import Session
from mcp import Client, StdioServerParameters
from mcp.client.stdio import stdio_client
from mcp.types import ElicitResult

SERVER = "uvx://echo-mcp@1.0"


async def with_client(thv: Thv, work: Any, **options: Any) -> Any:
    """Let ``work`` use the official client on ``thv proxy stdio``."""
    program = StdioServerParameters(command=thv.command, args=["proxy", "stdio", "echo"], env=thv.environment)
    async with asyncio.timeout(60), Client(stdio_client(program), **options) as client:
        return await work(client)


def test_the_official_client_speaks_stdio_through_the_bridge(thv: Thv) -> None:
    thv.ok("run", SERVER)

    async def work(client: Client) -> tuple[set[str], Any, Any]:
        tools = {tool.name for tool in (await client.list_tools()).tools}
        first = await client.call_tool("count", {})
        return tools, first, await client.call_tool("count", {})

    tools, first, second = asyncio.run(with_client(thv, work))
    assert {"count", "sleep"} <= tools
    assert [each.structured_content["count"] for each in (first, second)] == [1, 2]


def test_progress_and_questions_come_through_the_bridge(thv: Thv) -> None:
    thv.ok("run", SERVER, "--", "--era", "legacy")
    progress: list[float] = []

    async def heard(done: float, total: float | None, message: str | None) -> None:
        progress.append(done)

    async def answered(*_: object) -> ElicitResult:
        return ElicitResult(action="accept", content={"name": "somebody"})

    async def work(client: Client) -> Any:
        await client.call_tool("sleep", {"seconds": 0.4, "steps": 4}, progress_callback=heard)
        return await client.call_tool("ask", {})

    asked = asyncio.run(with_client(thv, work, elicitation_callback=answered))
    assert "somebody" in str(asked.content)
    assert progress == [1, 2, 3, 4]


def test_the_bridge_goes_on_after_the_gateway_was_killed(thv: Thv) -> None:
    thv.ok("run", SERVER)

    async def work(client: Client) -> Any:
        await client.call_tool("count", {})
        before = thv.child("thv_supervisor.gateway_process")
        thv.kill("thv_supervisor.gateway_process")
        url = thv.view("echo")["url"]
        await asyncio.to_thread(wait_for, lambda: thv.child("thv_supervisor.gateway_process") not in (0, before))
        await asyncio.to_thread(wait_for, lambda: listens(int(url.rpartition(":")[2].partition("/")[0])))
        return await client.call_tool("count", {})

    assert asyncio.run(with_client(thv, work)).structured_content["count"] == 2


def test_the_bridge_to_nobody_is_refused(thv: Thv) -> None:
    done = thv("proxy", "stdio", "nobody", stdin=subprocess.DEVNULL)
    assert done.returncode == 1
    assert "nobody" in done.stderr
    assert done.stdout == ""


@pytest.fixture
def fronted(thv: Thv, tmp_path: Path) -> Iterator[tuple[subprocess.Popen[str], int]]:
    """A proxy in the foreground before a server somewhere else, which is a workload of ours here; and its port."""
    url = thv.ok("run", SERVER).strip()
    port = free_port()
    flags = ("front", "--target-uri", url, "--port", str(port))
    with (tmp_path / "told").open("w") as told:
        process = subprocess.Popen(
            [thv.command, "proxy", *flags], env=thv.environment, stderr=told, text=True, preexec_fn=heed_interrupts
        )
    try:
        wait_for(lambda: listens(port) or process.poll() is not None)
        assert process.poll() is None, (tmp_path / "told").read_text()
        yield process, port
    finally:
        with contextlib.suppress(ProcessLookupError):
            process.kill()
        process.wait(20)


def test_a_proxy_relays_to_a_server_somewhere_else(thv: Thv, fronted: tuple[subprocess.Popen[str], int]) -> None:
    process, port = fronted
    session = Session(f"http://127.0.0.1:{port}/mcp")
    assert [session.count()["count"] for _ in range(2)] == [1, 2]
    process.terminate()
    process.wait(20)
    wait_for(lambda: not listens(port))
    assert "front" not in thv.ok("list", "--all")


def test_a_proxy_without_a_target_is_refused(thv: Thv) -> None:
    assert thv("proxy", "front").returncode == 2
    assert thv("proxy", "front", "--target-uri", "ftp://example.test/").returncode == 2
