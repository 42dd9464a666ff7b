"""The outlet of the fake egress: its DNS, its HTTP proxy and its ports, on the running event loop."""

from __future__ import annotations

import asyncio
import contextlib
import socket
import time
from collections.abc import Awaitable, Callable, Coroutine
from typing import Protocol
from urllib.parse import urlsplit

from thv_core.spi import EgressRecord, Outlet, Rule, SocketKind, Verdict, Way, canonical_host
from thv_testkit.name_queries import NAME_ERROR, answered, asked_name

__all__ = ["FakeOutlet", "Ways"]

_WITHIN = 5.0
_HEAD = 65536

Streams = tuple[asyncio.StreamReader, asyncio.StreamWriter]


class Ways(Protocol):
    """What an outlet asks: is it allowed, where is it, and write it down."""

    def rule_of(self, host: str, port: int = 0) -> Rule | None:
        """Return the rule that allows it; without a port, whichever port."""
        ...

    def address_of(self, host: str) -> str:
        """Return the address to connect, or an empty string."""
        ...

    def given_to(self, name: str) -> str:
        """Return the address of the pool that stands for a name, always the same."""
        ...

    def name_at(self, address: str) -> str:
        """Return the name for which an address of the pool stands, or the address."""
        ...

    def record(self, record: EgressRecord) -> None:
        """Write a record down."""
        ...


class FakeOutlet:
    """Serves the sockets of one incarnation until it is closed."""

    def __init__(self, outlet: Outlet, ways: Ways) -> None:
        self._outlet, self._ways = outlet, ways
        self._loop = asyncio.get_running_loop()
        self._tasks: set[asyncio.Task[None]] = set()
        serving: dict[SocketKind, Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]] = {
            SocketKind.PROXY: self._proxy,
            SocketKind.PORT: self._port,
            SocketKind.DNS_TCP: self._names,
        }
        for made, each in outlet.sockets:
            if made.kind is SocketKind.DNS_UDP:
                self._loop.add_reader(each, self._datagram, each)
            elif made.kind in serving:
                self._start(self._accept(each, serving[made.kind]))

    def close(self) -> None:
        """Cut and record every connection, and close every socket."""
        for task in self._tasks:
            task.cancel()
        for made, each in self._outlet.sockets:
            if made.kind is SocketKind.DNS_UDP:
                self._loop.remove_reader(each)
            each.close()

    def _start(self, serving: Coroutine[None, None, None]) -> None:
        task = self._loop.create_task(serving)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _accept(
        self,
        listener: socket.socket,
        serve: Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]],
    ) -> None:
        while True:
            connection, _ = await self._loop.sock_accept(listener)
            self._start(self._serve(connection, serve))

    async def _serve(
        self,
        connection: socket.socket,
        serve: Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]],
    ) -> None:
        reader, writer = await asyncio.open_connection(sock=connection, limit=_HEAD)
        try:
            with contextlib.suppress(OSError, EOFError, ValueError, asyncio.LimitOverrunError):
                await serve(reader, writer)
        finally:
            writer.close()

    async def _proxy(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        head = await reader.readuntil(b"\r\n\r\n")
        method, target, _ = head.decode("latin-1").split(" ", 2)
        if method == "CONNECT":
            host, _, port = target.rpartition(":")
            attempt = self._attempt(Way.CONNECT, host.strip("[]"), int(port))
            await self._pass(attempt, (reader, writer), welcome=b"HTTP/1.1 200 OK\r\n\r\n", proxied=True)
            return
        url = urlsplit(target)
        attempt = self._attempt(Way.HTTP, url.hostname or "", url.port or 80)
        path = f"{url.path or '/'}{'?' if url.query else ''}{url.query}"
        first = f"{method} {path} HTTP/1.1\r\nConnection: close\r\n".encode() + head.partition(b"\r\n")[2]
        await self._pass(attempt, (reader, writer), first=first, proxied=True)

    async def _port(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        address, port = writer.get_extra_info("sockname")[:2]
        attempt = self._attempt(Way.NAME, self._ways.name_at(address), port)
        await self._pass(attempt, (reader, writer))

    async def _names(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while True:
            query = await reader.readexactly(int.from_bytes(await reader.readexactly(2), "big"))
            answer = self._answer(query)
            writer.write(len(answer).to_bytes(2, "big") + answer)

    def _datagram(self, receiver: socket.socket) -> None:
        with contextlib.suppress(OSError, ValueError):
            query, sender = receiver.recvfrom(65536)
            receiver.sendto(self._answer(query), sender)

    def _answer(self, query: bytes) -> bytes:
        name = asked_name(query)
        if self._ways.rule_of(name) is None:
            self._record(self._attempt(Way.DNS, name), Verdict.DENIED, reason="the profile does not name it")
            return answered(query, code=NAME_ERROR)
        return answered(query, self._ways.given_to(name))

    async def _pass(
        self, attempt: _Attempt, client: Streams, *, first: bytes = b"", welcome: bytes = b"", proxied: bool = False
    ) -> None:
        server, refusal = await self._connected(attempt)
        if server is None:
            if proxied:
                client[1].write(b"HTTP/1.1 %d Refused\r\nContent-Length: 0\r\n\r\n" % refusal)
            return
        try:
            client[1].write(welcome)
            server[1].write(first)
            attempt.sent += len(first)
            await asyncio.gather(
                _copy(client[0], server[1], attempt.count_sent), _copy(server[0], client[1], attempt.count_received)
            )
        finally:
            server[1].close()
            self._record(attempt, Verdict.ALLOWED)

    async def _connected(self, attempt: _Attempt) -> tuple[Streams | None, int]:
        rule = self._ways.rule_of(attempt.host, attempt.port)
        if rule is None:
            self._record(attempt, Verdict.DENIED, reason="the profile does not name it")
            return None, 403
        attempt.rule, attempt.address = rule.text, self._ways.address_of(attempt.host)
        try:
            if not attempt.address:
                raise OSError("the name leads nowhere")
            opening = asyncio.open_connection(attempt.address, attempt.port)
            return await asyncio.wait_for(opening, _WITHIN), 200
        except OSError as error:
            self._record(attempt, Verdict.FAILED, reason=str(error))
            return None, 502

    def _attempt(self, way: Way, host: str, port: int = 0) -> _Attempt:
        return _Attempt(way, canonical_host(host) or host, port)

    def _record(self, attempt: _Attempt, verdict: Verdict, reason: str = "") -> None:
        record = EgressRecord(
            at=attempt.at,
            workload=self._outlet.workload,
            incarnation=self._outlet.incarnation,
            way=attempt.way,
            verdict=verdict,
            host=attempt.host,
            port=attempt.port,
            address=attempt.address,
            rule=attempt.rule,
            reason=reason,
            sent=attempt.sent,
            received=attempt.received,
            seconds=time.time() - attempt.at,
            calls=tuple(self._outlet.calls()),
        )
        self._ways.record(record)


class _Attempt:
    """One connection while it lasts."""

    def __init__(self, way: Way, host: str, port: int) -> None:
        self.way, self.host, self.port = way, host, port
        self.at = time.time()
        self.rule = self.address = ""
        self.sent = self.received = 0

    def count_sent(self, amount: int) -> None:
        self.sent += amount

    def count_received(self, amount: int) -> None:
        self.received += amount


async def _copy(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, count: Callable[[int], None]) -> None:
    while data := await reader.read(65536):
        writer.write(data)
        count(len(data))
        await writer.drain()
    if writer.can_write_eof():
        writer.write_eof()
