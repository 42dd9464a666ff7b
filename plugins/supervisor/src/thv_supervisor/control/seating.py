"""Start and end the processes that single client sessions have for themselves."""

from __future__ import annotations

import asyncio
import logging
from functools import partial

from thv_core.errors import NotFound, ThvError
from thv_core.model.plan import Deployment
from thv_core.model.workload import Workload
from thv_core.services.reconciling import Act, Situation, Step, life_of
from thv_core.services.seating import seated, surplus, unseated
from thv_supervisor.control.clearing import Clearing
from thv_supervisor.control.starting import Birth, start
from thv_supervisor.control.tended import Tended, Unrecorded

__all__ = ["Seating"]

SLOWEST = 30.0

log = logging.getLogger(__name__)


class Seating:
    """The acts about seats of one workload; after a start that failed the next one waits.

    Seats start beside everything else: one that takes long keeps neither the others waiting, nor the workload.
    """

    def __init__(self, tended: Tended, clearing: Clearing) -> None:
        self._tended = tended
        self._clearing = clearing
        self._starts: dict[int, asyncio.Task[None]] = {}
        self._failures = 0
        self._retry_at = 0.0

    @property
    def under_way(self) -> frozenset[int]:
        """The generations of the seats that are being started."""
        return frozenset(self._starts)

    async def seat(self, situation: Situation, step: Step) -> float:
        """Record a seat that is wanted, or start one that is recorded."""
        pause = self._retry_at - self._tended.now()
        if pause > 0:
            return pause
        if step.deployment is None:
            generation = self._tended.new_generation()
            await self._tended.update(lambda workload: seated(workload, step.reason, generation))
            return 0.0
        generation = step.deployment.generation
        task = asyncio.create_task(self._started(situation.workload, step.deployment), name=f"seat {generation}")
        self._starts[generation] = task
        task.add_done_callback(lambda _: self._over(generation))
        return 0.0

    async def unseat(self, situation: Situation, step: Step) -> float:
        """End the seats that are over, all at once, and forget them, their logs with them."""
        ends = [self._ended(situation, each) for each in surplus(situation)]
        for met in await asyncio.gather(*ends, return_exceptions=True):
            if met is not None:
                raise met
        return 0.0

    async def _ended(self, situation: Situation, deployment: Deployment) -> None:
        if life_of(situation, deployment) is not None:
            await self._clearing.stop(situation, Step(Act.STOP, deployment))
            await self._clearing.remove(situation, Step(Act.REMOVE, deployment))
        await self._forget(deployment)

    def _over(self, generation: int) -> None:
        del self._starts[generation]
        self._tended.wake()

    async def _started(self, workload: Workload, deployment: Deployment) -> None:
        ground = self._tended.ground
        birth = Birth(workload.config, deployment.generation, ground.shell_values.of(workload.name))
        try:
            await start(birth, ground, self._tended.unheard)
            self._failures = 0
        except ThvError as error:
            log.warning("a client of %s got no process of its own: %s", workload.name, error.message)
            await self._failed(deployment)
        except Exception:
            log.exception("a client of %s got no process of its own", workload.name)
            await self._failed(deployment)
        await ground.observatory.refresh(workload.config.runtime)

    async def _failed(self, deployment: Deployment) -> None:
        self._failures += 1
        self._retry_at = self._tended.now() + min(2.0 ** (self._failures - 1), SLOWEST)
        try:
            await self._forget(deployment)
        except (NotFound, Unrecorded) as error:
            # It stays recorded, and is tried again or ended like any other.
            log.warning("%s: %s", deployment.label, error)

    async def _forget(self, deployment: Deployment) -> None:
        await self._tended.update(partial(unseated, generation=deployment.generation))
