"""One incarnation as its route serves it: the way to its server, and the stages before it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from msgspec.structs import replace

from thv_core.errors import StartFailed, ThvError, Unsupported
from thv_core.model.route import Route, RouteReport, RouteState
from thv_gateway.pipes.endpoint import PipeEndpoint
from thv_gateway.pipes.link import Link
from thv_gateway.relays.relay import RelayEndpoint
from thv_gateway.relays.relay_link import RelayLink
from thv_gateway.servers.absent import Absent
from thv_gateway.servers.upstream import Endpoint, Estate
from thv_gateway.stages.built_in import built_in_steps
from thv_gateway.stages.chain import Chain, Step

__all__ = ["Life", "front_of", "refused_life", "served", "way_of"]

Changed = Callable[[], None]


@dataclass(frozen=True, eq=False)
class Life:
    """One incarnation; ``refusal`` is why nobody serves it, if nobody does."""

    route: Route
    steps: Sequence[Step]
    endpoint: Endpoint
    estate: Estate
    refusal: ThvError | None = None

    def chain(self, port: int) -> Chain:
        """Return its stages for a listener on ``port``."""
        built_in = built_in_steps(replace(self.route, port=port), self.estate.sessions)
        return Chain([*built_in, *self.steps], self._complain)

    def close(self, reason: str) -> None:
        """Let go of the server; calls in flight end with an error, and its streams so that they are opened again."""
        self.endpoint.recede()
        self.endpoint.link.close(reason)
        self.estate.asked.forget(self.route.incarnation)

    def report(self, *, quiet: bool) -> RouteReport:
        """Return what there is to say of it, whatever its listener does."""
        link, route = self.endpoint.link, self.route
        code = StartFailed.code if link.state is RouteState.FAILED else ""
        return RouteReport(
            workload=route.workload,
            incarnation=route.incarnation,
            state=link.state,
            reason=link.reason,
            error_code=self.refusal.code if self.refusal is not None else code,
            protocol_version=link.handshake.version,
            tools=link.tools,
            notes=link.notes,
            port=route.port,
            quiet=quiet,
            stateful=link.handshake.stateful,
        )

    def _complain(self, stage: str, error: str) -> None:
        self.estate.log.write("stage-failed", f"{stage} raised {error}")


def front_of(route: Route) -> object:
    """Return what a client sees of a route, beside the server."""
    return route.host, route.port, route.middleware, route.allow_host


def way_of(route: Route) -> object:
    """Return what leads to the server of a route."""
    pipes = route.stdin, route.stdout, route.lock
    return route.transport, route.target_port, route.target_url, route.forward_authorization, pipes


def served(route: Route, estate: Estate, changed: Changed) -> Endpoint:
    """Return what answers the requests of a route, and begin to speak to its server.

    :raises Unsupported: when this gateway does not speak its transport.
    """
    make = _ENDPOINTS.get(route.transport)
    if make is None:
        raise Unsupported(f"this gateway does not speak {route.transport} to servers")
    return make(route, estate, changed)


def refused_life(route: Route, estate: Estate, error: ThvError) -> Life:
    """Return a life that nobody serves."""
    estate.log.write("refused", error.message)
    return Life(route, (), Absent(error.message), estate, error)


def _piped(route: Route, estate: Estate, changed: Changed) -> Endpoint:
    return PipeEndpoint(Link(route, estate, changed), estate)


def _relayed(route: Route, estate: Estate, changed: Changed) -> Endpoint:
    return RelayEndpoint(RelayLink(route, estate, changed), estate)


_ENDPOINTS: dict[str, Callable[[Route, Estate, Changed], Endpoint]] = {
    "stdio": _piped,
    "streamable-http": _relayed,
}
