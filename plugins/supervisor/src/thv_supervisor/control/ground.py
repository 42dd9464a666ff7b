"""What every keeper of a workload stands on."""

from __future__ import annotations

import logging
import os
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import partial

from thv_core.kernel import Kernel
from thv_core.model.events import WorkloadEvent
from thv_core.model.workload import Workload
from thv_core.spi.observers import WorkloadObserver
from thv_core.state.store import StateStore
from thv_supervisor.control.driver_calls import DriverCalls
from thv_supervisor.control.gateway_link import GatewayLink
from thv_supervisor.control.network_link import NetworkLink
from thv_supervisor.control.observing import Observatory

__all__ = ["Ground", "ShellValues"]

log = logging.getLogger(__name__)


class ShellValues:
    """Values that came from callers' shells, by workload: in memory only, never shown."""

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
        """Forget the values for one workload."""
        self._values.pop(workload, None)

    def all(self) -> dict[str, dict[str, str]]:
        """Return everything, for a successor of this process."""
        return {workload: dict(values) for workload, values in self._values.items()}


@dataclass(frozen=True)
class Ground:
    """The state, the drivers, the runtimes' eyes, the gateway's ear, and the environment of this process.

    ``jobs`` are the names under which packages are being prepared now; no workload accounts for those.
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
    environment: Mapping[str, str] = field(default_factory=lambda: dict(os.environ), repr=False)
    jobs: set[str] = field(default_factory=set[str])

    async def announce(self, workload: Workload) -> None:
        """Tell every observer that a workload changed its status; one that fails changes nothing."""
        event = WorkloadEvent(
            workload=workload.name,
            status=workload.status,
            reason=workload.reason,
            generation=workload.generation,
            at=self.clock(),
        )
        for plugin, observer in self.observers:
            try:
                await self.calls.run(f"observer {plugin}", 10.0, partial(observer.on_workload, event))
            except Exception:
                log.exception("observer %s failed", plugin)
