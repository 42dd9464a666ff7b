"""Where the requests of one workload find the life of its server that answers them, and wait while there is none."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

from thv_core.model.route import RouteState
from thv_core.spi.middleware import Reply
from thv_gateway.messages.answers import INTERNAL_ERROR, refusal
from thv_gateway.servers.upstream import Endpoint, start_of
from thv_gateway.stages.chain import Arrival

__all__ = ["HOLD_SECONDS", "MAX_WAITING", "RETRY", "Reception"]

HOLD_SECONDS = 10.0
"""How long a request waits for a server that is starting or exchanged, or for a gateway that has just come back."""

MAX_WAITING = 1024
"""So many requests wait at once; each occupies a connection."""

RETRY = ((b"retry-after", b"1"),)


class _Waiter:
    """One request that waits: ``news`` is set when something has changed, ``gone`` when its client went away."""

    __slots__ = ("gone", "news")

    def __init__(self) -> None:
        self.gone = False
        self.news = asyncio.Event()

    def leave(self) -> None:
        """Note that the client went away."""
        self.gone = True
        self.news.set()


class Reception:
    """Knows the current life of one workload's server, and those that finish their calls.

    ``is_open`` tells that a request of a session which the server knows can go straight to ``current``, and
    ``start`` is that one's; see :data:`thv_gateway.servers.upstream.Start`.
    """

    def __init__(self, workload: str, current: Endpoint) -> None:
        self.current = current
        self.start = start_of(current)
        self.is_open = False
        self._workload = workload
        self._former: Sequence[Endpoint] = ()
        self._held = False
        self._over = ""
        self._seen: object = None
        self._waiters: dict[_Waiter, None] = {}

    def arrange(self, current: Endpoint, former: Sequence[Endpoint], *, held: bool) -> None:
        """Switch to another arrangement of lives; whoever waits looks again."""
        self.current, self._former, self._held = current, former, held
        self.start = start_of(current)
        self.stir()

    def stir(self) -> None:
        """Take note that a life has changed its state."""
        state = self.current.link.state
        self.is_open = state is RouteState.READY and not (self._held or self._former or self._over)
        before, self._seen = self._seen, (self.current, state, self._held, self._over)
        if before != self._seen:
            for waiter in self._waiters:
                waiter.news.set()

    def abandon(self, reason: str) -> None:
        """Refuse whoever waits, from now on."""
        self._over = reason
        self.stir()

    async def place(self, arrival: Arrival) -> Endpoint | Reply:
        """Return where a request is to be answered, at once, or why it cannot be.

        It waits for :data:`HOLD_SECONDS` at most. Nothing of it was sent to a server when this returns.
        """
        ends = 0.0
        while True:
            owner = self._owner(arrival)
            if owner is not None:
                return owner
            endpoint = self.current
            if self._is_blocked:
                ends = ends or asyncio.get_running_loop().time() + HOLD_SECONDS
                refused = await self._wait(arrival, ends)
            elif endpoint.link.state is not RouteState.READY:
                return self._unavailable(arrival)
            elif endpoint.knows(arrival):
                return endpoint
            else:
                refused = await endpoint.introduce(arrival)
                # What a life says that was left meanwhile is no longer the question.
                if endpoint is not self.current or self._is_blocked:
                    continue
            if refused is not None:
                return refused

    @property
    def _is_blocked(self) -> bool:
        return self._held or bool(self._over) or self.current.link.state is RouteState.STARTING

    def _owner(self, arrival: Arrival) -> Endpoint | None:
        for each in (*self._former, self.current):
            if each.owns(arrival):
                return each
        return None if self.current.needs_server(arrival) else self.current

    async def _wait(self, arrival: Arrival, ends: float) -> Reply | None:
        """Wait for any change; a reply ends the waiting for good."""
        if self._over or len(self._waiters) >= MAX_WAITING:
            return self._refused(arrival, "busy", self._over or "Too many requests wait for the server")
        waiter = _Waiter()
        self._waiters[waiter] = None
        forget = arrival.peer.on_gone(waiter.leave)
        try:
            async with asyncio.timeout_at(ends):
                await waiter.news.wait()
        except TimeoutError:
            return self._unavailable(arrival)
        finally:
            del self._waiters[waiter]
            forget()
        return self._refused(arrival, "cancelled", "The client went away") if waiter.gone else None

    def _unavailable(self, arrival: Arrival) -> Reply:
        verb = "exchanged" if self._held else "starting"
        reason = "" if self._held else self.current.link.reason
        return self._refused(arrival, "unavailable", reason or f"{self._workload} is {verb}")

    def _refused(self, arrival: Arrival, fault: str, text: str) -> Reply:
        arrival.fault = fault
        return refusal(503, INTERNAL_ERROR, text, arrival.identifier, RETRY)
