"""A world on loopback: an egress, hosts that it reaches, and a server that looks names up and connects."""

import asyncio
import contextlib
import socket
import struct
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import uvloop

from thv_core.spi import (
    CallInFlight,
    EgressRecord,
    MadeSocket,
    Network,
    OpenOutlet,
    Outbound,
    Outlet,
    SocketKind,
)
from thv_egress.driver import NameEgress
from thv_egress.resolving import Resolver
from thv_egress.settings import Settings

PATIENCE = 10.0
POOL = "127.200.0.0/16"  # loopback answers on all of it, as a namespace does on its pool
LOOPS = {"asyncio": asyncio.new_event_loop, "uvloop": uvloop.new_event_loop}

Handler = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]
Connection = tuple[asyncio.StreamReader, asyncio.StreamWriter]


async def echo(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """Send back whatever comes, and the end after the end."""
    while data := await reader.read(65536):
        writer.write(data)
        await writer.drain()
    writer.write_eof()


@dataclass
class World:
    state: Path
    settings: Settings
    names: dict[str, Sequence[str] | Callable[[], Sequence[str]]] = field(default_factory=dict)
    looked_up: list[str] = field(default_factory=list)
    calls: tuple[CallInFlight, ...] = ()
    servers: list[asyncio.Server] = field(default_factory=list)
    outlets: list[OpenOutlet] = field(default_factory=list)
    clients: list[asyncio.StreamWriter] = field(default_factory=list)
    handling: dict[Any, asyncio.StreamWriter] = field(default_factory=dict)
    proxy_port: int = 0
    dns_port: int = 0

    def __post_init__(self) -> None:
        self.egress = NameEgress(self.settings, self.state, Resolver(self.resolve))

    async def resolve(self, host: str) -> Sequence[str]:
        self.looked_up.append(host)
        found = self.names.get(host)
        if found is None:
            raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")
        return found() if callable(found) else found

    async def serve(self, handler: Handler = echo, host: str = "127.0.0.1", port: int = 0) -> int:
        """Start a host; return its port."""

        async def handled(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            task = asyncio.current_task()
            self.handling[task] = writer
            try:
                with contextlib.suppress(ConnectionError):
                    await handler(reader, writer)
            finally:
                writer.close()
                del self.handling[task]

        server = await asyncio.start_server(handled, host, port)
        self.servers.append(server)
        return int(server.sockets[0].getsockname()[1])

    def open(self, *allow_host: str, ports: Sequence[int] = (), **outlet: Any) -> OpenOutlet:
        """Open an outlet; it listens on the first eight addresses of the pool that stand for names."""
        sockets = [(MadeSocket(kind=SocketKind.PROXY), listening("127.0.0.1", 0))]
        self.proxy_port = sockets[0][1].getsockname()[1]
        tcp = listening("127.0.0.1", 0)
        self.dns_port = tcp.getsockname()[1]
        udp = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        udp.bind(("127.0.0.1", self.dns_port))
        sockets += [(MadeSocket(kind=SocketKind.DNS_TCP), tcp), (MadeSocket(kind=SocketKind.DNS_UDP), udp)]
        for port in ports:
            for last in range(2, 10):
                sockets.append((MadeSocket(kind=SocketKind.PORT, port=port), listening(f"127.200.0.{last}", port)))
        network = outlet.pop("network", Network(outbound=Outbound(allow_host=allow_host)))
        details = {"workload": "fetch", "incarnation": "fetch.1", "calls": lambda: self.calls, **outlet}
        plan = self.egress.plan(network)
        opened = self.egress.open(Outlet(network=network, plan=plan, sockets=tuple(sockets), **details))
        self.outlets.append(opened)
        return opened

    async def connect(self, address: str, port: int) -> Connection:
        async with asyncio.timeout(PATIENCE):
            connection = await asyncio.open_connection(address, port)
        self.clients.append(connection[1])
        return connection

    async def is_reset(self, address: str, port: int) -> None:
        """Connect and see the connection reset, however early."""
        with pytest.raises(ConnectionResetError):
            await self._read_all(address, port)

    async def _read_all(self, address: str, port: int) -> bytes:
        reader, _ = await self.connect(address, port)
        async with asyncio.timeout(PATIENCE):
            return await reader.read()

    async def through_proxy(self, request: bytes) -> Connection:
        reader, writer = await self.connect("127.0.0.1", self.proxy_port)
        writer.write(request)
        return reader, writer

    async def look_up(self, name: str, kind: int = 1) -> tuple[int, list[str]]:
        """Ask over UDP; return the response code and the addresses."""
        return decoded(await asyncio.to_thread(self._asked, query(name, kind)))

    async def asked(self, packet: bytes) -> bytes:
        """Return the response to any bytes, empty when none comes soon."""
        return await asyncio.to_thread(self._asked, packet, 0.5)

    def _asked(self, packet: bytes, patience: float = PATIENCE) -> bytes:
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as client:
            client.settimeout(patience)
            client.sendto(packet, ("127.0.0.1", self.dns_port))
            try:
                return client.recv(4096)
            except TimeoutError:
                return b""

    def records(self) -> list[EgressRecord]:
        return [record for batch in self.egress.records() for record in batch]

    async def recorded(self, number: int = 1) -> list[EgressRecord]:
        """Wait until so many records are there."""
        await until(lambda: len(self.records()) >= number, f"{number} records, not {self.records()}")
        return self.records()

    async def close(self) -> None:
        for opened in self.outlets:
            opened.close()
        for server in self.servers:
            server.close()
        for writer in (*self.clients, *self.handling.values()):
            writer.transport.abort()
        await until(lambda: not self.handling, "the hosts have finished")


def listening(address: str, port: int) -> socket.socket:
    sock = socket.socket()
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    sock.bind((address, port))
    sock.listen(128)
    sock.setblocking(False)
    return sock


def query(name: str, kind: int = 1, identifier: int = 7, *, group: int = 1, extended: bool = False) -> bytes:
    labels = b"".join(bytes([len(label)]) + label.encode("latin-1") for label in name.split(".") if label)
    opt = b"\0" + struct.pack("!HHIH", 41, 4096, 0, 0) if extended else b""
    return struct.pack("!6H", identifier, 0x0100, 1, 0, 0, extended) + labels + struct.pack("!xHH", kind, group) + opt


def decoded(response: bytes) -> tuple[int, list[str]]:
    _, flags, questions, answers, _, _ = struct.unpack_from("!6H", response)
    assert flags & 0x8000
    at = 12
    for _ in range(questions):
        while response[at]:
            at += 1 + response[at]
        at += 5
    found = []
    for _ in range(answers):
        pointer, kind, group, ttl, size = struct.unpack_from("!HHHIH", response, at)
        assert (pointer, kind, group, ttl, size) == (0xC00C, 1, 1, 60, 4)
        found.append(socket.inet_ntoa(response[at + 12 : at + 16]))
        at += 16
    return flags & 15, found


async def until(condition: Callable[[], bool], what: str) -> None:
    deadline = time.monotonic() + PATIENCE
    while not condition():
        assert time.monotonic() < deadline, f"not within {PATIENCE} s: {what}"
        await asyncio.sleep(0.01)


@pytest.fixture(params=LOOPS)
def run(request: pytest.FixtureRequest) -> Callable[[Coroutine[Any, Any, None]], None]:
    """Runs a coroutine on each kind of loop."""

    def running(coroutine: Coroutine[Any, Any, None]) -> None:
        with asyncio.Runner(loop_factory=LOOPS[request.param]) as runner:
            runner.run(coroutine)

    return running


@pytest.fixture
def world(tmp_path: Path) -> Callable[..., Any]:
    """Makes worlds: ``async with world(max_connections=3) as here``."""

    @asynccontextmanager
    async def make(**settings: Any) -> AsyncIterator[World]:
        here = World(tmp_path, Settings(**{"pool": POOL, **settings}))
        try:
            yield here
        finally:
            await here.close()

    return make


@pytest.fixture
def dns_packets() -> SimpleNamespace:
    """Builds and reads DNS packets."""
    return SimpleNamespace(query=query, decoded=decoded)


@pytest.fixture
def wait() -> Callable[[Callable[[], bool], str], Awaitable[None]]:
    """Waits for a condition, with a bound."""
    return until
