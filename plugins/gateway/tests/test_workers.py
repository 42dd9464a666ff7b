"""Several processes of one gateway: who answers, what they know together, and what becomes of them."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, cast

import pytest
from msgspec import structs

from thv_core.model.document import encode_document
from thv_core.model.route import Order, Route, RouteReport, RouteSnapshot, RouteState
from thv_core.spi.gateways import ROUTES_FILE
from thv_core.spi.middleware import Reply
from thv_gateway.sessions.file_store import FileStore, forget_common, seed_common
from thv_gateway.sessions.store import StoreUnavailable
from thv_gateway.stages.chain import Arrival, Chain
from thv_gateway.web.app import Application
from thv_gateway.web.listeners import Address, Listener
from thv_gateway.workers.forwarding import Forwarder, received
from thv_gateway.workers.notes import Reload, Said, decoded, encoded
from thv_gateway.workers.office import Office
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


def held(pid: int, port: int) -> int:
    """Return how many connections of clients to a port of loopback a process has."""
    lines = [line.split() for line in Path("/proc/net/tcp").read_text().splitlines()[1:]]
    sockets = {f"socket:[{line[9]}]" for line in lines if line[1].endswith(f":{port:04X}") and line[3] == "01"}
    owned = [str(each.readlink()) for each in Path(f"/proc/{pid}/fd").iterdir() if each.is_symlink()]
    return len(sockets.intersection(owned))


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


def test_a_method_that_nobody_knows_is_refused_by_every_process(spread: Spread, clients: Any) -> None:
    for client in clients(spread().port):
        assert client.send("HEAD", None, mcp_protocol_version=MODERN)[0] == 405
        assert client.send("PUT", b"{}", mcp_protocol_version=MODERN)[0] == 405
        assert client.send("POST", b" " * (9 * 1024 * 1024), mcp_protocol_version=MODERN)[0] == 413


def test_a_life_is_left_when_the_last_call_of_a_worker_has_ended(
    spread: Spread, clients: Any, stream: Any, gateway: RunningGateway
) -> None:
    route = spread()
    (client,) = clients(route.port, 1)
    client.initialize()
    assert gateway.process is not None
    _, worker = children(gateway.process.pid)
    before, seconds, last = held(worker, route.port), 0, None
    while last is None or held(worker, route.port) == before:
        # Each ends a second after those that the principal has got.
        seconds += 1
        params = {"name": "sleep", "arguments": {"seconds": seconds, "steps": 20}, "_meta": {"progressToken": 1}}
        last = stream(client, "POST", {"jsonrpc": "2.0", "id": 7, "method": "tools/call", "params": params})
        assert last.message()["method"] == "notifications/progress"
    gateway.serve(structs.replace(route, incarnation="there.2", retiring=(route.incarnation,)))
    gateway.until_quiet(route.incarnation)
    quiet = time.monotonic()
    message = last.message()
    while message.get("id") != 7:
        message = last.message()
    assert "result" in message
    assert time.monotonic() - quiet < 0.5


def test_sessions_of_one_process_are_known_to_several(elsewhere: str, tmp_path: Path, clients: Any) -> None:
    alone, several = (
        RunningGateway(serve_command("thv_gateway.gateway:HttpGateway", workers=count), tmp_path / "gateway")
        for count in (1, 3)
    )
    route = Route(
        workload="there",
        incarnation="there.1",
        port=free_port(),
        log=str(tmp_path / "there.log"),
        transport="streamable-http",
        target_url=elsewhere,
    )
    alone.write(route)
    alone.start().until(RouteState.READY, "there.1")
    first, *others = clients(route.port)
    first.initialize()
    first.count()
    alone.cut_lifeline()
    alone.ended()
    several.start().until(RouteState.READY, "there.1")
    try:
        eventually(lambda: listeners(route.port) == 3)
        for number, client in enumerate(others, start=2):
            client.session = first.session
            assert client.count()[0] == number
    finally:
        several.cut_lifeline()
        several.kill()


def test_a_database_that_is_broken_is_made_anew(tmp_path: Path) -> None:
    path = tmp_path / "common.db"
    path.write_bytes(b"this is no database at all, however long it is " * 100)

    async def story() -> None:
        one, other = FileStore(path), FileStore(path)
        with pytest.raises(StoreUnavailable):
            await one.put("a", b"1", 60)
        await one.put("a", b"1", 60)
        assert await other.get("a", 60) == b"1"
        # Whoever has one open that was removed goes over to the one in its place.
        forget_common(path)
        await other.put("b", b"2", 60)
        assert await one.get("b", 60) == b"2"
        assert await one.get("a", 60) is None
        await one.close()
        await other.close()

    asyncio.run(story())


def test_a_store_is_seeded_once(tmp_path: Path) -> None:
    path = tmp_path / "common.db"
    seed_common(path, [("a", b"1", 60.0)])

    async def story() -> None:
        store = FileStore(path)
        assert await store.get("a", 60) == b"1"
        await store.remove("a")
        seed_common(path, [("a", b"1", 60.0), ("b", b"2", 60.0)])
        assert await store.get("a", 60) is None
        assert await store.get("b", 60) is None
        await store.close()

    asyncio.run(story())


def test_nobody_is_quiet_before_the_workers_of_a_predecessor_have_come(tmp_path: Path) -> None:
    async def story() -> None:
        said: asyncio.Queue[RouteReport] = asyncio.Queue()
        complete: list[bool] = []
        office = Office(1, said.put_nowait, lambda: complete.append(True))
        await office.open(tmp_path / "workers.sock")
        assert not office.is_quiet("there.1")
        reader, writer = await asyncio.open_unix_connection(str(tmp_path / "workers.sock"))
        # It is not told of values that the principal itself does not know.
        assert isinstance(decoded(await reader.readline()), Reload)
        for quiet in (False, True):
            report = RouteReport(workload="there", incarnation="there.1", state=RouteState.READY, quiet=quiet)
            writer.write(encoded(Said(report)))
            assert await said.get() == report
            assert office.is_quiet("there.1") is quiet
        assert complete == [True]
        office.close()
        assert await reader.read() == b""
        writer.close()
        await writer.wait_closed()

    asyncio.run(asyncio.wait_for(story(), 20))


def test_a_worker_that_does_not_come_is_not_waited_for(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("thv_gateway.workers.office.MISSING_SECONDS", 0.01)

    async def story() -> None:
        complete = asyncio.Event()
        office = Office(1, lambda _: None, complete.set)
        await office.open(tmp_path / "workers.sock")
        await complete.wait()
        assert office.is_quiet("there.1")
        office.close()

    asyncio.run(asyncio.wait_for(story(), 20))


def test_what_a_client_says_of_itself_in_the_fields_of_the_gateway_is_dropped(tmp_path: Path) -> None:
    seen: list[Arrival] = []

    async def face(arrival: Arrival) -> None:
        seen.append(arrival)
        arrival.peer.reply(Reply(200, b"{}", ()))

    async def story() -> None:
        app = Application("there", Chain([], lambda *_: None), cast("Any", None), lambda: (200, {}))
        app.faces = {"/mcp": face}
        bound = asyncio.Event()
        listener = Listener(Address(socket=str(tmp_path / "inner.sock")), received("there", app), bound.set)
        await bound.wait()
        forwarder = Forwarder(tmp_path / "inner.sock")
        fields = {b"host": b"here", b"thv-client": b"1.1.1.1", b"thv-secure": b"0", b"x-own": b"kept"}
        peer = FakePeer()
        given = tuple(fields.items())
        arrival = Arrival("there", "POST", "/mcp", given, "10.0.0.7", peer=peer, fields=fields, secure=True)
        await forwarder.carry(arrival)
        assert peer.status == 200
        forwarder.close()
        listener.close()
        # The transports are closed with the next turn of the loop.
        await asyncio.sleep(0.01)

    asyncio.run(asyncio.wait_for(story(), 20))
    (arrival,) = seen
    assert (arrival.client, arrival.secure) == ("10.0.0.7", True)
    assert dict(arrival.headers)[b"x-own"] == b"kept"
    assert not {b"thv-client", b"thv-secure"} & dict(arrival.headers).keys()


class FakePeer:
    """Takes an answer as a whole."""

    is_gone = False

    def __init__(self) -> None:
        self.status = 0

    def on_gone(self, act: Callable[[], None]) -> Callable[[], None]:
        return lambda: None

    async def body(self, limit: int) -> bytes | None:
        return b"{}"

    def reply(self, reply: Reply) -> None:
        self.status = reply.status

    def begin(self, status: int, fields: Any) -> None:
        self.status = status

    async def write(self, piece: bytes) -> None:
        pass

    def finish(self) -> None:
        pass


_STUBBORN = """
import os, signal, sys, time
from thv_gateway.workers import nursery
nursery.LAST_SECONDS = 0.3
def work(number, tether):
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    os.write(1, b"%d" % number)
    time.sleep(60)
nursery.tend(2, int(sys.argv[1]), work)
"""


def test_a_process_that_does_not_end_when_it_is_told_to_is_killed() -> None:
    lifeline, held = os.pipe()
    command = [sys.executable, "-c", _STUBBORN, str(lifeline)]
    with subprocess.Popen(command, pass_fds=[lifeline], stdout=subprocess.PIPE) as nursery:
        assert nursery.stdout is not None
        assert sorted(nursery.stdout.read(2)) == [ord("0"), ord("1")]
        nursery.terminate()
        assert nursery.wait(20) == 0
    os.close(lifeline)
    os.close(held)
