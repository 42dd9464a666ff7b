"""One workload as its keeper handles it: its record, its story, its route, and what is seen of it."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from typing import Any

import msgspec

from thv_core.errors import StateUnusable
from thv_core.model.events import Progress
from thv_core.model.route import Liveness, Route
from thv_core.model.workload import Workload
from thv_core.services.reconciling import Situation
from thv_core.services.routing import Terms, routed
from thv_core.services.serving import request_timeout
from thv_core.spi.runtimes import Runtime
from thv_supervisor.control.feed import WorkloadProgress
from thv_supervisor.control.ground import Ground
from thv_supervisor.control.header_values import current_values
from thv_supervisor.control.progressing import Happenings

__all__ = ["IDLE", "STOP_GRACE", "Tended", "Unrecorded"]

IDLE = 30.0
"""Seconds after which a keeper looks again though nothing told it to."""

STOP_GRACE = 5.0


class Unrecorded(Exception):
    """What was to be done could not be recorded, so it was not done; it is tried again."""


class Tended:
    """What the acts of one keeper have in common.

    ``grace`` is how many seconds a life of it gets to end by itself, from now on; ``regraced`` tells that it changed.
    ``unheard`` is for steps that are nobody's story.
    """

    def __init__(self, name: str, ground: Ground, wake: Callable[[], None]) -> None:
        self.name = name
        self.ground = ground
        self.wake = wake
        self.happenings = Happenings(self.announce)
        self.unheard = Happenings()
        self.grace = STOP_GRACE
        self.regraced = asyncio.Event()

    @property
    def request_timeout(self) -> float:
        """Seconds that a call to it may take."""
        return request_timeout(self.workload().config, self.ground.kernel.configuration.request_timeout)

    @property
    def start_timeout(self) -> float:
        """Seconds that a start may take."""
        return self.ground.kernel.configuration.start_timeout

    def now(self) -> float:
        """Return the seconds of the clock that never jumps."""
        return self.ground.monotonic()

    def workload(self) -> Workload:
        """Return the workload as it is recorded."""
        return self.ground.store.get(self.name)

    def situation(self) -> Situation | None:
        """Return everything that is known, or ``None`` while its runtime cannot be asked."""
        workload = self.workload()
        observed = self.ground.observatory.sees(workload.config.runtime, self.name)
        if observed is None:
            return None
        link = self.ground.link
        return Situation(workload, observed, link.reports(self.name), link.route(self.name))

    def give(self, grace: float) -> None:
        """Let lives that end have so many seconds from now on, one that is ending among them."""
        self.grace = grace
        self.regraced.set()

    def new_generation(self) -> int:
        """Return the number of another life.

        :raises Unrecorded: when that cannot be recorded.
        """
        try:
            return self.ground.store.next_generation()
        except StateUnusable as error:
            raise Unrecorded(f"{self.name}: {error.message}: {'; '.join(error.evidence)}") from error

    def record(self, change: Callable[[Workload], Workload]) -> Callable[[], Coroutine[Any, Any, None]]:
        """Record a change at once, and return what then tells everybody of another status.

        :raises Unrecorded: when it cannot be recorded; nothing is changed then.
        """
        before = self.workload()
        after = change(before)
        if after != before:
            try:
                self.ground.store.replace(after)
            except StateUnusable as error:
                raise Unrecorded(f"{self.name}: {error.message}: {'; '.join(error.evidence)}") from error

        async def tell() -> None:
            if after.status is not before.status:
                await self.ground.announce(after)

        return tell

    async def update(self, change: Callable[[Workload], Workload]) -> None:
        """Record a change and tell everybody of another status; something else may be wanted before that is done.

        :raises Unrecorded: as :meth:`record`.
        """
        await self.record(change)()

    async def publish(self, situation: Situation) -> None:
        """Let the snapshot have the route that the situation calls for, and the gateway what its headers need.

        :raises HeaderSecretGone: when a secret of its headers is missing.
        """
        route = routed(situation, self._terms())
        values = await current_values(situation.workload, self.ground) if route is not None else {}
        if values is not None:
            await self.ground.link.give(self.name, values)
        await self.ground.link.publish(self.name, route)

    async def release(self) -> None:
        """Let requests that wait go on, as long as nothing else is known."""
        route: Route | None = self.ground.link.route(self.name)
        if route is not None and route.hold:
            await self.ground.link.publish(self.name, msgspec.structs.replace(route, hold=False))

    def runtime(self) -> Runtime:
        """Return the runtime; called in a worker thread, because importing it may take a while."""
        return self.ground.kernel.drivers.get(Runtime, self.workload().config.runtime)

    def announce(self, progress: Progress) -> None:
        """Tell whoever listens to the feed; whoever waits for a start or a change is told by ``happenings``."""
        self.ground.feed.tell(WorkloadProgress(workload=self.name, progress=progress))

    def _terms(self) -> Terms:
        health = self.ground.kernel.configuration.health
        return Terms(
            log=str(self.ground.kernel.paths.proxy_log(self.name)),
            start_timeout=self.start_timeout,
            request_timeout=self.ground.kernel.configuration.request_timeout,
            liveness=Liveness(interval=health.interval, timeout=health.timeout, failures=health.failures),
        )
