"""The seats of one workload: processes of the server of which each is there for one session of a client.

Control starts them. The gateway says which it wants, and finds in the route which there are; see
:class:`thv_core.model.route.Route`.
"""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import Callable, Iterable

from thv_core.model.route import Seat

__all__ = ["Seats", "seat_name"]

_DIGITS = 16


def seat_name(incarnation: str, session: str) -> str:
    """Return the name of the seat of a session, which tells nothing of it.

    A restarted gateway comes to the same one; another life of the server has others.
    """
    return hashlib.sha256(f"{incarnation} {session}".encode()).hexdigest()[:_DIGITS]


class Seats:
    """Which seats are wanted, and which there are.

    ``wanted`` is ``None`` until it is known which ones a former gateway wanted. ``on_change`` is called after each
    change of it.
    """

    def __init__(self) -> None:
        self.wanted: tuple[str, ...] | None = None
        self.on_change: Callable[[], None] = _nobody
        self._there: dict[str, Seat] = {}
        self._unclaimed: set[str] = set()
        self._arrival = asyncio.Event()

    def arrange(self, seats: Iterable[Seat], ttl: float) -> None:
        """Take note of the seats that there are.

        :param ttl: seconds after which those are wanted no more whose sessions do not come again.
        """
        self._there = {seat.seat: seat for seat in seats}
        if self.wanted is None:
            self.wanted = tuple(self._there)
            self._unclaimed = set(self.wanted)
            if self._unclaimed:
                asyncio.get_running_loop().call_later(ttl, self._forget_unclaimed)
        self._arrival.set()
        self._arrival = asyncio.Event()

    def want(self, name: str) -> None:
        """Want a seat from now on."""
        self._unclaimed.discard(name)
        if name not in (self.wanted or ()):
            self._settle((*(self.wanted or ()), name))

    def find(self, name: str) -> Seat | None:
        """Return a seat that is there."""
        return self._there.get(name)

    async def news(self) -> None:
        """Wait until there may be other seats."""
        await self._arrival.wait()

    def release(self, name: str) -> None:
        """Want a seat no more."""
        self._unclaimed.discard(name)
        if self.wanted is not None and name in self.wanted:
            self._settle(tuple(each for each in self.wanted if each != name))

    def _forget_unclaimed(self) -> None:
        for name in list(self._unclaimed):
            self.release(name)

    def _settle(self, wanted: tuple[str, ...]) -> None:
        self.wanted = wanted
        self.on_change()


def _nobody() -> None:
    """Tell nobody."""
