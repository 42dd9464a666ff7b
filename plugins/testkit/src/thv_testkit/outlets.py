"""The sockets of an outlet on the loopback interface, and the servers and clients on both sides of it."""

from __future__ import annotations

import asyncio
import contextlib
import socket
import time
from collections.abc import AsyncGenerator, Callable, Coroutine, Iterable
from typing import Any, TypeVar

from thv_core.spi import Egress, EgressRecord, MadeSocket, Network, Outbound, SocketKind, Way
from thv_testkit.name_queries import A, query_for

__all__ = [
    "asked",
    "asked_over_tcp",
    "connect_to",
    "driven",
    "made_socket",
    "profile",
    "recorded",
    "shouting_server",
    "through",
    "whole",
]

_WITHIN = 20.0

T = TypeVar("T")
Answered = tuple[int, asyncio.StreamReader, asyncio.StreamWriter]


def driven(scenario: Coroutine[Any, Any, T], within: float = 2 * _WITHIN) -> T:
    """Run a scenario on an event loop of its own, with a bound."""

    async def bounded() -> T:
        try:
            return await asyncio.wait_for(scenario, within)
        finally:
            # What was closed, or is cut by a failure, ends in a later turn of the loop.
            for _ in range(3):
                await asyncio.sleep(0)

    return asyncio.run(bounded())


def profile(*allow_host: str) -> Network:
    """Return the network part of a profile that lists these."""
    return Network(outbound=Outbound(allow_host=allow_host))


def made_socket(kind: SocketKind, address: str = "127.0.0.1") -> tuple[MadeSocket, socket.socket]:
    """Return a socket as the helper makes it, on a free port."""
    is_datagram = kind is SocketKind.DNS_UDP
    made = socket.socket(socket.AF_INET, socket.SOCK_DGRAM if is_datagram else socket.SOCK_STREAM)
    made.setblocking(False)
    if kind is SocketKind.CONNECTOR:
        return MadeSocket(kind=kind), made
    made.bind((address, 0))
    if not is_datagram:
        made.listen(16)
    return MadeSocket(kind=kind, port=made.getsockname()[1]), made


@contextlib.asynccontextmanager
async def shouting_server() -> AsyncGenerator[int]:
    """Give the port of a server on loopback that answers in capitals, until its client has finished."""

    async def shout(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(OSError):
            while data := await reader.read(65536):
                writer.write(data.upper())
                await writer.drain()
            writer.write_eof()
        writer.close()

    server = await asyncio.start_server(shout, "127.0.0.1", 0)
    try:
        yield server.sockets[0].getsockname()[1]
    finally:
        server.close()


@contextlib.asynccontextmanager
async def through(proxy: int, request: str) -> AsyncGenerator[Answered]:
    """Send the head of a request to an HTTP proxy; give the status of its answer, and the connection."""
    reader, writer = await asyncio.open_connection("127.0.0.1", proxy)
    with contextlib.closing(writer):
        writer.write(f"{request}\r\n\r\n".encode())
        head = await asyncio.wait_for(reader.readuntil(b"\r\n\r\n"), _WITHIN)
        yield int(head.split()[1]), reader, writer


def connect_to(target: str) -> str:
    """Return the head of the request to connect ``HOST:PORT``."""
    return f"CONNECT {target} HTTP/1.1\r\nHost: {target}"


async def whole(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> bytes:
    """Read what comes to the end, which may be a reset, and close."""
    try:
        return await asyncio.wait_for(reader.read(), _WITHIN)
    except ConnectionError:
        return b""
    finally:
        writer.close()


async def asked(port: int, name: str, kind: int = A) -> bytes:
    """Ask a resolver on loopback over UDP and return its answer."""
    loop = asyncio.get_running_loop()
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as asking:
        asking.setblocking(False)
        asking.connect(("127.0.0.1", port))
        await loop.sock_sendall(asking, query_for(name, kind))
        return await asyncio.wait_for(loop.sock_recv(asking, 65536), _WITHIN)


async def asked_over_tcp(port: int, name: str) -> bytes:
    """Ask a resolver on loopback over TCP and return its answer."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    query = query_for(name)
    writer.write(len(query).to_bytes(2, "big") + query)
    length = int.from_bytes(await asyncio.wait_for(reader.readexactly(2), _WITHIN), "big")
    answer = await asyncio.wait_for(reader.readexactly(length), _WITHIN)
    writer.close()
    return answer


async def recorded(egress: Egress, host: str, way: Way) -> EgressRecord:
    """Wait for the record of an attempt to reach a host, and return it."""
    deadline = time.monotonic() + _WITHIN
    while True:
        records = await asyncio.to_thread(_all, egress.records)
        for each in records:
            if (each.host, each.way) == (host, way):
                return each
        assert time.monotonic() < deadline, f"there is no record of {way} to {host}, only {records}"
        await asyncio.sleep(0.02)


def _all(records: Callable[[], Iterable[Iterable[EgressRecord]]]) -> list[EgressRecord]:
    return [each for batch in records() for each in batch]
