"""The gateway process: one event loop from the lock to the lifeline's end."""

from __future__ import annotations

import asyncio
import contextlib
import fcntl
import gc
import logging
import os
import select
import signal
from collections.abc import Callable, Coroutine, Generator, Mapping
from dataclasses import replace
from typing import Self

import uvloop

from thv_core.errors import InvalidDocument
from thv_core.model.route import Order, RouteReport
from thv_core.spi.drivers import Surroundings
from thv_core.spi.gateways import GATEWAY_SOCKET, NETWORK_SOCKET, ROUTES_FILE, Gateway, GatewaySeat
from thv_gateway.client.remote import Trust
from thv_gateway.process.channel import Channel
from thv_gateway.process.draining import drained
from thv_gateway.process.network import NetworkRoom
from thv_gateway.servers.handshake import HANDSHAKES_FILE, Handshakes
from thv_gateway.servers.routes import Kept, RouteTable, read_snapshot
from thv_gateway.sessions.key import session_key
from thv_gateway.sessions.memory import SESSIONS_FILE, Memory
from thv_gateway.sessions.redis_store import Stores
from thv_gateway.workers.moving_in import move_in, move_out
from thv_gateway.workers.nursery import PRINCIPAL, tend
from thv_gateway.workers.principal import Alone, Principal
from thv_gateway.workers.worker import Worker

__all__ = ["HttpGateway"]

_LOCK_FILE = "gateway.lock"
_POLL_SECONDS = 0.05
_COLLECT_AFTER = 10_000
"""Nearly everything goes by its count of references; looking for cycles took a twentieth of all time."""


_logger = logging.getLogger("thv.gateway")


class HttpGateway(Gateway):
    """Serves MCP over HTTP, on httptools and uvloop."""

    _trust = Trust()
    _stores = Stores()

    @classmethod
    def from_settings(cls, settings: Mapping[str, object], surroundings: Surroundings) -> Self:
        """Construct it, with the certificates that the user has chosen for servers that run somewhere else.

        The password of a store that several gateways share is ``THV_SESSION_REDIS_PASSWORD``.
        """
        gateway = super().from_settings(settings, surroundings)
        gateway._trust = Trust(surroundings.environment.get("SSL_CERT_FILE", ""))
        gateway._stores = Stores(surroundings.environment.get("THV_SESSION_REDIS_PASSWORD", ""))
        return gateway

    def serve(self, seat: GatewaySeat) -> None:
        """See :meth:`thv_core.spi.gateways.Gateway.serve`."""
        gc.freeze()
        gc.set_threshold(_COLLECT_AFTER, 20, 20)
        with _only_one(seat) as mine:
            if mine:
                self._serve(seat)

    def _serve(self, seat: GatewaySeat) -> None:
        if seat.workers == 1:
            move_out(seat.directory)
            _looped(lambda: _Process(seat, self._trust, self._stores, alone=True).run())
            return
        move_in(seat.directory)

        def work(number: int, tether: int) -> None:
            own = replace(seat, lifeline=tether)
            if number == PRINCIPAL:
                _looped(lambda: _Process(own, self._trust, self._stores, alone=False).run())
            else:
                _looped(lambda: Worker(own, self._trust, self._stores).run())

        tend(seat.workers, seat.lifeline, work)


class _Process:
    """What runs inside the event loop of the only process, or of the first one of several."""

    def __init__(self, seat: GatewaySeat, trust: Trust, stores: Stores, *, alone: bool) -> None:
        folder = seat.directory
        self._seat = seat
        self._stores = stores
        self._stop = asyncio.Event()
        self._drain = asyncio.Event()
        self._channel = Channel(self._reports, self._obey, self._give)
        principal = None if alone else self._principal()
        self._others: Principal | Alone = principal or Alone()
        key = session_key(folder)
        store = self._others.store
        kept = Kept(Handshakes(folder / HANDSHAKES_FILE), Memory(folder / SESSIONS_FILE), key, stores, store)
        self._table = RouteTable(kept, seat.recipes, self._publish, seat.egress, principal)
        self._table.outlets.trust = trust
        self._network = NetworkRoom(self._table.outlets, self._read)

    async def run(self) -> None:
        loop = asyncio.get_running_loop()
        loop.add_reader(self._seat.lifeline, self._lifeline_readable)
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, self._drain.set)
        self._read()
        self._network.open(self._seat.directory / NETWORK_SOCKET)
        await self._others.open()
        await self._channel.open(self._seat.directory / GATEWAY_SOCKET)
        await drained(self._table, self._stop, self._drain)
        self._channel.close()
        await self._others.close()
        self._network.close()
        self._table.close()
        await self._stores.close()

    def _principal(self) -> Principal:
        seat = self._seat
        return Principal(seat.directory, seat.workers - 1, lambda: self._table.reports, self._channel.publish)

    def _reports(self) -> list[RouteReport]:
        return [self._others.merged(report) for report in self._table.reports]

    def _publish(self, report: RouteReport) -> None:
        self._channel.publish(self._others.merged(report))

    def _give(self, values: Mapping[str, str]) -> None:
        self._table.values.replace(values)
        self._others.give(values)

    def _obey(self, order: Order) -> None:
        if order is Order.DRAIN:
            self._drain.set()
        elif not self._drain.is_set():
            self._reload()

    def _reload(self) -> None:
        self._read()
        self._network.publish()
        self._others.reload()

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


def _looped(work: Callable[[], Coroutine[object, object, None]]) -> None:
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(_begun(work))


async def _begun(work: Callable[[], Coroutine[object, object, None]]) -> None:
    await work()
