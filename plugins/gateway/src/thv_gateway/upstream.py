"""What a route asks of whatever its server speaks: one seam for pipes and for HTTP."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

from thv_core.model.egress import CallInFlight
from thv_core.model.route import Route, RouteState
from thv_core.spi.middleware import Reply
from thv_gateway.chain import Arrival, Chain, Send
from thv_gateway.handshake import Handshake, Handshakes
from thv_gateway.outlets import Outlets
from thv_gateway.proxylog import ProxyLog
from thv_gateway.sessions import Sessions

__all__ = ["Endpoint", "Estate", "Flow", "Upstream"]


@dataclass(frozen=True)
class Estate:
    """What a route keeps across the incarnations of its server; ``prefix`` begins every id of this process."""

    sessions: Sessions
    handshakes: Handshakes
    outlets: Outlets
    log: ProxyLog
    prefix: str


class Upstream(Protocol):
    """One incarnation of a server; ``state`` goes from starting to ready or failed, and from ready to gone."""

    @property
    def state(self) -> RouteState:
        """How far it is."""
        ...

    @property
    def reason(self) -> str:
        """Why it failed or is gone, as a sentence."""
        ...

    @property
    def tools(self) -> tuple[str, ...]:
        """The names of its tools."""
        ...

    @property
    def notes(self) -> tuple[str, ...]:
        """What its user should know."""
        ...

    @property
    def handshake(self) -> Handshake:
        """What it said of itself."""
        ...

    def in_flight(self) -> Sequence[CallInFlight]:
        """Return the first calls that it has not answered."""
        ...

    def end_streams(self) -> None:
        """End the streams of sessions; calls go on."""
        ...

    def close(self, reason: str) -> None:
        """Let go of the server without disturbing it; calls in flight end with an error."""
        ...


class Flow(Protocol):
    """An answer that comes in pieces."""

    async def flow(self, arrival: Arrival, chain: Chain, send: Send) -> None:
        """Send the whole answer, head included, with every message through the chain."""
        ...


class Endpoint(Protocol):
    """Answers the requests of one route."""

    chain: Chain

    @property
    def link(self) -> Upstream:
        """The current incarnation."""
        ...

    async def answer(self, arrival: Arrival) -> Reply | Flow:
        """Answer a request that passed every stage."""
        ...

    def follow(self, route: Route) -> None:
        """Switch to another incarnation."""
        ...
