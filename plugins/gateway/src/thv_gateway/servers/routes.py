"""The table of routes: what the snapshot asks for against what is served, and the difference acted upon."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from secrets import token_bytes

from thv_core.model.document import decode_document
from thv_core.model.egress import CallInFlight
from thv_core.model.route import Route, RouteReport, RouteSnapshot
from thv_core.spi.egress import Egress
from thv_core.spi.middleware import MiddlewareRecipe
from thv_gateway.process.outlets import Outlets
from thv_gateway.process.proxylog import ProxyLog
from thv_gateway.process.values import Values
from thv_gateway.servers.handshake import Handshakes
from thv_gateway.servers.live import LiveRoute
from thv_gateway.servers.several import Several, is_common
from thv_gateway.servers.upstream import Estate
from thv_gateway.sessions.asked import Asked
from thv_gateway.sessions.memory import Memory
from thv_gateway.sessions.redis_store import Stores
from thv_gateway.sessions.sessions import Sessions
from thv_gateway.sessions.sharing import Sharing
from thv_gateway.sessions.store import SessionStore
from thv_gateway.web.shared import SharedListener

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
    """What survives this process; ``key`` signs session ids, ``stores`` are what other gateways know as well.

    ``common`` is what all processes of this gateway know, when there are several.
    """

    handshakes: Handshakes
    memory: Memory
    key: bytes
    stores: Stores = field(default_factory=Stores)
    common: SessionStore | None = None


class RouteTable:
    """Every live route, by workload; ``values`` are those of the secrets that routes name.

    :param publish: called with each report of each route.
    :param egress: returns the chosen egress, or raises what keeps it from working.
    :param several: this process's part in routes that all processes serve.
    """

    def __init__(
        self,
        kept: Kept,
        recipes: Mapping[str, MiddlewareRecipe],
        publish: Callable[[RouteReport], None],
        egress: Callable[[], Egress],
        several: Several | None = None,
    ) -> None:
        self._several = several
        self.outlets = Outlets(egress, self._calls)
        self.values = Values()
        self._kept = kept
        self._recipes = recipes
        self._publish = publish
        self._prefix = f"g{token_bytes(4).hex()}"
        self._live: dict[str, LiveRoute] = {}
        self._together = SharedListener()
        self._sessions: dict[str, Sessions] = {}
        self._shared: dict[str, SessionStore | None] = {}

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
            self._shared.pop(workload, None)
        self.outlets.apply(snapshot.outlets)
        lives = {route.workload: _incarnations(route) for route in snapshot.routes}
        self._kept.handshakes.retain(name for names in lives.values() for name in names)
        self._kept.memory.retain(lives)
        for workload, route in wanted.items():
            live = self._live.get(workload)
            self._set_terms(route)
            if live is None:
                several = self._several if is_common(route) else None
                self._live[workload] = LiveRoute(route, self._estate(route), self._recipes, self._publish, several)
            else:
                live.apply(route)
        for live in self._live.values():
            live.share(snapshot.shared_port)
        apps = {workload: live.common for workload, live in self._live.items()}
        self._together.arrange(snapshot.shared_host, snapshot.shared_port, apps)

    def drain(self) -> None:
        """Take no new connections anywhere."""
        self._together.drain()
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
        self._together.close()
        self.outlets.close()
        self._kept.memory.flush()

    def _calls(self, incarnation: str) -> Sequence[CallInFlight]:
        return [call for live in self._live.values() for call in live.in_flight(incarnation)]

    def _set_terms(self, route: Route) -> None:
        """Let the sessions of a workload live, and be shared, as its route says."""
        workload, terms, memory = route.workload, route.terms, self._kept.memory
        known = memory.of(workload)
        sessions = self._sessions.get(workload)
        if sessions is None:
            sessions = Sessions(workload, self._kept.key, token_bytes, time.time, known)
            sessions.on_use = memory.changed
            self._sessions[workload] = sessions
        sessions.ttl = terms.session_ttl
        store = self._store_of(route)
        if self._shared.get(workload) == store:
            return
        self._shared[workload] = store
        sessions.sharing = None
        if store is not None:
            sessions.sharing = Sharing(workload, sessions, known, store, self._kept.key)

    def _store_of(self, route: Route) -> SessionStore | None:
        if route.terms.session_redis is not None:
            return self._kept.stores.at(route.terms.session_redis)
        return self._kept.common if is_common(route) else None

    def _estate(self, route: Route) -> Estate:
        workload, memory = route.workload, self._kept.memory
        return Estate(
            sessions=self._sessions[workload],
            handshakes=self._kept.handshakes,
            outlets=self.outlets,
            log=ProxyLog(route.log),
            prefix=self._prefix,
            recollection=memory.of(workload),
            remember=memory.changed,
            asked=Asked(),
            values=self.values,
        )


def _incarnations(route: Route) -> list[str]:
    candidate = [route.candidate.incarnation] if route.candidate is not None else []
    return [route.incarnation, *candidate, *route.retiring, *(seat.incarnation for seat in route.seats)]
