"""Find out that a server which was ready answers no more: ping it when it is silent, and count what it misses."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from typing import Protocol

from thv_core.model.route import Liveness
from thv_gateway.client.connection import Broken
from thv_gateway.client.pool import Busy
from thv_gateway.servers.check import Check

__all__ = ["Heartbeat", "Pinged"]

_SHORTEST_PAUSE = 0.01


class Pinged(Protocol):
    """A server as its heartbeat sees it."""

    @property
    def heard(self) -> float:
        """When it last said anything, on the clock of the event loop."""
        ...

    @property
    def at_work(self) -> bool:
        """Whether a call of a client is in flight to it."""
        ...

    async def ping(self) -> None:
        """Return as soon as it has answered a ping, whatever it answered.

        :raises OSError: when no connection to it can be made; also ``Broken`` and ``Busy``.
        """
        ...


class Heartbeat:
    """Watches one server with one timer, whatever it is asked meanwhile.

    ``notes`` says what its user should know: that it is too much at work to answer. ``checked`` is the last ping that
    it answered.

    :param name: of the workload, for the reason.
    :param patience: seconds after which a call is given up. Work excuses silence no longer than a call lasts that came
        before the silence was too long, so that one client's trying again and again hides nothing.
    :param changed: called when ``notes`` have changed.
    """

    def __init__(
        self, name: str, terms: Liveness, server: Pinged, patience: float, changed: Callable[[], None]
    ) -> None:
        self.notes: tuple[str, ...] = ()
        self.checked: Check | None = None
        self._name = name
        self._terms = terms
        self._server = server
        self._longest = patience + terms.interval * (terms.failures + 1)
        self._changed = changed
        self._clock = asyncio.get_running_loop().time

    async def lost(self) -> str:
        """Return, once the server has missed too many pings in a row, a sentence that says so."""
        began = since = self._clock()
        missed = 0
        while True:
            heard = max(began, self._server.heard)
            if heard > since:
                since, missed = heard, 0
                self._note()
            if missed >= self._terms.failures and not self._excused(since):
                silent = self._clock() - since
                return f"{self._name} answers no ping: it has said nothing for {silent:.0f} s"
            due = since + self._terms.interval * (missed + 1) - self._clock()
            await asyncio.sleep(max(due, _SHORTEST_PAUSE))
            if self._server.heard <= since:
                missed += not await self._answers()

    async def _answers(self) -> bool:
        asked = self._clock()
        try:
            async with asyncio.timeout(self._terms.timeout):
                await self._server.ping()
        except (Broken, Busy, OSError, TimeoutError):
            # A late answer to an earlier ping, or to a call, is a sign of life as well.
            return self._server.heard > asked
        self.checked = Check(time.time(), (self._clock() - asked) * 1000)
        return True

    def _excused(self, since: float) -> bool:
        excused = self._server.at_work and self._clock() - since < self._longest
        self._note(*[f"{self._name} answers no ping while it works on a call"] * excused)
        return excused

    def _note(self, *notes: str) -> None:
        if notes != self.notes:
            self.notes = notes
            self._changed()
