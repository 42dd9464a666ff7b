"""The open connections of one listener: how many there may be, and which of them took too long."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Coroutine
from typing import Protocol

from thv_gateway.web.limits import LIMITS, Limits
from thv_gateway.web.request import Request

__all__ = ["Guest", "Lobby", "Site"]

Site = Callable[[Request], Awaitable[None]]
"""Answers a request whose head is whole; its body may still come."""

AtOnce = Callable[[Request, Callable[[Coroutine[None, None, None] | None], None]], bool]
"""Answers a request that is all there, without a task; see :meth:`thv_gateway.web.app.Application.at_once`."""

_LINGERING = 256
"""So many that found no room are told so politely at once."""


class Guest(Protocol):
    """One connection."""

    def expire(self, now: float) -> None:
        """Give it up if it took too long."""
        ...

    def close(self) -> None:
        """Close it at once."""
        ...

    def leave(self) -> None:
        """Close it as soon as it has nothing to do."""
        ...


class Lobby:
    """Knows every connection of a listener.

    ``is_draining``: requests that come on open connections are refused, and those in flight end.
    ``secure`` tells that they come over TLS.
    """

    def __init__(self, site: Site, limits: Limits = LIMITS, *, secure: bool = False) -> None:
        self.site = site
        self.at_once: AtOnce = getattr(site, "at_once", _never)
        self.limits = limits
        self.secure = secure
        self.is_draining = False
        self._guests: set[Guest] = set()

    def __len__(self) -> int:
        return len(self._guests)

    def enter(self, guest: Guest) -> bool:
        """Take note of a connection; tell whether there is room for it."""
        self._guests.add(guest)
        return len(self._guests) <= self.limits.connections

    @property
    def is_crowded(self) -> bool:
        """Whether so many have come that nobody else is even told that there is no room."""
        return len(self._guests) > self.limits.connections + _LINGERING

    def forget(self, guest: Guest) -> None:
        """Take note that a connection was closed."""
        self._guests.discard(guest)

    def expire(self, now: float) -> None:
        """Give up whoever took too long; ``now`` is on the clock of the event loop."""
        for guest in list(self._guests):
            guest.expire(now)

    def dismiss(self) -> None:
        """Close every connection that has nothing to do, and the others after the answer that they wait for."""
        for guest in list(self._guests):
            guest.leave()

    def close(self) -> None:
        """Close every connection at once."""
        for guest in list(self._guests):
            guest.close()


def _never(request: Request, ended: object) -> bool:
    """Answer nothing at once."""
    return False
