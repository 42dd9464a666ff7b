"""A gateway for tests of whoever speaks to one: the protocol of ``thv_core.model.route``, and no traffic.

A test says how many calls are in flight to an incarnation; the fake remembers which of them were cut off by a snapshot.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import socket
from collections import Counter
from collections.abc import AsyncGenerator, Callable
from contextlib import asynccontextmanager
from pathlib import Path

import msgspec

from thv_core.model.document import decode_document, encode_document
from thv_core.model.route import GatewayCommand, Order, Route, RouteReport, RouteSnapshot, RouteState
from thv_core.spi.gateways import GATEWAY_SOCKET, ROUTES_FILE

__all__ = ["Answer", "FakeGateway", "served"]

Answer = Callable[[Route], RouteReport | None]
"""What becomes of an incarnation that the gateway shakes hands with; ``None`` is one that it says nothing of."""


class FakeGateway:
    """Takes snapshots, and tells of each incarnation in them what ``answer`` says, and when it is quiet.

    ``calls`` are those in flight by incarnation. ``cut`` are the incarnations that a snapshot took away while calls
    were in flight to them, one entry for each call. ``shaken`` are those that it shook hands with, in order.
    """

    def __init__(self) -> None:
        self.routes: dict[str, Route] = {}
        self.reports: dict[str, RouteReport] = {}
        self.calls: Counter[str] = Counter()
        self.cut: list[str] = []
        self.shaken: list[str] = []
        self.answer: Answer = self.ready
        self.listener: Callable[[RouteReport], None] = lambda report: None

    @staticmethod
    def ready(route: Route) -> RouteReport:
        """Answer that a server is ready, with two tools."""
        return RouteReport(
            workload=route.workload,
            incarnation=route.incarnation,
            state=RouteState.READY,
            protocol_version="2025-11-25",
            tools=("echo", "count"),
        )

    @staticmethod
    def silent(route: Route) -> None:
        """Say nothing."""

    @staticmethod
    def failing(reason: str, code: str = "") -> Answer:
        """Return the answer that a server did not become ready."""

        def answer(route: Route) -> RouteReport:
            return RouteReport(
                workload=route.workload,
                incarnation=route.incarnation,
                state=RouteState.FAILED,
                reason=reason,
                error_code=code,
                port=route.port,
            )

        return answer

    def take(self, snapshot: RouteSnapshot) -> None:
        """Take a whole snapshot in the place of the former one."""
        wanted = {route.workload: route for route in snapshot.routes}
        for workload in [*self.routes.keys() | wanted.keys()]:
            self.route(workload, wanted.get(workload))

    def route(self, workload: str, route: Route | None) -> None:
        """Take the route of one workload in the place of the former one."""
        before = self.routes.pop(workload, None)
        if route is not None:
            self.routes[workload] = route
        for label in _named(before) - _named(route):
            self.cut += [label] * self.calls.pop(label, 0)
            self.reports.pop(label, None)
        for each in _living(route):
            self._shake(each, before)
        self._tell_quiet(route)

    def begin(self, incarnation: str) -> None:
        """Let a call begin that is in flight until it is finished."""
        self.calls[incarnation] += 1
        self._tell_quiet(self._route_of(incarnation))

    def finish(self, incarnation: str) -> None:
        """Let one call end."""
        self.calls[incarnation] -= 1
        if self.calls[incarnation] < 1:
            del self.calls[incarnation]
        self._tell_quiet(self._route_of(incarnation))

    def say(self, report: RouteReport) -> None:
        """Tell something of an incarnation."""
        if self.reports.get(report.incarnation) != report:
            self.reports[report.incarnation] = report
            self.listener(report)

    def _shake(self, route: Route, before: Route | None) -> None:
        known = {each.incarnation: each.port for each in _living(before)}
        if known.get(route.incarnation) == route.port:
            return
        self.shaken.append(route.incarnation)
        if (report := self.answer(route)) is not None:
            self.say(report)

    def _tell_quiet(self, route: Route | None) -> None:
        if route is None:
            return
        self._say_quiet(route.workload, route.incarnation, may=route.hold)
        for label in route.retiring:
            self._say_quiet(route.workload, label, may=True)

    def _say_quiet(self, workload: str, label: str, *, may: bool) -> None:
        unknown = RouteReport(workload=workload, incarnation=label, state=RouteState.GONE)
        known = self.reports.get(label)
        quiet = may and not self.calls[label]
        if known is not None or quiet:
            self.say(msgspec.structs.replace(known or unknown, quiet=quiet))

    def _route_of(self, incarnation: str) -> Route | None:
        return next((route for route in self.routes.values() if incarnation in _named(route)), None)


def _living(route: Route | None) -> list[Route]:
    """Return the routes of the incarnations that are shaken hands with."""
    if route is None:
        return []
    return [route, *([route.candidate] if route.candidate else [])]


def _named(route: Route | None) -> set[str]:
    return {each.incarnation for each in _living(route)} | set(route.retiring if route else ())


@asynccontextmanager
async def served(gateway: FakeGateway, folder: Path) -> AsyncGenerator[None]:
    """Serve a gateway on its Unix socket in ``folder``; at the end every connection is cut, as by a kill."""
    served = _Served(gateway, folder)
    gateway.listener = served.tell
    gateway.take(_snapshot(folder))
    server = await asyncio.start_unix_server(served.accept, sock=_bound(folder))
    try:
        yield
    finally:
        gateway.listener = lambda report: None
        server.close()
        served.end()


class _Served:
    """The connections of one served gateway."""

    def __init__(self, gateway: FakeGateway, folder: Path) -> None:
        self._gateway = gateway
        self._folder = folder
        self._writers: set[asyncio.StreamWriter] = set()
        self._over = False

    def tell(self, report: RouteReport) -> None:
        for writer in self._writers:
            writer.write(encode_document(report) + b"\n")

    async def accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._writers.add(writer)
        try:
            for report in self._gateway.reports.values():
                writer.write(encode_document(report) + b"\n")
            # A connection may be accepted in the moment of the end.
            while not self._over and (line := await reader.readline()):
                if decode_document(line, GatewayCommand, "a command").order is Order.RELOAD:
                    self._gateway.take(_snapshot(self._folder))
        except OSError:
            return
        finally:
            self._writers.discard(writer)
            writer.close()

    def end(self) -> None:
        self._over = True
        for writer in list(self._writers):
            with contextlib.suppress(OSError):
                writer.close()


def _bound(folder: Path) -> socket.socket:
    (folder / GATEWAY_SOCKET).unlink(missing_ok=True)
    bound = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    descriptor = os.open(folder, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        # The folder of a test may have a longer path than a socket can.
        bound.bind(f"/proc/self/fd/{descriptor}/{GATEWAY_SOCKET}")
    finally:
        os.close(descriptor)
    return bound


def _snapshot(folder: Path) -> RouteSnapshot:
    try:
        return decode_document((folder / ROUTES_FILE).read_bytes(), RouteSnapshot, ROUTES_FILE)
    except FileNotFoundError:
        return RouteSnapshot()
