"""One incarnation as its route serves it: the way to its server, and the stages before it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from thv_core.errors import StartFailed, ThvError, Unsupported
from thv_core.model.route import Route, RouteReport, RouteState
from thv_gateway.eras.modern_clients import ModernClients
from thv_gateway.messages.versions import Era
from thv_gateway.pipes.endpoint import PipeEndpoint
from thv_gateway.pipes.link import Link
from thv_gateway.pipes.modern_endpoint import ModernEndpoint
from thv_gateway.pipes.party_talks import PartyTalks
from thv_gateway.pipes.private import PrivateEndpoint
from thv_gateway.relays.relay import RelayEndpoint
from thv_gateway.relays.relay_link import RelayLink
from thv_gateway.servers.absent import Absent
from thv_gateway.servers.by_era import ByEra, Pair
from thv_gateway.servers.private_lives import guised, named, over_http, over_seats, over_sse
from thv_gateway.servers.talks import SharedTalk
from thv_gateway.servers.upstream import Endpoint, Estate
from thv_gateway.stages.built_in import built_in_steps
from thv_gateway.stages.chain import Chain, Step
from thv_gateway.stages.origin import OriginStage

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

    def chain(self, origin: OriginStage) -> Chain:
        """Return its stages for a listener, with the one that knows how it is named."""
        built_in = built_in_steps(self.route, self.estate.sessions, origin)
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
            eras=tuple(sorted(link.eras)),
            seats=self.estate.seats.wanted if route.terms.seats_per_client else None,
        )

    def _complain(self, stage: str, error: str) -> None:
        self.estate.log.write("stage-failed", f"{stage} raised {error}")


def front_of(route: Route) -> object:
    """Return what a client sees of a route, beside the server."""
    return route.host, route.port, route.middleware, route.allow_host, route.terms


def way_of(route: Route) -> object:
    """Return what leads to the server of a route."""
    pipes = route.stdin, route.stdout, route.lock
    far = route.target_port, route.target_url, route.forward_authorization, route.forward_headers
    return route.transport, far, route.terms.stateless, route.terms.seats_per_client, pipes


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
    link = Link(route, estate, changed)
    # A server of the stateless era wears a guise for clients of the other one.
    legacy = PipeEndpoint(link, estate)
    modern = ModernEndpoint(link)
    translated = ModernClients(link, SharedTalk(link), estate, route.request_timeout)
    shell = over_seats(link, route, estate, changed) if route.terms.seats_per_client else None
    private = PrivateEndpoint(shell, estate, named(route)) if shell is not None else legacy
    return ByEra(
        shell or link,
        {
            (Era.LEGACY, Era.LEGACY): private,
            (Era.LEGACY, Era.MODERN): legacy,
            (Era.MODERN, Era.LEGACY): translated,
            (Era.MODERN, Era.MODERN): modern,
        },
    )


def _relayed(route: Route, estate: Estate, changed: Changed) -> Endpoint:
    link = RelayLink(route, estate, changed)
    relay = RelayEndpoint(link, estate)
    disguised = guised(link, estate)
    shell = over_http(link, disguised, estate)
    talks = PartyTalks(shell.talks, estate.sessions, _passed(route))
    translated = ModernClients(shell, talks, estate, route.request_timeout)
    ways: dict[Pair, Endpoint] = {(client, server): relay for client in Era for server in Era}
    legacy = PipeEndpoint(disguised, estate)
    return ByEra(shell, {**ways, (Era.MODERN, Era.LEGACY): translated, (Era.LEGACY, Era.MODERN): legacy})


def _streamed(route: Route, estate: Estate, changed: Changed) -> Endpoint:
    link, passed = over_sse(route, estate, changed), _passed(route)
    private = PrivateEndpoint(link, estate, named(route), passed)
    talks = PartyTalks(link.talks, estate.sessions, passed)
    translated = ModernClients(link, talks, estate, route.request_timeout)
    return ByEra(link, {(Era.LEGACY, Era.LEGACY): private, (Era.MODERN, Era.LEGACY): translated})


def _passed(route: Route) -> frozenset[bytes]:
    return frozenset({b"authorization"}) if route.forward_authorization else frozenset()


_ENDPOINTS: dict[str, Callable[[Route, Estate, Changed], Endpoint]] = {
    "stdio": _piped,
    "streamable-http": _relayed,
    "sse": _streamed,
}
