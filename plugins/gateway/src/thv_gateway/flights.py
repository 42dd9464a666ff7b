"""Exchanges with one HTTP server that have not ended: what they ask, for whom, and until when they may last."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from itertools import islice
from typing import Protocol

from thv_core.model.egress import CallInFlight
from thv_gateway.chain import Arrival
from thv_gateway.connection import Connection

__all__ = ["MOST_NAMED", "Flight", "Flights", "short"]

MOST_NAMED = 16
"""So many calls in flight are named at once."""

_SHORT = 8


class _Watcher(Protocol):
    def cancel(self) -> object: ...


class _Nobody:
    """Watches no client."""

    def cancel(self) -> None:
        """Do nothing."""


class Flight:
    """One exchange; ``connection`` is ``None`` until it has one, ``fault`` a word once the gateway gave it up.

    ``reason`` says why as a sentence. ``watcher`` notices that the client goes away, where that ends the exchange.
    """

    __slots__ = ("arrival", "connection", "deadline", "fault", "reason", "watcher")

    def __init__(self, arrival: Arrival, deadline: float) -> None:
        self.arrival = arrival
        self.connection: Connection | None = None
        self.deadline = deadline
        self.fault = ""
        self.reason = ""
        self.watcher: _Watcher = _Nobody()

    @property
    def is_stream(self) -> bool:
        """Whether it is a session's own stream and not the answer to a message."""
        return self.arrival.method == "GET"

    @property
    def is_watched(self) -> bool:
        """Whether somebody notices already that its client goes away."""
        return not isinstance(self.watcher, _Nobody)

    def give_up(self, fault: str, reason: str) -> None:
        """Cut the connection: whoever reads it is told."""
        if not self.fault:
            self.fault, self.reason = fault, reason
        if self.connection is not None:
            self.connection.abort()


class Flights:
    """All exchanges of one incarnation.

    :param timeout: seconds of silence after which one is given up.
    :param clock: returns seconds, monotonically.
    """

    def __init__(self, timeout: float, clock: Callable[[], float]) -> None:
        self._timeout = timeout
        self._clock = clock
        self._open: dict[int, Flight] = {}

    def __iter__(self) -> Iterator[Flight]:
        return iter(list(self._open.values()))

    def begin(self, arrival: Arrival) -> Flight:
        """Register an exchange."""
        flight = Flight(arrival, self._clock() + self._timeout)
        self._open[id(flight)] = flight
        return flight

    def stir(self, flight: Flight) -> None:
        """Note a sign of life of the server; a session's own stream may be silent for ever."""
        flight.deadline = math.inf if flight.is_stream else self._clock() + self._timeout

    def hurry(self, flight: Flight, seconds: float) -> None:
        """Give an exchange that has what it wanted only so long to end."""
        flight.deadline = self._clock() + seconds

    def end(self, flight: Flight) -> None:
        """Forget an exchange."""
        self._open.pop(id(flight), None)

    def streams(self) -> list[Flight]:
        """Return the sessions' own streams."""
        return [flight for flight in self if flight.is_stream]

    def give_up_overdue(self) -> list[Flight]:
        """Cut what is overdue, and return it."""
        now = self._clock()
        late = [flight for flight in self if flight.deadline <= now]
        for flight in late:
            flight.give_up("timeout", "The server did not answer in time")
        return late

    def named(self) -> list[CallInFlight]:
        """Return the first calls in flight for the record of what the server reaches meanwhile."""
        calls = (flight.arrival for flight in self if flight.arrival.message is not None)
        return [_call(arrival) for arrival in islice(calls, MOST_NAMED)]


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
