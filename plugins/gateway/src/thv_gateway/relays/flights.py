"""Exchanges with one HTTP server that have not ended: what they ask, for whom, and until when they may last."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from itertools import islice

from thv_core.model.egress import CallInFlight
from thv_gateway.client.connection import Connection
from thv_gateway.messages.versions import Era
from thv_gateway.stages.chain import Arrival
from thv_gateway.web.peer import Peer

__all__ = ["MOST_NAMED", "Flight", "Flights", "listens", "short"]

MOST_NAMED = 16
"""So many calls in flight are named at once."""

MOST_PARKED = 64

_SHORT = 8


def _nobody() -> None:
    """Watch no client."""


class Flight:
    """One exchange; ``connection`` is ``None`` until it has one, ``fault`` a word once the gateway gave it up.

    ``reason`` says why as a sentence. ``is_parked`` tells that the server goes on with it while nobody listens: its
    client asks for the rest by another exchange (MCP 2025-11-25, polling). ``watch``
    notices that the client goes away, where that matters to the exchange. ``is_stream`` tells that it is a stream of
    what the server says by itself, and not the answer to a call: that of a session, or of ``subscriptions/listen``.
    """

    __slots__ = ("arrival", "connection", "deadline", "fault", "is_parked", "is_stream", "reason", "unwatch")

    def __init__(self, arrival: Arrival, deadline: float) -> None:
        self.arrival = arrival
        self.connection: Connection | None = None
        self.deadline = deadline
        self.fault = ""
        self.reason = ""
        self.is_parked = False
        self.is_stream = arrival.method == "GET" or listens(arrival)
        self.unwatch: Callable[[], None] = _nobody

    @property
    def is_watched(self) -> bool:
        """Whether somebody notices already that its client goes away."""
        return self.unwatch is not _nobody

    def watch(self, peer: Peer, act: Callable[[], None]) -> None:
        """Act when the client goes away, until ``unwatch`` is called."""
        self.unwatch = peer.on_gone(act)

    def give_up(self, fault: str, reason: str) -> None:
        """Cut the connection: whoever reads it is told."""
        if not self.fault:
            self.fault, self.reason = fault, reason
        if self.connection is not None:
            self.connection.abort()


class Flights:
    """All exchanges of one incarnation; ``heard`` is when the server last gave a sign of life, by the clock.

    :param timeout: seconds of silence after which one is given up.
    :param clock: returns seconds, monotonically.
    """

    def __init__(self, timeout: float, clock: Callable[[], float]) -> None:
        self._timeout = timeout
        self._clock = clock
        self._open: dict[int, Flight] = {}
        self.heard = 0.0

    def __iter__(self) -> Iterator[Flight]:
        return iter(list(self._open.values()))

    def begin(self, arrival: Arrival) -> Flight:
        """Register an exchange."""
        flight = Flight(arrival, self._clock() + self._timeout)
        self._open[id(flight)] = flight
        return flight

    def stir(self, flight: Flight) -> None:
        """Note a sign of life of the server; a stream may be silent for ever."""
        self.heard = self._clock()
        flight.deadline = math.inf if flight.is_stream else self.heard + self._timeout

    def hurry(self, flight: Flight, seconds: float) -> None:
        """Give an exchange that has what it wanted only so long to end."""
        flight.deadline = self._clock() + seconds

    def park(self, flight: Flight) -> None:
        """Keep an exchange without a connection, until its answer is asked for or it is overdue; so many at once."""
        parked = [each for each in self if each.is_parked]
        if len(parked) >= MOST_PARKED:
            self.end(parked[0])
        flight.is_parked = True
        self.stir(flight)

    def parked(self, session: str, identifier: bytes = b"") -> Flight | None:
        """Return a parked exchange of a session: any, or the one for a request of this raw id."""
        mine = (each for each in self._open.values() if each.is_parked and each.arrival.session == session)
        return next((each for each in mine if identifier in (b"", _identifier(each))), None)

    def end(self, flight: Flight) -> None:
        """Forget an exchange."""
        self._open.pop(id(flight), None)

    def has(self, session: str, identifier: bytes) -> bool:
        """Tell whether a session's request of this raw id is in flight."""
        return any(each.arrival.session == session and _identifier(each) == identifier for each in self)

    def streams(self) -> list[Flight]:
        """Return the streams of what the server says by itself."""
        return [flight for flight in self if flight.is_stream]

    def give_up_overdue(self) -> list[Flight]:
        """Cut what is overdue, and return it."""
        now = self._clock()
        late = [flight for flight in self if flight.deadline <= now]
        for flight in late:
            flight.give_up("timeout", "The server did not answer in time")
            if flight.is_parked:
                self.end(flight)
        return late

    def named(self) -> list[CallInFlight]:
        """Return the first calls in flight for the record of what the server reaches meanwhile."""
        calls = (flight.arrival for flight in self if flight.arrival.message is not None)
        return [_call(arrival) for arrival in islice(calls, MOST_NAMED)]


def listens(arrival: Arrival) -> bool:
    """Tell whether a client of the stateless era asks to be told of changes (MCP 2026-07-28, subscriptions)."""
    if arrival.era is Era.LEGACY:
        return False
    return arrival.message is not None and arrival.message.method == "subscriptions/listen"


def _identifier(flight: Flight) -> bytes:
    return flight.arrival.message.id if flight.arrival.message is not None else b""


def short(session: str) -> str:
    """Return the end of a session id, which tells sessions apart and opens none."""
    return session[-_SHORT:]


def _call(arrival: Arrival) -> CallInFlight:
    message, identity = arrival.message, arrival.identity
    return CallInFlight(
        method=message.method if message else "",
        name=message.name if message else "",
        session=short(arrival.session),
        user=identity.subject if identity else "",
    )
