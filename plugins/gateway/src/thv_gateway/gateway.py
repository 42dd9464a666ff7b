"""The gateway process: one event loop from the lock to the lifeline's end."""

from __future__ import annotations

import asyncio
import contextlib
import fcntl
import logging
import os
import select
import signal
from collections.abc import Generator, Mapping
from pathlib import Path
from secrets import token_bytes
from typing import Self

import uvloop

from thv_core.errors import InvalidDocument
from thv_core.model.route import Order
from thv_core.spi.drivers import Surroundings
from thv_core.spi.gateways import GATEWAY_SOCKET, NETWORK_SOCKET, ROUTES_FILE, Gateway, GatewaySeat
from thv_gateway.client.remote import Trust
from thv_gateway.process.channel import Channel
from thv_gateway.process.network import NetworkRoom
from thv_gateway.servers.handshake import HANDSHAKES_FILE, Handshakes, write_private
from thv_gateway.servers.routes import Kept, RouteTable, read_snapshot
from thv_gateway.sessions.memory import SESSIONS_FILE, Memory

__all__ = ["DRAIN_SECONDS", "HttpGateway"]

DRAIN_SECONDS = 5.0

_KEY_FILE = "session.key"
_LOCK_FILE = "gateway.lock"
_KEY_BYTES = 32
_POLL_SECONDS = 0.05

_logger = logging.getLogger("thv.gateway")


class HttpGateway(Gateway):
    """Serves MCP over HTTP with raw ASGI on uvicorn's protocol and uvloop."""

    _trust = Trust()

    @classmethod
    def from_settings(cls, settings: Mapping[str, object], surroundings: Surroundings) -> Self:
        """Construct it, with the certificates that the user has chosen for servers that run somewhere else."""
        gateway = super().from_settings(settings, surroundings)
        gateway._trust = Trust(surroundings.environment.get("SSL_CERT_FILE", ""))
        return gateway

    def serve(self, seat: GatewaySeat) -> None:
        """See :meth:`thv_core.spi.gateways.Gateway.serve`."""
        # uvicorn reports requests that do not parse: noise of clients, none of ours.
        logging.getLogger("uvicorn").setLevel(logging.CRITICAL)
        with _only_one(seat) as mine:
            if mine:
                with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
                    runner.run(_Process(seat, self._trust).run())


class _Process:
    """What runs inside the event loop."""

    def __init__(self, seat: GatewaySeat, trust: Trust) -> None:
        folder = seat.directory
        self._seat = seat
        self._stop = asyncio.Event()
        self._drain = asyncio.Event()
        self._channel = Channel(lambda: self._table.reports, self._obey)
        key = _session_key(folder / _KEY_FILE)
        kept = Kept(Handshakes(folder / HANDSHAKES_FILE), Memory(folder / SESSIONS_FILE), key)
        self._table = RouteTable(kept, seat.recipes, self._channel.publish, seat.egress)
        self._table.outlets.trust = trust
        self._network = NetworkRoom(self._table.outlets, self._read)

    async def run(self) -> None:
        loop = asyncio.get_running_loop()
        loop.add_reader(self._seat.lifeline, self._lifeline_readable)
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, self._drain.set)
        self._read()
        self._network.open(self._seat.directory / NETWORK_SOCKET)
        await self._channel.open(self._seat.directory / GATEWAY_SOCKET)
        await self._until_told()
        self._channel.close()
        self._network.close()
        self._table.close()

    async def _until_told(self) -> None:
        """Return at once when the lifeline has ended; on a drain, when the calls in flight are finished."""
        waits = [asyncio.ensure_future(each.wait()) for each in (self._stop, self._drain)]
        await asyncio.wait(waits, return_when=asyncio.FIRST_COMPLETED)
        if self._drain.is_set() and not self._stop.is_set():
            self._table.drain()
            ends = asyncio.get_running_loop().time() + DRAIN_SECONDS
            while self._table.busy and asyncio.get_running_loop().time() < ends and not self._stop.is_set():
                await asyncio.wait(waits[:1], timeout=_POLL_SECONDS)
            self._table.abandon()
            # One turn of the loop for the errors to be written.
            await asyncio.wait(waits[:1], timeout=_POLL_SECONDS)
        for wait in waits:
            wait.cancel()

    def _obey(self, order: Order) -> None:
        if order is Order.DRAIN:
            self._drain.set()
        elif not self._drain.is_set():
            self._reload()

    def _reload(self) -> None:
        self._read()
        self._network.publish()

    def _read(self) -> None:
        try:
            self._table.apply(read_snapshot(self._seat.directory / ROUTES_FILE))
        except InvalidDocument as error:
            # What is served already goes on: a snapshot of another version must not take it away.
            _logger.error("the routes were not read: %s", error)

    def _lifeline_readable(self) -> None:
        if not os.read(self._seat.lifeline, 1024):
            asyncio.get_running_loop().remove_reader(self._seat.lifeline)
            self._stop.set()


@contextlib.contextmanager
def _only_one(seat: GatewaySeat) -> Generator[bool]:
    """Wait for a dying predecessor; ``False`` when the lifeline ends before it is gone."""
    descriptor = os.open(seat.directory / _LOCK_FILE, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        yield _lock(descriptor, seat.lifeline)
    finally:
        os.close(descriptor)


def _lock(descriptor: int, lifeline: int) -> bool:
    while True:
        with contextlib.suppress(BlockingIOError):
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            return True
        readable, _, _ = select.select([lifeline], [], [], _POLL_SECONDS)
        if readable and not os.read(lifeline, 1024):
            return False


def _session_key(path: Path) -> bytes:
    """Return the key that signs session ids, made once and kept for every later gateway."""
    with contextlib.suppress(FileNotFoundError):
        key = path.read_bytes()
        if len(key) == _KEY_BYTES:
            return key
    key = token_bytes(_KEY_BYTES)
    write_private(path, key)
    return key
