"""Speak to the gateway: write the snapshot of routes and outlets, say ``reload``, and listen to its reports."""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import Callable, Iterable, Mapping

import msgspec

from thv_core.errors import InvalidDocument
from thv_core.model.document import decode_document, encode_document
from thv_core.model.route import GatewayCommand, Order, Route, RouteReport, RouteSnapshot
from thv_core.spi.gateways import GATEWAY_SOCKET, ROUTES_FILE
from thv_core.state.files import connect_unix, read_or_none, write_atomically
from thv_core.state.paths import Paths

__all__ = ["GatewayLink"]

RENEWAL_FILE = "renewal"
"""While it exists, the gateway that is alive is to be replaced."""

NOTHING = RouteSnapshot()
SLOWEST = 1.0
LINE_LIMIT = 1 << 20

log = logging.getLogger(__name__)


class GatewayLink:
    """The snapshot on disk, the last report on each incarnation that it names, and the connection to the gateway.

    Values of secrets are kept in memory, and sent on each connection and at each change.

    :param whole: a snapshot of nothing, which says what concerns the gateway as a whole.
    """

    def __init__(self, paths: Paths, changed: Callable[[str], None], whole: RouteSnapshot = NOTHING) -> None:
        self._directory = paths.gateway
        self._renewal = paths.gateway / RENEWAL_FILE
        self._changed = changed
        self._whole = whole
        self._reports: dict[str, dict[str, RouteReport]] = {}
        self._values: dict[str, dict[str, str]] = {}
        self._writer: asyncio.StreamWriter | None = None
        stored = self._stored()
        self._routes = {route.workload: route for route in stored.routes}
        self._outlets = _by_workload(stored.outlets)
        self._is_written = msgspec.structs.replace(stored, routes=(), outlets=()) == whole

    def report(self, incarnation: str) -> RouteReport | None:
        """Return what the gateway last said of an incarnation."""
        return self.reports(_workload_of(incarnation)).get(incarnation)

    def reports(self, workload: str) -> Mapping[str, RouteReport]:
        """Return what the gateway last said of each incarnation of a workload."""
        return self._reports.get(workload, {})

    def route(self, workload: str) -> Route | None:
        """Return the route of a workload in the snapshot."""
        return self._routes.get(workload)

    async def publish(self, workload: str, route: Route | None) -> None:
        """Put the route of one workload into the snapshot, or take it out, and tell the gateway."""
        if self._routes.get(workload) == route:
            return
        routes = {name: each for name, each in self._routes.items() if name != workload}
        if route is not None:
            routes[workload] = route
        self._write(routes, self._outlets)
        self._routes = routes
        self._forget_reports(workload)
        await self._order(Order.RELOAD)

    async def give(self, workload: str, values: Mapping[str, str]) -> None:
        """Let the gateway have the values of the secrets that requests to one workload carry: exactly these."""
        if self._values.get(workload, {}) == values:
            return
        self._values.pop(workload, None)
        if values:
            self._values[workload] = dict(values)
        await self._order(Order.VALUES)

    async def connect(self, workload: str, incarnations: Iterable[str]) -> None:
        """Let the snapshot name exactly these outlets of a workload, and tell the gateway."""
        wanted = frozenset(incarnations)
        if wanted == self.outlets(workload):
            return
        outlets = {name: each for name, each in self._outlets.items() if name != workload}
        if wanted:
            outlets[workload] = wanted
        self._write(self._routes, outlets)
        self._outlets = outlets
        await self._order(Order.RELOAD)

    def outlets(self, workload: str) -> frozenset[str]:
        """Return the outlets of a workload in the snapshot."""
        return self._outlets.get(workload, frozenset())

    def connected(self) -> set[str]:
        """Return the workloads with an outlet in the snapshot."""
        return set(self._outlets)

    def routed(self) -> list[str]:
        """Return the workloads in the snapshot."""
        return sorted(self._routes)

    async def follow(self, renew: bool) -> None:
        """Stay connected to whichever gateway is alive, for ever.

        :param renew: whether the first one is to finish what it has and exit; its parent starts it again.
        """
        if renew:
            # On disk, because this process may be killed before it reaches the gateway.
            self._renewal.touch(0o600)
        if not self._is_written:
            with contextlib.suppress(OSError):
                self._write(self._routes, self._outlets)
        delay = 0.05
        while True:
            began = asyncio.get_running_loop().time()
            with contextlib.suppress(OSError):
                await self._listen()
            lasted = asyncio.get_running_loop().time() - began
            delay = 0.05 if lasted > SLOWEST else min(delay * 2, SLOWEST)
            await asyncio.sleep(delay)

    async def _listen(self) -> None:
        connection = await asyncio.to_thread(connect_unix, self._directory / GATEWAY_SOCKET)
        reader, self._writer = await asyncio.open_unix_connection(sock=connection, limit=LINE_LIMIT)
        try:
            if self._values:
                await self._order(Order.VALUES)
            if await self._order(Order.DRAIN if self._renewal.exists() else Order.RELOAD):
                self._renewal.unlink(missing_ok=True)
            while line := await reader.readline():
                self._heard(decode_document(line, RouteReport, "a report of the gateway"))
        except (InvalidDocument, ValueError) as error:
            log.error("the gateway sent an unreadable report: %s", error)
        finally:
            self._writer.close()
            self._writer = None

    def _heard(self, report: RouteReport) -> None:
        route = self._routes.get(report.workload)
        if route is None or report.incarnation not in _named(route):
            # It was about to be taken out when the gateway spoke of it.
            return
        self._reports.setdefault(report.workload, {})[report.incarnation] = _in_force(report, route)
        self._changed(report.workload)

    def _forget_reports(self, workload: str) -> None:
        """Forget what was said of incarnations that are named no more, and that one was quiet during a former hold."""
        route = self._routes.get(workload)
        said = self._reports.pop(workload, {})
        kept = {label: _in_force(each, route) for label, each in said.items() if route and label in _named(route)}
        if kept:
            self._reports[workload] = kept

    async def _order(self, order: Order) -> bool:
        """Send an order, and tell whether it was written; a gateway that comes back reads the snapshot anyway."""
        if self._writer is None or self._writer.is_closing():
            return False
        given = self._values.values() if order is Order.VALUES else ()
        command = GatewayCommand(order=order, values={name: each[name] for each in given for name in each})
        try:
            self._writer.write(encode_document(command) + b"\n")
            await self._writer.drain()
        except OSError:
            return False
        return True

    def _stored(self) -> RouteSnapshot:
        text = read_or_none(self._directory / ROUTES_FILE)
        try:
            return decode_document(text, RouteSnapshot, ROUTES_FILE) if text else RouteSnapshot()
        except InvalidDocument as error:
            log.error("the routes are written anew: %s", error)
            return RouteSnapshot()

    def _write(self, routes: Mapping[str, Route], outlets: Mapping[str, Iterable[str]]) -> None:
        ordered = tuple(routes[name] for name in sorted(routes))
        labels = sorted(label for each in outlets.values() for label in each)
        snapshot = msgspec.structs.replace(self._whole, routes=ordered, outlets=tuple(labels))
        write_atomically(self._directory / ROUTES_FILE, encode_document(snapshot))
        self._is_written = True


def _in_force(report: RouteReport, route: Route) -> RouteReport:
    """Return a report without the quiet of a hold that is over: calls may be in flight again, and must not be cut."""
    is_over = report.incarnation == route.incarnation and not route.hold
    return msgspec.structs.replace(report, quiet=False) if is_over else report


def _named(route: Route | None) -> tuple[str, ...]:
    """Return the incarnations that a route names."""
    if route is None:
        return ()
    candidate = (route.candidate.incarnation,) if route.candidate else ()
    return (route.incarnation, *candidate, *route.retiring)


def _by_workload(outlets: Iterable[str]) -> dict[str, frozenset[str]]:
    found: dict[str, frozenset[str]] = {}
    for label in outlets:
        workload = _workload_of(label)
        found[workload] = found.get(workload, frozenset()) | {label}
    return found


def _workload_of(incarnation: str) -> str:
    return incarnation.rpartition(".")[0]
