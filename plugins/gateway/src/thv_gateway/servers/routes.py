"""The table of routes: what the snapshot asks for against what is served, and the difference acted upon."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from secrets import token_bytes

from thv_core.model.document import decode_document
from thv_core.model.egress import CallInFlight
from thv_core.model.route import Route, RouteReport, RouteSnapshot
from thv_core.spi.egress import Egress
from thv_core.spi.middleware import MiddlewareRecipe
from thv_gateway.process.outlets import Outlets
from thv_gateway.process.proxylog import ProxyLog
from thv_gateway.servers.handshake import Handshakes
from thv_gateway.servers.live import LiveRoute
from thv_gateway.servers.upstream import Estate
from thv_gateway.sessions.asked import Asked
from thv_gateway.sessions.memory import Memory
from thv_gateway.sessions.sessions import Sessions

__all__ = ["Kept", "RouteTable", "read_snapshot"]

_RESTARTING = "the gateway is being restarted"


def read_snapshot(path: Path) -> RouteSnapshot:
    """Read the snapshot that control wrote; an absent file is no routes.

    :raises InvalidDocument: when it is not a snapshot.
    """
    try:
        return decode_document(path.read_bytes(), RouteSnapshot, path.name)
    except FileNotFoundError:
        return RouteSnapshot()


@dataclass(frozen=True)
class Kept:
    """What survives this process; ``key`` signs session ids."""

    handshakes: Handshakes
    memory: Memory
    key: bytes


class RouteTable:
    """Every live route, by workload.

    :param publish: called with each report of each route.
    :param egress: returns the chosen egress, or raises what keeps it from working.
    """

    def __init__(
        self,
        kept: Kept,
        recipes: Mapping[str, MiddlewareRecipe],
        publish: Callable[[RouteReport], None],
        egress: Callable[[], Egress],
    ) -> None:
        self.outlets = Outlets(egress, self._calls)
        self._kept = kept
        self._recipes = recipes
        self._publish = publish
        self._prefix = f"g{token_bytes(4).hex()}"
        self._live: dict[str, LiveRoute] = {}
        self._sessions: dict[str, Sessions] = {}

    @property
    def reports(self) -> list[RouteReport]:
        """The current report of every life of every route."""
        return [report for live in self._live.values() for report in live.reports]

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
        lives = {route.workload: _incarnations(route) for route in snapshot.routes}
        self._kept.handshakes.retain(name for names in lives.values() for name in names)
        self._kept.memory.retain(lives)
        for workload, route in wanted.items():
            live = self._live.get(workload)
            if live is None:
                self._live[workload] = LiveRoute(route, self._estate(route), self._recipes, self._publish)
            else:
                live.apply(route)

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
        self._kept.memory.flush()

    def _calls(self, incarnation: str) -> Sequence[CallInFlight]:
        return [call for live in self._live.values() for call in live.in_flight(incarnation)]

    def _estate(self, route: Route) -> Estate:
        workload, memory = route.workload, self._kept.memory
        known = memory.of(workload)
        sessions = Sessions(workload, self._kept.key, token_bytes, time.time, known)
        return Estate(
            sessions=self._sessions.setdefault(workload, sessions),
            handshakes=self._kept.handshakes,
            outlets=self.outlets,
            log=ProxyLog(route.log),
            prefix=self._prefix,
            recollection=known,
            remember=memory.changed,
            asked=Asked(),
        )


def _incarnations(route: Route) -> list[str]:
    candidate = [route.candidate.incarnation] if route.candidate is not None else []
    return [route.incarnation, *candidate, *route.retiring]
