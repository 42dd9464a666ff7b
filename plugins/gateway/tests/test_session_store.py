"""Sessions that several gateways share in Redis, and what happens while it does not answer."""

from __future__ import annotations

import asyncio
import json
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from msgspec import structs

from thv_core.model.route import RouteState, SessionRedis, Terms
from thv_gateway.sessions import redis_store as module
from thv_gateway.sessions.redis_store import RedisStore
from thv_gateway.sessions.store import SessionStore, StoreUnavailable
from thv_testkit.gateways import McpClient, RunningGateway, free_port
from thv_testkit.waiting import eventually

PING = {"jsonrpc": "2.0", "id": 1, "method": "ping"}
SERVE = Path(__file__).parent / "programs" / "serve_with_environment.py"
PASSWORD = "only for this test"


class MemoryStore:
    """A fake: records in the memory of the test."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._key = b""
        self._records: dict[str, tuple[bytes, float]] = {}

    async def key(self, own: bytes) -> bytes:
        """See :meth:`SessionStore.key`."""
        self._key = self._key or own
        return self._key

    async def put(self, name: str, record: bytes, seconds: float) -> None:
        """See :meth:`SessionStore.put`."""
        self._records.pop(name, None)
        self._records[name] = record, self._clock() + seconds

    async def get(self, name: str, seconds: float) -> bytes | None:
        """See :meth:`SessionStore.get`."""
        record, ends = self._records.pop(name, (b"", 0.0))
        if ends <= self._clock():
            return None
        self._records[name] = record, self._clock() + seconds
        return record

    async def remove(self, name: str) -> None:
        """See :meth:`SessionStore.remove`."""
        self._records.pop(name, None)

    async def close(self) -> None:
        """Do nothing."""


class RedisServer:
    """A server of Redis of our own."""

    def __init__(self, folder: Path) -> None:
        self.port = free_port()
        self.folder = folder
        self.start()

    def start(self) -> None:
        """Start it, with nothing in it, and wait until it listens."""
        options = ["--port", str(self.port), "--save", "", "--bind", "127.0.0.1", "--requirepass", PASSWORD]
        command = [str(shutil.which("redis-server")), *options, "--dir", str(self.folder)]
        self.process = subprocess.Popen(command, stdout=subprocess.DEVNULL)
        store = RedisStore(self.where, PASSWORD)

        async def answers() -> bool:
            try:
                await store.get("x", 1)
            except StoreUnavailable:
                return False
            finally:
                await store.close()
            return True

        assert eventually(lambda: asyncio.run(answers()))

    @property
    def where(self) -> SessionRedis:
        """Where it is."""
        return SessionRedis(address=f"127.0.0.1:{self.port}")

    def stop(self) -> None:
        """Kill it."""
        self.process.kill()
        self.process.wait()


@pytest.fixture
def redis(tmp_path: Path) -> Iterator[RedisServer]:
    if shutil.which("redis-server") is None:
        assert not os.environ.get("CI"), "redis-server is missing"
        pytest.skip("redis-server is not installed")
    server = RedisServer(tmp_path)
    yield server
    server.stop()


@pytest.fixture
def replica(tmp_path: Path, redis: RedisServer, start_server: Any) -> Iterator[Any]:
    """Start one more gateway beside the others, with a server of its own, and return its port."""
    gateways: list[RunningGateway] = []

    def start(ttl: float = 60.0) -> int:
        number = len(gateways)
        gateway = RunningGateway([sys.executable, str(SERVE)], tmp_path / f"gateway{number}")
        gateways.append(gateway)
        port = free_port()
        server = start_server("scripted_server.py", {}, generation=number + 1)
        terms = Terms(session_ttl=ttl, session_redis=redis.where)
        gateway.start()
        gateway.serve(structs.replace(server.route(port), terms=terms))
        gateway.until(RouteState.READY, f"echo.{number + 1}")
        return port

    os.environ["THV_SESSION_REDIS_PASSWORD"] = PASSWORD
    try:
        yield start
    finally:
        del os.environ["THV_SESSION_REDIS_PASSWORD"]
        for each in gateways:
            each.cut_lifeline()
            each.kill()


@pytest.fixture
def at() -> Iterator[Any]:
    """Return a client of a gateway, with the session of another one."""
    clients: list[McpClient] = []

    def connect(port: int, session: str = "") -> McpClient:
        clients.append(McpClient(port))
        clients[-1].session = session
        return clients[-1]

    yield connect
    for client in clients:
        client.close()


def test_gateways_with_one_store_accept_each_others_sessions_and_see_their_ends(replica: Any, at: Any) -> None:
    one, two = at(replica()), at(replica())
    one.initialize()
    two.session = one.session
    assert two.send("POST", PING)[0] == 200
    assert one.send("POST", PING)[0] == 200
    assert one.send("DELETE", None)[0] == 204
    # Within a second: `eventually` waits for longer, the bound is that of SEEN_SECONDS.
    assert eventually(lambda: two.send("POST", PING)[0] == 404)
    status, _, body = two.send("POST", PING)
    assert (status, json.loads(body)["error"]["code"]) == (404, -32001)


def test_a_session_that_nobody_uses_anywhere_ends(replica: Any, at: Any) -> None:
    one = at(replica(ttl=0.5))
    one.initialize()
    assert one.send("POST", PING)[0] == 200
    other = at(one.port, one.session)

    def is_over() -> bool:
        asyncio.run(asyncio.sleep(1.0))
        return other.send("POST", PING)[0] == 404

    assert eventually(is_over)


def test_nobody_gets_in_while_the_store_does_not_answer(replica: Any, at: Any, redis: RedisServer) -> None:
    one = at(replica())
    one.initialize()
    redis.stop()

    def refusal() -> Any:
        status, _, body = one.send("POST", PING)
        return json.loads(body)["error"]["message"] if status == 503 else None

    assert eventually(refusal) == "session store unavailable"
    assert one.send("POST", {"jsonrpc": "2.0", "id": 1, "method": "initialize", "params": {}})[0] == 503
    redis.start()
    # It was empty when it came back: the session is over.
    assert eventually(lambda: one.send("POST", PING)[0] == 404)
    one.session = ""
    one.initialize()
    assert one.send("POST", PING)[0] == 200


def test_no_id_is_written_to_the_store(replica: Any, at: Any, redis: RedisServer) -> None:
    import redis as library

    client = at(replica())
    client.initialize()
    assert client.send("POST", PING)[0] == 200
    with library.Redis(port=redis.port, password=PASSWORD) as raw:
        names = [name.decode() for name in raw.scan_iter()]
        values = [raw.get(name) for name in names]
    assert len(names) == 2
    assert all(name.startswith("thv:proxy:session:") for name in names)
    end = client.session.rpartition(".")[2]
    assert not any(end in name for name in names)
    assert not any(end.encode() in value for value in values)


# Stores


@pytest.fixture(params=["memory", "redis"])
def store(request: pytest.FixtureRequest) -> SessionStore:
    if request.param == "memory":
        return MemoryStore()
    server: RedisServer = request.getfixturevalue("redis")
    return RedisStore(server.where, PASSWORD)


def test_a_store_keeps_records_for_as_long_as_they_are_used(store: SessionStore) -> None:
    async def use() -> None:
        assert await store.get("a", 10) is None
        await store.put("a", b"first", 10)
        await store.put("a", b"second", 10)
        await store.put("b", b"other", 10)
        assert await store.get("a", 0.01) == b"second"
        await asyncio.sleep(0.05)
        assert await store.get("a", 10) is None
        assert await store.get("b", 10) == b"other"
        await store.remove("b")
        await store.remove("b")
        assert await store.get("b", 10) is None
        assert await store.key(b"mine") == b"mine"
        assert await store.key(b"another") == b"mine"
        await store.close()

    asyncio.run(use())


def test_a_store_that_says_nothing_is_unavailable_soon(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "OPERATION_SECONDS", 0.2)

    async def use() -> None:
        async def say_nothing(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            await reader.read()
            writer.close()

        silent = await asyncio.start_server(say_nothing, "127.0.0.1", 0)
        port = silent.sockets[0].getsockname()[1]
        store = RedisStore(SessionRedis(address=f"127.0.0.1:{port}"), PASSWORD)
        with pytest.raises(StoreUnavailable) as refused:
            await store.get("a", 1)
        assert PASSWORD not in str(refused.value)
        await store.close()
        silent.close()
        await silent.wait_closed()

    asyncio.run(use())


def test_without_the_library_the_store_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "redis.exceptions", None)
    with pytest.raises(StoreUnavailable, match=r"install thv-gateway\[redis\]"):
        asyncio.run(RedisStore(SessionRedis(address="127.0.0.1:1")).get("a", 1))
