"""One workload while it has a route: its listeners, the lives of its server, and what is reported of them."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from weakref import WeakSet

from msgspec import structs

from thv_core.errors import ThvError
from thv_core.model.egress import CallInFlight
from thv_core.model.route import Route, RouteReport, RouteState
from thv_core.spi.middleware import MiddlewareRecipe
from thv_gateway.process.proxylog import ProxyLog
from thv_gateway.servers.life import Life, front_of, refused_life, served, way_of
from thv_gateway.servers.several import Several
from thv_gateway.servers.upstream import Estate
from thv_gateway.sse.door import SseDoor
from thv_gateway.sse.lines import SseLines
from thv_gateway.stages.chain import Chain, Step, plugin_steps
from thv_gateway.stages.origin import Own
from thv_gateway.web.app import Application
from thv_gateway.web.doors import Doors, address_of
from thv_gateway.web.reception import Reception

__all__ = ["LiveRoute"]

_STATUS = {
    RouteState.READY: (200, "healthy"),
    RouteState.STARTING: (200, "degraded"),
    RouteState.FAILED: (503, "unhealthy"),
    RouteState.GONE: (503, "unhealthy"),
    RouteState.HUNG: (503, "unhealthy"),
}

_TICK_SECONDS = 0.02
"""So soon it is noticed that the last call of a life has ended that is left."""


class LiveRoute:
    """Serves one workload through all lives of its server, and reports each of them.

    A life whose middleware cannot be built is served by nobody; when it is the current one, there is no listener.

    :param publish: called with each new report.
    :param several: this process's part in a route that several processes serve.
    """

    def __init__(
        self,
        route: Route,
        estate: Estate,
        recipes: Mapping[str, MiddlewareRecipe],
        publish: Callable[[RouteReport], None],
        several: Several | None = None,
    ) -> None:
        self._several = several
        self._workload = route.workload
        self._estate = estate
        self._recipes = recipes
        self._publish = publish
        self._logs = {route.log: estate.log}
        self._lives: dict[str, Life] = {}
        self._reports: dict[str, RouteReport] = {}
        self._route = route
        self._watcher: asyncio.Task[None] | None = None
        current = self._current = self._life(route)
        self._reception = Reception(self._workload, current.endpoint)
        self._streams = SseLines()
        self._faces: WeakSet[SseDoor] = WeakSet()
        self._doors = Doors(self._application, self._changed, several=several is not None)
        self._inside = several.listener(route.workload, self._doors.inner.app) if several is not None else None
        current.endpoint.begin(current.endpoint.link)
        self._lives[route.incarnation] = current
        self.apply(route)

    @property
    def reports(self) -> list[RouteReport]:
        """The current report of every life."""
        return list(self._reports.values())

    @property
    def busy(self) -> int:
        """How many requests are being answered."""
        return self._doors.busy

    @property
    def common(self) -> Application:
        """What answers for it on the listener that all workloads share."""
        return self._doors.common.app

    def share(self, port: int) -> None:
        """Take note of the port on which it is reached under its name, beside its own."""
        self._doors.common.move(Own(port))

    def in_flight(self, incarnation: str) -> Sequence[CallInFlight]:
        """Return the first calls that an incarnation has not answered."""
        life = self._lives.get(incarnation)
        return life.endpoint.link.in_flight() if life is not None else ()

    def apply(self, route: Route) -> None:
        """Arrange the lives as a route wants them, in one turn of the event loop."""
        self._route = route
        self._estate.seats.arrange(route.seats, route.terms.session_ttl)
        current = self._life(route)
        candidate = self._life(route.candidate) if route.candidate is not None else current
        wanted = {each.route.incarnation: each for each in (candidate, current)}
        former = {name: self._lives[name] for name in route.retiring if name in self._lives and name not in wanted}
        left = [life for name, life in self._lives.items() if name not in wanted and name not in former]
        before, self._current = self._current, current
        self._lives = wanted | former
        self._logs = {life.route.log: life.estate.log for life in self._lives.values()}
        self._reception.arrange(current.endpoint, [life.endpoint for life in former.values()], held=route.hold)
        if current.endpoint is not before.endpoint:
            current.endpoint.begin(before.endpoint.link)
        for life in left:
            life.close(f"{self._workload} was started anew")
        self._doors.arrange(current, candidate, lingering=bool(former))
        for face in self._faces:
            face.show()
        self._changed()
        if self._is_watched and self._watcher is None:
            self._watcher = asyncio.get_running_loop().create_task(self._watch())

    def drain(self) -> None:
        """Take no new connections and end the streams of sessions; calls in flight go on."""
        self._end_streams()
        self._streams.recede()
        self._doors.drain()
        if self._inside is not None:
            self._inside.drain()

    def abandon(self, reason: str) -> None:
        """End the calls in flight with an error, and those that wait."""
        self._reception.abandon(reason)
        for life in self._lives.values():
            life.close(reason)

    def close(self, reason: str) -> None:
        """Stop serving; the servers are not disturbed."""
        if self._watcher is not None:
            self._watcher.cancel()
        self._end_streams()
        self.abandon(reason)
        self._streams.close()
        self._doors.close()
        if self._inside is not None:
            self._inside.close()

    def _end_streams(self) -> None:
        for life in self._lives.values():
            life.endpoint.link.end_streams()

    def _life(self, route: Route) -> Life:
        """Return the life of a route: the one that there is, as far as it is the same."""
        known = self._lives.get(route.incarnation)
        same_way = known is not None and known.refusal is None and way_of(known.route) == way_of(route)
        if known is not None and front_of(known.route) == front_of(route) and (same_way or known.refusal is not None):
            return known
        estate = replace(self._estate, log=self._logs.setdefault(route.log, ProxyLog(route.log)))
        try:
            steps = self._steps(route)
            endpoint = known.endpoint if known is not None and same_way else served(route, estate, self._changed)
        except ThvError as error:
            life = refused_life(route, estate, error)
        else:
            life = Life(route, steps, endpoint, estate)
        if known is not None and life.endpoint is not known.endpoint:
            known.close(f"{self._workload} was reconfigured")
        return life

    def _steps(self, route: Route) -> Sequence[Step]:
        """Return the middleware of a route, with what it counts so far if it was there before."""
        for life in self._lives.values():
            if life.refusal is None and life.route.middleware == route.middleware:
                return life.steps
        return plugin_steps(route.middleware, self._recipes)

    @property
    def _is_watched(self) -> bool:
        return self._route.hold or bool(self._route.retiring)

    async def _watch(self) -> None:
        """Notice when a life that is left has nothing to do any more, and let its sessions' streams move on."""
        while self._is_watched:
            for name, life in self._lives.items():
                if name in self._route.retiring or (self._reports[name].quiet and life is self._current):
                    life.endpoint.recede()
            self._changed()
            await asyncio.sleep(_TICK_SECONDS)
        self._watcher = None
        self._changed()

    def _application(self, chain: Chain) -> Application:
        app = Application(self._workload, chain, self._reception, self._health)
        face = SseDoor(app, self._streams, lambda: self._route.terms)
        face.show()
        self._faces.add(face)
        if self._several is not None:
            self._several.adapt(self._workload, app)
        return app

    def _changed(self) -> None:
        self._reception.stir()
        reports = {name: self._report(life) for name, life in self._lives.items()}
        for name in self._route.retiring:
            reports.setdefault(name, self._unknown(name))
        before, self._reports = self._reports, reports
        for name, report in reports.items():
            if before.get(name) != report:
                self._publish(report)

    def _report(self, life: Life) -> RouteReport:
        is_former = life.route.incarnation in self._route.retiring and life is not self._current
        is_left = is_former or (self._route.hold and life is self._current)
        report = life.report(quiet=is_left and not life.endpoint.link.at_work)
        if is_former or report.state not in (RouteState.READY, RouteState.STARTING):
            return report
        listener = self._doors.at(address_of(life))
        if listener is not None and listener.problem:
            problem, code = listener.problem, listener.code
            return structs.replace(report, state=RouteState.FAILED, reason=problem, error_code=code)
        is_bound = listener is not None and listener.bound
        return report if is_bound else structs.replace(report, state=RouteState.STARTING)

    def _unknown(self, incarnation: str) -> RouteReport:
        """Report a life of which this process knows nothing: what was in flight ended with its predecessor."""
        return RouteReport(
            workload=self._workload, incarnation=incarnation, state=RouteState.GONE, port=self._route.port, quiet=True
        )

    def _health(self) -> tuple[int, dict[str, object]]:
        report, transport = self._reports[self._route.incarnation], self._route.transport
        status, word = _STATUS[report.state]
        available = report.state is RouteState.READY
        mcp: dict[str, object] = {"available": available, "protocol_version": report.protocol_version}
        if (check := self._current.endpoint.link.checked) is not None:
            mcp |= {"response_time_ms": round(check.milliseconds, 3), "last_checked": _stamp(check.at)}
        if report.reason:
            mcp["error"] = report.reason
        return status, {"status": word, "timestamp": _stamp(time.time()), "transport": transport, "mcp": mcp}


def _stamp(at: float) -> str:
    return time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(at))
