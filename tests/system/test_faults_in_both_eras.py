"""Clients that go away and servers that start anew while a stream is open, in each era: what is left is counted."""

from __future__ import annotations

import asyncio
import contextlib
import json
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from harness.dual_era.resources import WATCHED
from harness.dual_era.running import HttpFixture, gateway_before
from harness.home import wait_for
from mcp import Client, MCPError

from thv_core.model.route import RouteState
from thv_testkit.gateways import RunningGateway, free_port

pytestmark = pytest.mark.filterwarnings("ignore::mcp.shared.exceptions.MCPDeprecationWarning")

SECONDS = 30
MODES = {"legacy": "legacy", "modern": "2026-07-28"}
PAIRS = [(client, server) for client in MODES for server in MODES]


@dataclass(frozen=True)
class Served:
    """A server in one era, and the gateway before it."""

    server: HttpFixture
    gateway: RunningGateway
    url: str

    def sockets(self) -> int:
        """Return how many sockets the gateway has open."""
        assert self.gateway.process is not None
        folder = Path(f"/proc/{self.gateway.process.pid}/fd")
        found = 0
        for each in folder.iterdir():
            with contextlib.suppress(FileNotFoundError):
                found += str(each.readlink()).startswith("socket:")
        return found


@pytest.fixture
def served(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Served]:
    server = HttpFixture(tmp_path, request.param)
    route = server.route(free_port())
    try:
        with gateway_before(route, tmp_path / "gateway") as gateway:
            gateway.until(RouteState.READY, route.incarnation)
            yield Served(server, gateway, f"http://127.0.0.1:{route.port}/mcp")
    finally:
        server.stop()


def run(work: Any) -> None:
    async def bounded() -> None:
        async with asyncio.timeout(SECONDS):
            await work()

    asyncio.run(bounded())


async def until(client: Client, **wanted: int) -> None:
    """Ask the server what became of the calls that wait there, until it is this."""
    # Each look is a call that takes its time; the bound is that of the whole test.
    while json.loads((await client.call_tool("waits")).content[0].text) != wanted:
        pass


async def leave_in_the_middle(url: str, mode: str) -> None:
    """Begin a call that never ends, and hang up without a word: the whole client is gone."""
    program = """
import asyncio, sys
from mcp import Client
async def main():
    async def note(*_):
        print("began", flush=True)
    async with Client(sys.argv[1], mode=sys.argv[2]) as client:
        await client.call_tool("wait", progress_callback=note)
asyncio.run(main())
"""
    client = await asyncio.create_subprocess_exec(
        *(sys.executable, "-c", program, url, mode), stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.DEVNULL
    )
    assert client.stdout is not None
    assert await client.stdout.readline() == b"began\n"
    client.kill()
    await client.wait()


@pytest.mark.parametrize(("era", "served"), PAIRS, indirect=["served"])
def test_a_modern_client_that_hangs_up_cancels_its_call_and_a_legacy_one_does_not(served: Served, era: str) -> None:
    async def work() -> None:
        async with Client(served.url, mode=MODES[era]) as client:
            await leave_in_the_middle(served.url, MODES[era])
            if era == "modern":
                await until(client, waiting=0, cancelled=1)
            else:
                # Long enough for the gateway to notice that somebody is gone: that connection ended before these calls.
                for _ in range(20):
                    await client.call_tool("echo", {"text": "x"})
                await until(client, waiting=1, cancelled=0)

    run(work)


@pytest.mark.parametrize(("era", "served"), [pair for pair in PAIRS if pair[0] == "modern"], indirect=["served"])
def test_modern_clients_that_hang_up_leave_no_socket_behind(served: Served, era: str) -> None:
    run(lambda: leave_in_the_middle(served.url, MODES[era]))
    wait_for(settled(served.sockets))
    before = served.sockets()

    async def work() -> None:
        await asyncio.gather(*(leave_in_the_middle(served.url, MODES[era]) for _ in range(3)))

    run(work)
    wait_for(lambda: served.sockets() <= before + 1)


def settled(count: Callable[[], int]) -> Callable[[], bool]:
    """Return what tells whether a number stayed the same between two looks, for ten looks."""
    seen: list[int] = []

    def is_settled() -> bool:
        seen.append(count())
        return len(seen) > 10 and len(set(seen[-10:])) == 1

    return is_settled


@pytest.mark.parametrize(("era", "served"), PAIRS, indirect=["served"])
def test_a_server_that_is_started_anew_serves_the_client_that_was_there_before(served: Served, era: str) -> None:
    async def work() -> None:
        async with Client(served.url, mode=MODES[era]) as client:
            assert (await client.call_tool("echo", {"text": "before"})).content[0].text == "before"
            call = asyncio.create_task(client.call_tool("wait"))
            await until(client, waiting=1, cancelled=0)
            served.server.stop()
            with pytest.raises(MCPError):
                await call
            served.server.start()
            assert await answered(client) == "after"
            if era == "modern":
                async with client.listen(resource_subscriptions=[WATCHED]) as events:
                    await client.call_tool("test_trigger_resource_update")
                    assert (await anext(events)).uri == WATCHED

    run(work)


async def answered(client: Client) -> str:
    """Call until the server is there again: meanwhile each call is refused, none hangs."""
    while True:
        try:
            return str((await client.call_tool("echo", {"text": "after"})).content[0].text)
        except MCPError:
            await asyncio.sleep(0.05)
