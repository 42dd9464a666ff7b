"""Speak to the gateway: write the snapshot, say ``reload``, and listen to its reports."""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import Callable, Iterable

from thv_core.errors import InvalidDocument
from thv_core.model.document import decode_document, encode_document
from thv_core.model.route import GatewayCommand, Order, Route, RouteReport, RouteSnapshot
from thv_core.spi.gateways import GATEWAY_SOCKET, ROUTES_FILE
from thv_core.state.files import connect_unix, read_or_none, write_atomically
from thv_core.state.paths import Paths

__all__ = ["GatewayLink"]

SLOWEST = 1.0
LINE_LIMIT = 1 << 20

log = logging.getLogger(__name__)


class GatewayLink:
    """The snapshot on disk, the last report for each workload, and the connection to the gateway."""

    def __init__(self, paths: Paths, changed: Callable[[str], None]) -> None:
        self._directory = paths.gateway
        self._changed = changed
        self._reports: dict[str, RouteReport] = {}
        self._writer: asyncio.StreamWriter | None = None
        self._routes = {route.workload: route for route in self._stored()}

    def report(self, workload: str) -> RouteReport | None:
        """Return what the gateway last said of a workload."""
        return self._reports.get(workload)

    def route(self, workload: str) -> Route | None:
        """Return the route of a workload in the snapshot."""
        return self._routes.get(workload)

    async def publish(self, workload: str, route: Route | None) -> None:
        """Put the route of one workload into the snapshot, or take it out, and tell the gateway."""
        if self._routes.get(workload) == route:
            return
        if route is None:
            del self._routes[workload]
        else:
            self._routes[workload] = route
        self._write()
        await self._order(Order.RELOAD)

    async def follow(self, renew: bool) -> None:
        """Stay connected to whichever gateway is alive, for ever.

        :param renew: whether the first one is to finish what it has and exit; its parent starts it again.
        """
        order = Order.DRAIN if renew else Order.RELOAD
        delay = 0.05
        while True:
            with contextlib.suppress(OSError):
                await self._listen(order)
                order = Order.RELOAD
                delay = 0.05
            await asyncio.sleep(delay)
            delay = min(delay * 2, SLOWEST)

    async def _listen(self, order: Order) -> None:
        connection = await asyncio.to_thread(connect_unix, self._directory / GATEWAY_SOCKET)
        reader, self._writer = await asyncio.open_unix_connection(sock=connection, limit=LINE_LIMIT)
        try:
            await self._order(order)
            while line := await reader.readline():
                self._heard(decode_document(line, RouteReport, "a report of the gateway"))
        except (InvalidDocument, ValueError) as error:
            log.error("the gateway sent an unreadable report: %s", error)
        finally:
            self._writer.close()
            self._writer = None

    def _heard(self, report: RouteReport) -> None:
        self._reports[report.workload] = report
        self._changed(report.workload)

    async def _order(self, order: Order) -> None:
        if self._writer is None:
            return
        with contextlib.suppress(OSError):
            self._writer.write(encode_document(GatewayCommand(order=order)) + b"\n")
            await self._writer.drain()

    def _stored(self) -> Iterable[Route]:
        text = read_or_none(self._directory / ROUTES_FILE)
        return decode_document(text, RouteSnapshot, ROUTES_FILE).routes if text else ()

    def _write(self) -> None:
        snapshot = RouteSnapshot(routes=tuple(self._routes[name] for name in sorted(self._routes)))
        write_atomically(self._directory / ROUTES_FILE, encode_document(snapshot))
