"""Who answers a request, by the eras of its client and its server: the way of the same era, or one that translates."""

from __future__ import annotations

from collections.abc import Mapping

from thv_core.spi.middleware import Reply
from thv_gateway.messages.answers import unsupported
from thv_gateway.messages.versions import LEGACY_VERSIONS, MODERN_VERSIONS, Era
from thv_gateway.servers.upstream import Endpoint, Flow, Told, Upstream, start_of
from thv_gateway.stages.chain import Arrival, Chain

__all__ = ["ByEra", "Pair"]

Pair = tuple[Era, Era]
"""The eras of a client and of what is spoken with the server for it."""

_VERSIONS = {Era.LEGACY: LEGACY_VERSIONS, Era.MODERN: MODERN_VERSIONS}


class ByEra:
    """Answers the requests of one incarnation; see :class:`thv_gateway.servers.upstream.Endpoint`.

    :param ways: what answers each pair of eras; a client is spoken for in its own era where the server speaks that.
    """

    def __init__(self, link: Upstream, ways: Mapping[Pair, Endpoint]) -> None:
        self.link = link
        self._ways = ways
        self._eras: frozenset[Era] | None = None
        self._by_client: dict[Era, Endpoint | None] = {}
        self._starts = {id(way): start_of(way) for way in ways.values()}
        self._all = tuple({id(way): way for way in ways.values()}.values())

    def owns(self, arrival: Arrival) -> bool:
        """Tell whether this is about a call in flight here."""
        way = self._way(arrival)
        return way is not None and way.owns(arrival)

    def needs_server(self, arrival: Arrival) -> bool:
        """Tell whether the server has to be ready for this."""
        way = self._way(arrival)
        return way is None or way.needs_server(arrival)

    def knows(self, arrival: Arrival) -> bool:
        """Tell whether the server knows the session of this, or nobody does."""
        way = self._way(arrival)
        return way is None or way.knows(arrival)

    async def introduce(self, arrival: Arrival) -> Reply | None:
        """Open a session at the server for one of a former life; a reply says why that cannot be."""
        way = self._way(arrival)
        return await way.introduce(arrival) if way is not None else None

    def start(self, arrival: Arrival, chain: Chain, told: Told) -> bool:
        """Begin to answer at once, as far as that needs no translation and no memory."""
        way = self._way(arrival)
        return way is not None and self._starts[id(way)](arrival, chain, told)

    async def answer(self, arrival: Arrival, chain: Chain) -> Reply | Flow:
        """Answer a request that passed every stage."""
        way = self._way(arrival)
        return await way.answer(arrival, chain) if way is not None else self._refused(arrival)

    def begin(self, former: Upstream) -> None:
        """Take over from a former life."""
        for way in self._all:
            way.begin(former)

    def recede(self) -> None:
        """Let sessions move on to another life."""
        for way in self._all:
            way.recede()

    def _way(self, arrival: Arrival) -> Endpoint | None:
        eras = self.link.eras
        if eras is not self._eras:
            self._eras = eras
            self._by_client = {each: self._ways.get((each, _spoken(each, eras))) for each in Era}
        return self._by_client[arrival.era]

    def _refused(self, arrival: Arrival) -> Reply:
        """Tell a client of an era that is not translated which revisions would be understood."""
        spoken = [version for era in self.link.eras for version in _VERSIONS[era]]
        requested = arrival.fields.get(b"mcp-protocol-version", b"").decode("latin-1")
        return unsupported(requested, spoken, arrival.identifier)


def _spoken(asked: Era, eras: frozenset[Era]) -> Era:
    """Return the era that is spoken with the server for a client."""
    return asked if asked in eras or not eras else next(iter(eras))
