"""Keep the network of running servers connected: in the snapshot, and by sockets that are made anew if lost."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable

from thv_core.errors import ThvError
from thv_core.model.workload import Workload
from thv_core.services.reconciling import Situation, current, is_running, successor_life
from thv_core.services.routing import outlets
from thv_core.spi.runtimes import Observed, Runtime
from thv_supervisor.control.connecting import connecting
from thv_supervisor.control.ground import Ground
from thv_supervisor.control.starting import birth, birth_of_successor, outward_of

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
        """Let the snapshot name the running lives, close what belonged to others, and connect again who lost theirs."""
        name = situation.workload.name
        named = self._ground.link.outlets(name)
        wanted = outlets(situation, named)
        if wanted or named:
            await self._ground.link.connect(name, wanted)
            self._ground.network.forget(name, but=wanted)
        lacking = [each for each in self._lives(situation) if self._ground.network.lacks(each.deployment.label)]
        if not lacking:
            self._failures, self._due, self._failure = 0, 0.0, ""
        elif is_running(lacking[0]) and asyncio.get_running_loop().time() >= self._due:
            await self._connect(situation.workload, lacking[0])

    @staticmethod
    def _lives(situation: Situation) -> list[Observed]:
        """Return the lives of which the configuration is known: one that retires lost its calls with its sockets."""
        return [each for each in (current(situation), successor_life(situation)) if each is not None]

    async def _connect(self, workload: Workload, mine: Observed) -> None:
        name = workload.config.runtime
        is_next = mine.deployment.generation != workload.generation
        born = birth_of_successor(workload, self._ground) if is_next else birth(workload, self._ground)
        try:
            outward = await outward_of(born, self._ground)

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
