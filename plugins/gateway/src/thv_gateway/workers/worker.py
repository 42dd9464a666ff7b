"""One process beside the principal: it serves what needs no memory of its own, and hands on everything else."""

from __future__ import annotations

import asyncio
import logging
import os
import signal
from collections.abc import Mapping

from thv_core.errors import InvalidDocument
from thv_core.model.route import RouteReport
from thv_core.spi.gateways import ROUTES_FILE, GatewaySeat
from thv_gateway.client.remote import Trust
from thv_gateway.process.draining import drained
from thv_gateway.servers.handshake import HANDSHAKES_FILE, Handshakes
from thv_gateway.servers.routes import Kept, RouteTable, read_snapshot
from thv_gateway.sessions.file_store import COMMON_FILE, FileStore
from thv_gateway.sessions.key import session_key
from thv_gateway.sessions.memory import Memory
from thv_gateway.sessions.redis_store import Stores
from thv_gateway.stages.chain import Arrival
from thv_gateway.web.app import Application, Face
from thv_gateway.workers.desk import Desk
from thv_gateway.workers.forwarding import Forwarder
from thv_gateway.workers.notes import WORKERS_SOCKET
from thv_gateway.workers.sharing_out import METHODS, inner_socket, is_native, is_refused, of_workers

__all__ = ["Worker"]

_logger = logging.getLogger("thv.gateway")


class Worker:
    """What runs inside the event loop of a worker.

    Middleware is built in each process: what it counts (a rate, a quota) it counts for this process alone, so that all
    of them together let as many times as much pass.
    """

    def __init__(self, seat: GatewaySeat, trust: Trust, stores: Stores) -> None:
        folder = seat.directory
        self._seat = seat
        self._folder = folder
        self._stores = stores
        self._stop = asyncio.Event()
        self._drain = asyncio.Event()
        self._desk = Desk(folder / WORKERS_SOCKET, self._read, self._give)
        self._store = FileStore(folder / COMMON_FILE)
        self._forwarders: dict[str, Forwarder] = {}
        # What is written belongs to the principal.
        handshakes = Handshakes(folder / HANDSHAKES_FILE, writes=False)
        kept = Kept(handshakes, Memory(None), session_key(folder), stores, self._store)
        self._table = RouteTable(kept, seat.recipes, self._publish, seat.egress, self)
        self._table.outlets.trust = trust

    async def run(self) -> None:
        """Serve until the lifeline has ended, or until a signal has come and the calls in flight are finished."""
        loop = asyncio.get_running_loop()
        loop.add_reader(self._seat.lifeline, self._lifeline_readable)
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, self._drain.set)
        self._read()
        following = loop.create_task(self._desk.follow())
        # Without its desk a worker would serve for ever what was asked for once.
        following.add_done_callback(lambda _: self._stop.set())
        await drained(self._table, self._stop, self._drain)
        if following.done():
            following.result()
        following.cancel()
        self._table.close()
        for forwarder in self._forwarders.values():
            forwarder.close()
        await self._desk.close()
        await self._store.close()
        await self._stores.close()

    def _read(self) -> None:
        try:
            snapshot = of_workers(read_snapshot(self._folder / ROUTES_FILE))
        except InvalidDocument as error:
            _logger.error("the routes were not read: %s", error)
            return
        if not self._drain.is_set():
            self._table.apply(snapshot)
            self._desk.retain({report.incarnation for report in self._table.reports})

    def _give(self, values: Mapping[str, str]) -> None:
        self._table.values.replace(values)

    def _publish(self, report: RouteReport) -> None:
        self._desk.say(report)

    def listener(self, workload: str, app: Application) -> None:
        """Listen for nobody: only the principal answers for others."""

    def adapt(self, workload: str, app: Application) -> None:
        """Let an application answer only what any process can."""
        forwarder = self._forwarder(workload)

        async def hand_on(arrival: Arrival) -> None:
            if arrival.method not in METHODS or is_refused(arrival, app.chain):
                await app.exchange(arrival)
                return
            counted = arrival.method == "POST"
            app.busy += counted
            try:
                await forwarder.carry(arrival)
            finally:
                app.busy -= counted

        async def answer(arrival: Arrival) -> None:
            await (app.exchange(arrival) if app.is_own(arrival) else hand_on(arrival))

        app.is_own = lambda arrival: is_native(arrival, app.current)
        faces: dict[str, Face] = dict.fromkeys(app.faces, hand_on)
        app.faces = {**faces, "/mcp": answer}
        app.is_own = lambda arrival: is_native(arrival, app.current)

    def _forwarder(self, workload: str) -> Forwarder:
        known = self._forwarders.get(workload)
        if known is None:
            known = self._forwarders[workload] = Forwarder(inner_socket(self._folder, workload))
        return known

    def _lifeline_readable(self) -> None:
        if not os.read(self._seat.lifeline, 1024):
            asyncio.get_running_loop().remove_reader(self._seat.lifeline)
            self._stop.set()
