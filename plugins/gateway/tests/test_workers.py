"""Several processes of one gateway: who answers, what they know together, and what becomes of them."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from thv_core.model.document import encode_document
from thv_core.model.route import Order, Route, RouteSnapshot, RouteState
from thv_core.spi.gateways import ROUTES_FILE
from thv_gateway.sessions.file_store import FileStore
from thv_gateway.sessions.store import StoreUnavailable
from thv_testkit.gateways import McpClient, RunningGateway, RunningServer, free_port, serve_command
from thv_testkit.waiting import eventually

Spread = Callable[..., Route]


@pytest.fixture
def gateway(tmp_path: Path) -> Iterator[RunningGateway]:
    """A gateway of two processes."""
    gateway = RunningGateway(serve_command("thv_gateway.gateway:HttpGateway", workers=2), tmp_path / "gateway")
    yield gateway
    gateway.cut_lifeline()
    gateway.kill()


MODERN = "2026-07-28"


def children(pid: int) -> list[int]:
    return [int(each) for each in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]


@pytest.fixture
def elsewhere() -> Iterator[str]:
    """The URL of an echo server that knows the revisions with sessions only."""
    port = free_port()
    command = [sys.executable, "-m", "thv_testkit.echo", "--http", str(port), "--era", "legacy"]
    server = subprocess.Popen(command, stderr=subprocess.DEVNULL)
    eventually(lambda: listeners(port) == 1)
    yield f"http://127.0.0.1:{port}/mcp"
    server.kill()
    server.wait()


@pytest.fixture
def spread(gateway: RunningGateway, elsewhere: str) -> Spread:
    """Serve a server somewhere else by two processes."""

    def serve(**more: Any) -> Route:
        route = Route(
            workload="there",
            incarnation="there.1",
            port=free_port(),
            log=str(gateway.folder / "there.log"),
            transport="streamable-http",
            target_url=elsewhere,
            **more,
        )
        gateway.folder.mkdir(parents=True, exist_ok=True)
        (gateway.folder / ROUTES_FILE).write_bytes(encode_document(RouteSnapshot(routes=(route,))))
        gateway.start()
        gateway.until(RouteState.READY, "there.1")
        eventually(lambda: listeners(route.port) == 2)
        return route

    return serve


def listeners(port: int) -> int:
    """Return how many sockets listen on a port of loopback."""
    lines = Path("/proc/net/tcp").read_text().splitlines()[1:]
    return sum(line.split()[1].endswith(f":{port:04X}") and line.split()[3] == "0A" for line in lines)


@pytest.fixture
def clients() -> Iterator[Callable[[int], list[McpClient]]]:
    opened: list[McpClient] = []

    def connect(port: int, count: int = 16) -> list[McpClient]:
        opened.extend(McpClient(port) for _ in range(count))
        return opened[-count:]

    yield connect
    for client in opened:
        client.close()


def test_a_session_is_known_to_every_process(spread: Spread, clients: Any, gateway: RunningGateway) -> None:
    route = spread()
    first, *others = clients(route.port)
    first.initialize()
    for other in others:
        other.session = first.session
    numbers = [client.count()[0] for client in (first, *others)]
    assert numbers == list(range(1, len(numbers) + 1))
    assert gateway.process is not None
    workers = children(gateway.process.pid)
    assert len(workers) == 2


def test_an_ended_session_is_ended_everywhere(spread: Spread, clients: Any) -> None:
    first, *others = clients(spread().port)
    first.initialize()
    for other in others:
        other.session = first.session
        other.count()
    assert first.send("DELETE", b"")[0] in (200, 204)
    ping = b'{"jsonrpc":"2.0","id":1,"method":"ping"}'
    for other in others:
        eventually(lambda other=other: other.send("POST", ping)[0] == 404)


def test_what_a_worker_cannot_answer_is_answered_by_the_principal(spread: Spread, clients: Any) -> None:
    """The echo server is asked in the era that it does not speak: that is translated, by one process."""
    meta = {"io.modelcontextprotocol/protocolVersion": MODERN, "io.modelcontextprotocol/clientCapabilities": {}}
    call = {"jsonrpc": "2.0", "id": 1, "method": "tools/call"}
    body = json.dumps({**call, "params": {"name": "count", "arguments": {}, "_meta": meta}}).encode()
    headers = {"mcp_protocol_version": MODERN, "mcp_method": "tools/call", "mcp_name": "count"}
    numbers: list[int] = []
    for client in clients(spread().port):
        status, _, answer = client.send("POST", body, **headers)
        assert status == 200, answer
        assert b'"resultType":"complete"' in answer
        numbers.append(json.loads(answer)["result"]["structuredContent"]["count"])
    assert numbers == list(range(1, len(numbers) + 1))


def test_a_web_page_gets_nowhere_by_way_of_a_worker(spread: Spread, clients: Any) -> None:
    route = spread()
    for client in clients(route.port):
        answer = client.send("GET", b"", origin="http://evil.example", mcp_protocol_version="2026-07-28")
        assert answer[0] == 403


def test_a_worker_that_is_killed_comes_back_and_so_does_the_principal(
    spread: Spread, clients: Any, gateway: RunningGateway
) -> None:
    route = spread()
    (client,) = clients(route.port, 1)
    client.initialize()
    client.count()
    assert gateway.process is not None
    nursery = gateway.process.pid
    for victim in children(nursery):
        os.kill(victim, signal.SIGKILL)
        eventually(lambda gone=victim: gone not in children(nursery) and len(children(nursery)) == 2, 10)
        eventually(lambda: listeners(route.port) == 2, 15)
        client.close()
        assert client.count()[0] >= 2


def test_all_of_them_end_with_the_lifeline(spread: Spread, gateway: RunningGateway) -> None:
    spread()
    assert gateway.process is not None
    pids = [gateway.process.pid, *children(gateway.process.pid)]
    gateway.cut_lifeline()
    eventually(lambda: gateway.process is None or gateway.process.poll() is not None)
    eventually(lambda: not any(Path(f"/proc/{pid}/status").exists() for pid in pids[1:]))


def test_a_drain_ends_all_of_them_well(spread: Spread, gateway: RunningGateway) -> None:
    spread()
    assert gateway.process is not None
    gateway.order(Order.DRAIN)
    assert gateway.process.wait(15) == 0


def test_a_server_on_pipes_belongs_to_one_process(gateway: RunningGateway, start_server: Any, clients: Any) -> None:
    server: RunningServer = start_server()
    route = server.route(free_port())
    gateway.folder.mkdir(parents=True, exist_ok=True)
    (gateway.folder / ROUTES_FILE).write_bytes(encode_document(RouteSnapshot(routes=(route,))))
    gateway.start().until(RouteState.READY, "echo.1")
    assert listeners(route.port) == 1
    first, *others = clients(route.port)
    first.initialize()
    for other in others:
        other.session = first.session
    assert [client.count()[0] for client in (first, *others)] == list(range(1, 17))


def test_the_store_of_all_processes_keeps_records_until_their_time_is_over(tmp_path: Path) -> None:
    now = [1000.0]

    async def story() -> None:
        one, other = (FileStore(tmp_path / "common.db", lambda: now[0]) for _ in range(2))
        await one.put("a", b"1", 60)
        now[0] += 50
        assert await other.get("a", 60) == b"1"
        now[0] += 50
        assert await one.get("a", 60) == b"1"
        await one.remove("a")
        assert await other.get("a", 60) is None
        await one.put("b", b"2", 60)
        now[0] += 61
        assert await other.get("b", 60) is None
        await one.close()
        await other.close()

    asyncio.run(story())
    assert (tmp_path / "common.db").stat().st_mode & 0o077 == 0


def test_a_store_that_cannot_be_opened_says_so(tmp_path: Path) -> None:
    (tmp_path / "common.db").mkdir()
    with pytest.raises(StoreUnavailable):
        asyncio.run(FileStore(tmp_path / "common.db").get("a", 1))


def test_sessions_survive_a_kill_of_all_processes_at_once(
    spread: Spread, clients: Any, gateway: RunningGateway
) -> None:
    route = spread()
    opened = clients(route.port, 6)
    for client in opened:
        client.initialize()
    for client in opened * 4:
        client.close()
        client.count()
    gateway.kill()
    for client in opened:
        client.close()
    gateway.start().until(RouteState.READY, "there.1")
    eventually(lambda: listeners(route.port) == 2, 15)
    for client in opened:
        assert client.count()[0] > len(opened)
