"""One route while it exists: its listener, its chain of stages and the link to its server's current incarnation."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence

from thv_core.errors import PortUnavailable, StartFailed, ThvError, Unsupported
from thv_core.model.egress import CallInFlight
from thv_core.model.route import Route, RouteReport, RouteState
from thv_core.spi.middleware import MiddlewareRecipe
from thv_gateway.app import Application
from thv_gateway.chain import Chain, plugin_steps
from thv_gateway.endpoint import PipeEndpoint
from thv_gateway.listeners import Listener
from thv_gateway.relay import RelayEndpoint
from thv_gateway.stages import built_in_steps
from thv_gateway.upstream import Endpoint, Estate, Upstream

__all__ = ["LiveRoute"]

_STATUS = {
    RouteState.READY: (200, "healthy"),
    RouteState.STARTING: (200, "degraded"),
    RouteState.FAILED: (503, "unhealthy"),
    RouteState.GONE: (503, "unhealthy"),
}


_ENDPOINTS: dict[str, Callable[[Route, Estate, Chain, Callable[[], None]], Endpoint]] = {
    "stdio": PipeEndpoint,
    "streamable-http": RelayEndpoint,
}


def _endpoint_of(transport: str) -> Callable[[Route, Estate, Chain, Callable[[], None]], Endpoint]:
    try:
        return _ENDPOINTS[transport]
    except KeyError:
        raise Unsupported(f"this gateway does not speak {transport} to servers") from None


def _front(route: Route) -> object:
    return route.host, route.port, route.middleware, route.transport, route.allow_host


class LiveRoute:
    """Serves one route and reports its state.

    A workload whose middleware cannot be built is served by nobody: no listener, no link.

    :param publish: called with each new report.
    """

    def __init__(
        self,
        route: Route,
        estate: Estate,
        recipes: Mapping[str, MiddlewareRecipe],
        publish: Callable[[RouteReport], None],
    ) -> None:
        self.route = route
        self._estate = estate
        self._publish = publish
        self._endpoint: Endpoint | None = None
        self._listener: Listener | None = None
        self._app: Application | None = None
        self._refusal: ThvError | None = None
        self._report = RouteReport(
            workload=route.workload, incarnation=route.incarnation, state=RouteState.STARTING, port=route.port
        )
        try:
            steps = plugin_steps(route.middleware, recipes)
            make = _endpoint_of(route.transport)
        except ThvError as error:
            self._refusal = error
            estate.log.write("refused", error.message)
        else:
            chain = Chain([*built_in_steps(route, estate.sessions), *steps], self._complain)
            self._endpoint = make(route, estate, chain, self._changed)
            self._app = Application(route.workload, self._endpoint, self._health)
            self._listener = Listener(route.host, route.port, self._app, self._changed)
        self._changed()

    @property
    def report(self) -> RouteReport:
        """The current state."""
        return self._report

    @property
    def busy(self) -> int:
        """How many requests are being answered."""
        return self._app.busy if self._app is not None else 0

    def accepts(self, route: Route) -> bool:
        """Tell whether this object can go on to serve ``route``: the same listener and the same stages."""
        return _front(route) == _front(self.route) and self._refusal is None

    def in_flight(self) -> Sequence[CallInFlight]:
        """Return the first calls that the server has not answered."""
        return self._endpoint.link.in_flight() if self._endpoint is not None else ()

    def follow(self, route: Route) -> None:
        """Switch to another incarnation of the server; the listener and the sessions stay."""
        self.route = route
        if self._endpoint is not None:
            self._endpoint.follow(route)
            self._changed()

    def drain(self) -> None:
        """Take no new connections and end the streams of sessions; calls in flight go on."""
        if self._endpoint is not None:
            self._endpoint.link.end_streams()
        if self._listener is not None:
            self._listener.stop_accepting()

    def abandon(self, reason: str) -> None:
        """End the calls in flight with an error."""
        if self._endpoint is not None:
            self._endpoint.link.close(reason)

    def close(self, reason: str) -> None:
        """Stop serving; the server is not disturbed."""
        if self._endpoint is not None:
            self._endpoint.link.end_streams()
        self.abandon(reason)
        if self._listener is not None:
            self._listener.close()

    @property
    def _link(self) -> Upstream | None:
        return self._endpoint.link if self._endpoint is not None else None

    def _changed(self) -> None:
        state, reason, code = self._state()
        link = self._link
        report = RouteReport(
            workload=self.route.workload,
            incarnation=self.route.incarnation,
            state=state,
            reason=reason,
            error_code=code,
            protocol_version=link.handshake.version if link is not None else "",
            tools=link.tools if link is not None else (),
            notes=link.notes if link is not None else (),
            port=self.route.port,
        )
        if report != self._report:
            self._report = report
            self._publish(report)

    def _state(self) -> tuple[RouteState, str, str]:
        link, listener = self._link, self._listener
        if self._refusal is not None:
            return RouteState.FAILED, self._refusal.message, self._refusal.code
        if link is None or listener is None:
            return RouteState.STARTING, "", ""
        if link.state is RouteState.FAILED:
            return RouteState.FAILED, link.reason, StartFailed.code
        if link.state is RouteState.GONE:
            return RouteState.GONE, link.reason, ""
        if listener.problem:
            return RouteState.FAILED, listener.problem, PortUnavailable.code
        return (link.state if listener.bound else RouteState.STARTING), "", ""

    def _health(self) -> tuple[int, dict[str, object]]:
        status, word = _STATUS[self._report.state]
        available = self._report.state is RouteState.READY
        stamp = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())
        mcp: dict[str, object] = {"available": available, "protocol_version": self._report.protocol_version}
        if self._report.reason:
            mcp["error"] = self._report.reason
        return status, {"status": word, "timestamp": stamp, "transport": self.route.transport, "mcp": mcp}

    def _complain(self, stage: str, error: str) -> None:
        self._estate.log.write("stage-failed", f"{stage} raised {error}")
