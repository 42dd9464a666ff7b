"""What answers the requests of a life whose sessions have conversations of their own with the server."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable
from dataclasses import replace

from thv_core.errors import InvalidRequest
from thv_core.model.route import Route
from thv_gateway.client.connection import Broken
from thv_gateway.client.http_client import HttpClient, Place
from thv_gateway.client.pool import Pool
from thv_gateway.client.remote import Remote, place_of
from thv_gateway.pipes.guised_link import GuisedLink
from thv_gateway.pipes.private import PrivateLink
from thv_gateway.pipes.private_talk import Opening, Party, PrivateWire
from thv_gateway.pipes.private_talks import PrivateTalks, Sizes
from thv_gateway.pipes.seat_wire import seated
from thv_gateway.pipes.seats import seat_name
from thv_gateway.pipes.standing_link import StandingLink
from thv_gateway.relays.heads import added
from thv_gateway.relays.relay_link import RelayLink
from thv_gateway.servers.upstream import Estate, Upstream
from thv_gateway.sessions.sessions import Session
from thv_gateway.wires.http_wire import HttpWire
from thv_gateway.wires.modern_wire import ModernHttpWire
from thv_gateway.wires.sse_wire import SSE_ENDPOINT, SseWire
from thv_gateway.wires.way import Fields, Way, nobody

__all__ = ["guised", "named", "over_http", "over_seats", "over_sse", "way_over"]

_SHARE_OF_STREAMS = 0.75
"""The streams of conversations may take so much of the connections; the rest is for what is posted."""


def over_sse(route: Route, estate: Estate, changed: Callable[[], None]) -> PrivateLink:
    """Return the connection to a server of SSE."""
    dialled = _Dialled(route, estate)
    own = StandingLink(route, estate, dialled, changed)
    talks = _talks(route, estate, lambda party: dialled.opened(party, own.suspect), lambda: dialled.most)
    link = PrivateLink(own, talks, closed=dialled.close)
    own.others = lambda: talks
    return link


def over_http(link: RelayLink, beside: Upstream, estate: Estate) -> PrivateLink:
    """Return conversations with a server that is relayed to otherwise; what is ``beside`` is closed with them."""

    async def opened(party: Party) -> PrivateWire:
        if link.unsupplied:
            raise Broken(link.unsupplied.removeprefix(f"{link.route.workload} "))
        return HttpWire(way_over(link, party))

    # The pool is handed over later.
    talks = _talks(link.route, estate, opened, lambda: _share(len(link.pool)) // 2)
    return PrivateLink(link, talks, (beside,))


def guised(link: RelayLink, estate: Estate) -> GuisedLink:
    """Return the one conversation of clients of the era of handshakes with a server of the other era alone."""
    return GuisedLink(link, link.route, estate, lambda: ModernHttpWire(way_over(link)), link.tools_changed)


def way_over(link: RelayLink, party: Party | None = None) -> Way:
    """Return the way to a server that is relayed to otherwise, for a party, or for everyone."""
    return Way(
        client=link.client,
        name=link.route.workload,
        patience=link.route.request_timeout,
        fields=lambda: (*(party.fields if party is not None else ()), *link.added),
        note=link.note,
        suspect=link.suspect,
    )


def over_seats(own: Upstream, route: Route, estate: Estate, changed: Callable[[], None]) -> PrivateLink:
    """Return conversations with processes of which each is there for one session; its own one is for all others."""
    seats, handshakes = estate.seats, estate.handshakes
    seats.on_change = changed

    async def opened(party: Party) -> PrivateWire:
        return await seated(party, seats, route.workload, estate.log, lambda name: handshakes.of(name) is not None)

    talks = _talks(route, estate, opened, lambda: route.terms.most_seats)
    talks.on_end = seats.release
    return PrivateLink(own, talks)


def named(route: Route) -> Callable[[Session], str]:
    """Return what names the conversation of a session at one life."""
    return lambda session: seat_name(route.incarnation, session.id)


class _Dialled:
    """The connections to one server of SSE, made when they are first needed; ``most`` are the streams of clients."""

    def __init__(self, route: Route, estate: Estate) -> None:
        self._route = route
        self._estate = estate
        self._pool: Pool | None = None
        self.most = 1

    async def ready(self, obstacle: Callable[[str], None]) -> None:
        """See :class:`thv_gateway.pipes.standing_link.Dialled`."""
        news = asyncio.Event()
        forget = self._estate.values.watch(news.set)
        try:
            while missing := self._missing:
                news.clear()
                obstacle(f"{self._route.workload} waits for the value of the secret {missing[0]}")
                await news.wait()
            obstacle("")
            await self._way_in()
        finally:
            forget()

    async def own(self) -> SseWire:
        """Open a wire for the gateway itself."""
        return await self.opened(Party("", {}), nobody)

    async def accepts(self) -> bool:
        """Tell whether the server accepts a connection."""
        pool, place = await self._way_in()
        return await HttpClient(pool, place).accepts()

    async def opened(self, party: Party, suspect: Callable[[], None]) -> SseWire:
        """Return an open wire.

        :raises Broken: when the value of a header is not known; also what :meth:`SseWire.open` raises.
        """
        self._fields()
        pool, place = await self._way_in()
        # One stream is the gateway's own.
        self.most = max(1, _share(len(pool)) - 1)
        route = self._route
        way = Way(
            client=HttpClient(pool, place),
            name=route.workload,
            patience=route.request_timeout,
            fields=lambda: (*party.fields, *self._known_fields()),
            note=self._estate.log.write,
            suspect=suspect,
        )
        wire = SseWire(way, pool, place)
        await wire.open()
        return wire

    def close(self) -> None:
        """Close the connections to a server that runs somewhere else."""
        if self._pool is not None:
            self._pool.close()

    @property
    def _secrets(self) -> list[str]:
        return [header.secret for header in self._route.forward_headers if header.secret]

    @property
    def _missing(self) -> list[str]:
        known = self._estate.values.of(self._secrets)
        return [name for name in self._secrets if name not in known]

    def _fields(self) -> Fields:
        if self._missing:
            raise Broken(f"waits for the value of the secret {self._missing[0]}")
        try:
            return added(self._route.forward_headers, self._estate.values.of(self._secrets))
        except InvalidRequest as error:
            raise Broken(f"is not asked: {error.message}") from None

    def _known_fields(self) -> Fields:
        # A value that control takes back meanwhile makes the server refuse, which is told to who asked.
        with contextlib.suppress(Broken):
            return self._fields()
        return ()

    async def _way_in(self) -> tuple[Pool, Place]:
        route, outlets = self._route, self._estate.outlets
        if route.target_url:
            self._pool = self._pool or Pool(await Remote.of(route.target_url, outlets.trust))
            return self._pool, place_of(route.target_url)
        return await outlets.way_in(route.incarnation), replace(Place.inside(route.target_port), path=SSE_ENDPOINT)


def _share(connections: int) -> int:
    return max(1, int(connections * _SHARE_OF_STREAMS))


def _talks(route: Route, estate: Estate, opening: Opening, most: Callable[[], int]) -> PrivateTalks:
    prefix = f"{estate.prefix}-{route.incarnation.rpartition('.')[2]}-p"
    sizes = Sizes(most=most, timeout=route.request_timeout, idle=route.terms.session_ttl)
    return PrivateTalks(route.workload, prefix, opening, estate, sizes)
