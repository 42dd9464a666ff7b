"""What every keeper of a workload stands on."""

from __future__ import annotations

import logging
import os
import time
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from functools import partial

from thv_core.kernel import Kernel
from thv_core.model.events import WorkloadEvent
from thv_core.model.workload import Workload
from thv_core.spi.observers import WorkloadObserver
from thv_core.state.store import StateStore
from thv_supervisor.control.driver_calls import DriverCalls
from thv_supervisor.control.feed import Feed
from thv_supervisor.control.gateway_link import GatewayLink
from thv_supervisor.control.network_link import NetworkLink
from thv_supervisor.control.observing import Observatory

__all__ = ["Ground", "ShellValues"]

log = logging.getLogger(__name__)


_CHANGE = " (changed)"
"""Behind the name of a workload, which has no space: the values for the change of it."""


class ShellValues:
    """Values that came from callers' shells, by workload: in memory only, never shown.

    A change of a workload has values of its own until it is made, because it may be rolled back.
    """

    def __init__(self, values: Mapping[str, Mapping[str, str]]) -> None:
        self._values = {workload: dict(each) for workload, each in values.items()}

    def of(self, workload: str) -> Mapping[str, str]:
        """Return the values for one workload by the names of its secrets."""
        return self._values.get(workload, {})

    def keep(self, workload: str, values: Mapping[str, str]) -> None:
        """Keep the values for one workload."""
        if values:
            self._values[workload] = dict(values)

    def forget(self, workload: str) -> None:
        """Forget the values for one workload, and for its change."""
        self._values.pop(workload, None)
        self.forget_change(workload)

    def of_change(self, workload: str) -> Mapping[str, str]:
        """Return the values for the change of a workload; what it does not bring is taken from those that are kept."""
        return {**self.of(workload), **self.of(workload + _CHANGE)}

    def keep_change(self, workload: str, values: Mapping[str, str]) -> None:
        """Keep the values for the change of one workload."""
        self.keep(workload + _CHANGE, values)

    def adopt_change(self, workload: str) -> None:
        """Let the values for the change of a workload be those for the workload: the change is made."""
        self.keep(workload, self.of_change(workload))
        self.forget_change(workload)

    def forget_change(self, workload: str) -> None:
        """Forget the values for the change of one workload."""
        self._values.pop(workload + _CHANGE, None)

    def retain(self, workloads: Iterable[str]) -> None:
        """Forget the values of every workload that is not among those named."""
        known = {name for each in workloads for name in (each, each + _CHANGE)}
        self._values = {name: values for name, values in self._values.items() if name in known}

    def all(self) -> dict[str, dict[str, str]]:
        """Return everything, for a successor of this process."""
        return {workload: dict(values) for workload, values in self._values.items()}


@dataclass(frozen=True)
class Ground:
    """The state, the drivers, the runtimes' eyes, the gateway's ear, and the environment of this process.

    ``jobs`` are the names under which packages are being prepared now; no workload accounts for those. ``clock`` is the
    time of day, for what people read; ``monotonic`` never jumps, and everything that waits waits by it.
    """

    kernel: Kernel
    store: StateStore
    calls: DriverCalls
    observatory: Observatory
    link: GatewayLink
    network: NetworkLink
    shell_values: ShellValues
    observers: tuple[tuple[str, WorkloadObserver], ...] = ()
    clock: Callable[[], float] = field(default=time.time)
    monotonic: Callable[[], float] = field(default=time.monotonic)
    feed: Feed = field(default_factory=Feed)
    environment: Mapping[str, str] = field(default_factory=lambda: dict(os.environ), repr=False)
    jobs: set[str] = field(default_factory=set[str])

    def tell(self, workload: Workload) -> WorkloadEvent:
        """Tell whoever listens to the feed which status a workload has; return what was told."""
        event = WorkloadEvent(
            workload=workload.name,
            status=workload.status,
            reason=workload.reason,
            generation=workload.generation,
            at=self.clock(),
        )
        self.feed.tell(event)
        return event

    async def announce(self, workload: Workload) -> None:
        """Tell everybody that a workload changed its status; an observer that fails changes nothing."""
        event = self.tell(workload)
        for plugin, observer in self.observers:
            try:
                await self.calls.run(f"observer {plugin}", 10.0, partial(observer.on_workload, event))
            except Exception:
                log.exception("observer %s failed", plugin)
