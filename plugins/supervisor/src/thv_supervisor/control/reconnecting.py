"""Keep the network of running servers connected: in the snapshot, and by sockets that are made anew if lost."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable

from thv_core.errors import ThvError
from thv_core.model.workload import Workload
from thv_core.services.reconciling import Situation, current
from thv_core.spi.runtimes import Observed, ObservedState, Runtime
from thv_supervisor.control.connecting import connecting
from thv_supervisor.control.ground import Ground
from thv_supervisor.control.starting import outward_of

__all__ = ["Reconnection"]

MAKE_LIMIT = 60.0
SLOWEST = 30.0

log = logging.getLogger(__name__)


class Reconnection:
    """What one keeper does for the sockets of its workload; a failure never ends the server, it is tried again.

    :param wake: called when it is time for another attempt.
    """

    def __init__(self, ground: Ground, wake: Callable[[], None]) -> None:
        self._ground = ground
        self._wake = wake
        self._failures = 0
        self._due = 0.0
        self._failure = ""

    def note(self, incarnation: str) -> str:
        """Say what is wrong with the network of a deployment, or nothing."""
        refusal = self._ground.network.refusal(incarnation)
        return f"the gateway refuses its network: {refusal}" if refusal else self._failure

    async def keep(self, situation: Situation) -> None:
        """Let the snapshot name the running lives, close what belonged to others, and connect the current one again."""
        workload = situation.workload
        running = {each.deployment.label for each in situation.observed if each.state is ObservedState.RUNNING}
        if _needs_outlet(workload):
            await self._ground.link.connect(workload.name, running)
            self._ground.network.forget(workload.name, but=running)
        mine = current(situation)
        if mine is None or not self._ground.network.lacks(mine.deployment.label):
            self._failures, self._due, self._failure = 0, 0.0, ""
        elif mine.deployment.label in running and asyncio.get_running_loop().time() >= self._due:
            await self._connect(workload, mine)

    async def _connect(self, workload: Workload, mine: Observed) -> None:
        name = workload.config.runtime
        try:
            outward = await outward_of(workload, self._ground)

            def again() -> None:
                runtime = self._ground.kernel.drivers.get(Runtime, name)
                with connecting(outward, self._ground.network.hand) as connect:
                    connect(runtime.namespace(mine.deployment))

            await self._ground.calls.run(f"runtime {name}", MAKE_LIMIT, again)
            self._failures, self._failure = 0, ""
        except ThvError as error:
            self._failed(mine, error)

    def _failed(self, mine: Observed, error: ThvError) -> None:
        log.warning("%s is not connected: %s", mine.deployment.label, error.message)
        self._failure = f"its network is not connected: {error.message}"
        pause = min(2.0**self._failures, SLOWEST)
        self._failures += 1
        loop = asyncio.get_running_loop()
        self._due = loop.time() + pause
        loop.call_later(pause, self._wake)


def _needs_outlet(workload: Workload) -> bool:
    return workload.config.permission_profile.network.reaches_out or bool(workload.config.target_port)
