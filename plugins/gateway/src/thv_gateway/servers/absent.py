"""A life that nobody serves, because its stages or its transport cannot be had."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Self

import msgspec

from thv_core.model.egress import CallInFlight
from thv_core.model.route import RouteState
from thv_core.spi.middleware import Reply
from thv_gateway.messages.answers import INTERNAL_ERROR, refusal
from thv_gateway.messages.versions import Era
from thv_gateway.servers.handshake import Handshake
from thv_gateway.servers.upstream import Upstream
from thv_gateway.stages.chain import Arrival, Chain

__all__ = ["Absent"]


class Absent:
    """Stands for a server that is not spoken to: as :class:`thv_gateway.servers.upstream.Endpoint` and as its link."""

    state = RouteState.FAILED
    tools: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()
    at_work = False
    checked = None
    eras = frozenset(Era)

    def __init__(self, reason: str) -> None:
        self.reason = reason
        self.handshake = Handshake(result=msgspec.Raw(b"{}"))

    @property
    def link(self) -> Self:
        """The incarnation: itself."""
        return self

    def in_flight(self) -> Sequence[CallInFlight]:
        """Return nothing."""
        return ()

    def end_streams(self) -> None:
        """Do nothing."""

    def close(self, reason: str) -> None:
        """Do nothing."""

    def owns(self, arrival: Arrival) -> bool:
        """Own nothing."""
        return False

    def needs_server(self, arrival: Arrival) -> bool:
        """Say so of everything."""
        return True

    def knows(self, arrival: Arrival) -> bool:
        """Say so of everyone."""
        return True

    async def introduce(self, arrival: Arrival) -> Reply | None:
        """Do nothing."""
        return None

    def begin(self, former: Upstream) -> None:
        """Do nothing."""

    def recede(self) -> None:
        """Do nothing."""

    async def answer(self, arrival: Arrival, chain: Chain) -> Reply:
        """Refuse."""
        return refusal(503, INTERNAL_ERROR, self.reason, arrival.identifier)
