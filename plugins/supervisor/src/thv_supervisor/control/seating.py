"""Start and end the processes that single client sessions have for themselves."""

from __future__ import annotations

import logging
from functools import partial

from thv_core.errors import ThvError
from thv_core.model.plan import Deployment
from thv_core.services.reconciling import Situation, Step, life_of
from thv_core.services.seating import seated, unseated
from thv_supervisor.control.clearing import Clearing
from thv_supervisor.control.starting import Birth, start
from thv_supervisor.control.tended import Tended

__all__ = ["Seating"]

SLOWEST = 30.0

log = logging.getLogger(__name__)


class Seating:
    """The acts about seats of one workload; after a start that failed the next one waits."""

    def __init__(self, tended: Tended, clearing: Clearing) -> None:
        self._tended = tended
        self._clearing = clearing
        self._failures = 0
        self._retry_at = 0.0

    async def seat(self, situation: Situation, step: Step) -> float:
        """Record a seat that is wanted, or start one that is recorded."""
        pause = self._retry_at - self._tended.now()
        if pause > 0:
            return pause
        if step.deployment is None:
            generation = self._tended.new_generation()
            await self._tended.update(lambda workload: seated(workload, step.reason, generation))
            return 0.0
        return await self._started(situation, step.deployment)

    async def unseat(self, situation: Situation, step: Step) -> float:
        """End a seat and forget it, its log with it."""
        assert step.deployment is not None  # noqa: S101 - such a step always names the life that it ends
        if life_of(situation, step.deployment) is not None:
            await self._clearing.stop(situation, step)
            await self._clearing.remove(situation, step)
        await self._tended.update(partial(unseated, generation=step.deployment.generation))
        return 0.0

    async def _started(self, situation: Situation, deployment: Deployment) -> float:
        workload, ground = situation.workload, self._tended.ground
        birth = Birth(workload.config, deployment.generation, ground.shell_values.of(workload.name))
        try:
            await start(birth, ground, self._tended.unheard)
        except ThvError as error:
            log.warning("a client of %s got no process of its own: %s", workload.name, error.message)
            self._failures += 1
            self._retry_at = self._tended.now() + min(2.0 ** (self._failures - 1), SLOWEST)
            await self._tended.update(partial(unseated, generation=deployment.generation))
            return 0.0
        self._failures = 0
        await ground.observatory.refresh(workload.config.runtime)
        return 0.0
