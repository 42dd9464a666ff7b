"""Watch the runtimes: what each sees, refreshed on demand and once a second."""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import Awaitable, Callable, Iterable, Sequence
from functools import partial

from thv_core.errors import ThvError
from thv_core.loading.drivers import Drivers
from thv_core.spi.runtimes import Observed, Runtime
from thv_supervisor.control.driver_calls import DriverCalls

__all__ = ["Observatory"]

INTERVAL = 1.0
LIMIT = 30.0
FIRST_LOOK = 5.0

log = logging.getLogger(__name__)


class Observatory:
    """The deployments of every runtime in use, by workload; ``None`` for a runtime that cannot be asked."""

    def __init__(self, drivers: Drivers, calls: DriverCalls, changed: Callable[[str], None]) -> None:
        self._drivers = drivers
        self._calls = calls
        self._changed = changed
        self._seen: dict[str, dict[str, tuple[Observed, ...]] | None] = {}
        self._turns: dict[str, asyncio.Lock] = {}
        self._complaints: dict[str, str] = {}

    def sees(self, runtime: str, workload: str) -> tuple[Observed, ...] | None:
        """Return what a runtime sees of a workload, or ``None`` when the runtime cannot be asked."""
        seen = self._seen.get(runtime)
        return None if seen is None else seen.get(workload, ())

    def workloads(self, runtime: str) -> Iterable[str]:
        """Return the workloads of which a runtime sees anything."""
        return list(self._seen.get(runtime) or {})

    async def first_look(self, runtime: str) -> None:
        """Make sure that a runtime was asked since this process began, if it answers soon."""
        if runtime not in self._seen:
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self.refresh(runtime), FIRST_LOOK)

    async def refresh(self, runtime: str) -> None:
        """Ask a runtime what it sees now."""
        async with self._turns.setdefault(runtime, asyncio.Lock()):
            try:
                observed = await self._calls.run(f"runtime {runtime} observe", LIMIT, partial(self._observed, runtime))
            except ThvError as error:
                self._complain(runtime, error.message)
                self._replace(runtime, None)
            else:
                self._complaints.pop(runtime, None)
                self._replace(runtime, _by_workload(observed))

    async def watch(self, runtimes: Callable[[], Iterable[str]], afterwards: Callable[[str], Awaitable[None]]) -> None:
        """Refresh every runtime in use once a second, for ever; one that hangs delays no other.

        :param afterwards: called with each runtime after it was refreshed.
        """
        looking: dict[str, asyncio.Task[None]] = {}
        async with asyncio.TaskGroup() as group:
            while True:
                idle = [runtime for runtime in runtimes() if runtime not in looking or looking[runtime].done()]
                looking |= {runtime: group.create_task(self._looked(runtime, afterwards)) for runtime in idle}
                await asyncio.sleep(INTERVAL)

    async def _looked(self, runtime: str, afterwards: Callable[[str], Awaitable[None]]) -> None:
        try:
            await self.refresh(runtime)
            await afterwards(runtime)
        except ThvError as error:
            log.warning("looking at runtime %s failed: %s", runtime, error.message)

    def _complain(self, runtime: str, reason: str) -> None:
        """Log why a runtime cannot be asked, once for as long as that lasts."""
        if self._complaints.get(runtime) != reason:
            self._complaints[runtime] = reason
            log.warning("runtime %s cannot be observed: %s", runtime, reason)

    def _observed(self, runtime: str) -> Sequence[Observed]:
        return self._drivers.get(Runtime, runtime).observe()

    def _replace(self, runtime: str, seen: dict[str, tuple[Observed, ...]] | None) -> None:
        before = self._seen.get(runtime) or {}
        self._seen[runtime] = seen
        after = seen or {}
        for workload in before.keys() | after.keys():
            if before.get(workload) != after.get(workload):
                self._changed(workload)


def _by_workload(observed: Sequence[Observed]) -> dict[str, tuple[Observed, ...]]:
    seen: dict[str, tuple[Observed, ...]] = {}
    for each in observed:
        seen[each.deployment.workload] = (*seen.get(each.deployment.workload, ()), each)
    return seen
