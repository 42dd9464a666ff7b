"""The table of routes: what the snapshot asks for against what is served, and the difference acted upon."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from secrets import token_bytes

from thv_core.model.document import decode_document
from thv_core.model.egress import CallInFlight
from thv_core.model.route import Route, RouteReport, RouteSnapshot
from thv_core.spi.egress import Egress
from thv_core.spi.middleware import MiddlewareRecipe
from thv_gateway.handshake import Handshakes
from thv_gateway.live import LiveRoute
from thv_gateway.outlets import Outlets
from thv_gateway.proxylog import ProxyLog
from thv_gateway.sessions import Sessions
from thv_gateway.upstream import Estate

__all__ = ["RouteTable", "read_snapshot"]

_RESTARTING = "the gateway is being restarted"


def read_snapshot(path: Path) -> RouteSnapshot:
    """Read the snapshot that control wrote; an absent file is no routes.

    :raises InvalidDocument: when it is not a snapshot.
    """
    try:
        return decode_document(path.read_bytes(), RouteSnapshot, path.name)
    except FileNotFoundError:
        return RouteSnapshot()


class RouteTable:
    """Every live route, by workload.

    :param key: signs session ids.
    :param publish: called with each report of each route.
    :param egress: returns the chosen egress, or raises what keeps it from working.
    """

    def __init__(
        self,
        handshakes: Handshakes,
        key: bytes,
        recipes: Mapping[str, MiddlewareRecipe],
        publish: Callable[[RouteReport], None],
        egress: Callable[[], Egress],
    ) -> None:
        self.outlets = Outlets(egress, self._calls)
        self._handshakes = handshakes
        self._key = key
        self._recipes = recipes
        self._publish = publish
        self._prefix = f"g{token_bytes(4).hex()}"
        self._live: dict[str, LiveRoute] = {}
        self._sessions: dict[str, Sessions] = {}

    @property
    def reports(self) -> list[RouteReport]:
        """The current report of every route."""
        return [live.report for live in self._live.values()]

    @property
    def busy(self) -> int:
        """How many requests are being answered on all routes."""
        return sum(live.busy for live in self._live.values())

    def apply(self, snapshot: RouteSnapshot) -> None:
        """Close what is no longer asked for, switch what changed, open what is new."""
        wanted = {route.workload: route for route in snapshot.routes}
        for workload in [name for name in self._live if name not in wanted]:
            self._live.pop(workload).close(f"{workload} was removed")
            del self._sessions[workload]
        self.outlets.apply(snapshot.outlets)
        self._handshakes.retain(route.incarnation for route in snapshot.routes)
        # Ports that two workloads exchange are free only after the first pass.
        for workload, route in wanted.items():
            self._retire(workload, route)
        for workload, route in wanted.items():
            if workload not in self._live:
                self._live[workload] = LiveRoute(route, self._estate(route), self._recipes, self._publish)

    def drain(self) -> None:
        """Take no new connections anywhere."""
        for live in self._live.values():
            live.drain()

    def abandon(self) -> None:
        """End the calls that are still in flight with an error."""
        for live in self._live.values():
            live.abandon(_RESTARTING)

    def close(self) -> None:
        """Stop serving every route."""
        for live in self._live.values():
            live.close(_RESTARTING)
        self.outlets.close()

    def _calls(self, incarnation: str) -> Sequence[CallInFlight]:
        live = [each for each in self._live.values() if each.route.incarnation == incarnation]
        return live[0].in_flight() if live else ()

    def _retire(self, workload: str, route: Route) -> None:
        live = self._live.get(workload)
        if live is None or live.route == route:
            return
        if live.accepts(route):
            live.follow(route)
        else:
            self._live.pop(workload).close(f"{workload} was reconfigured")

    def _estate(self, route: Route) -> Estate:
        sessions = self._sessions.setdefault(
            route.workload, Sessions(route.workload, self._key, token_bytes, time.time)
        )
        return Estate(sessions, self._handshakes, self.outlets, ProxyLog(route.log), self._prefix)
