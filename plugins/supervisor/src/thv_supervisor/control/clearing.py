"""End the lives of a workload that are not wanted any more, and forget what has ended."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from functools import partial

from thv_core.errors import StateUnusable
from thv_core.model.events import Progress
from thv_core.model.plan import Deployment
from thv_core.services.reconciling import Situation, Step
from thv_core.services.swapping import grace_of
from thv_supervisor.control.tended import Tended, Unrecorded

__all__ = ["Clearing"]

LIMIT = 70.0
"""Seconds that a runtime may take beyond the grace that it gives."""

PATIENT = 30.0
"""A grace beyond it waits in threads of its own, so that it keeps no other server from ending."""


class Clearing:
    """The acts that end and forget lives of one workload."""

    def __init__(self, tended: Tended) -> None:
        self._tended = tended

    async def stop(self, situation: Situation, step: Step) -> float:
        """End a life, within the grace that is given now, or within a shorter one that is given meanwhile."""
        assert step.deployment is not None  # noqa: S101 - a stop always names what it stops
        runtime = situation.workload.config.runtime
        grace = grace_of(situation.workload, self._tended.grace)
        self._tended.regraced.clear()
        # Pools of their own: a server that takes its time to end keeps no other from starting, or from ending.
        pool = f"runtime {runtime} {'patience' if grace > PATIENT else 'end'}"
        ending = asyncio.create_task(self._end(pool, step.deployment, grace))
        try:
            while not await self._ended(ending):
                if self._tended.grace < grace:
                    grace = self._tended.grace
                    await self._end(f"runtime {runtime} haste", step.deployment, grace)
            await ending
        finally:
            ending.cancel()
        await self._tended.ground.observatory.refresh(runtime)
        return 0.0

    async def remove(self, situation: Situation, step: Step) -> float:
        """Forget a life, its files and its log."""
        assert step.deployment is not None  # noqa: S101 - a removal always names what it removes
        runtime = situation.workload.config.runtime
        deployment = step.deployment
        await self._call(f"runtime {runtime} end", LIMIT, lambda: self._tended.runtime().remove(deployment))
        await self._tended.ground.observatory.refresh(runtime)
        return 0.0

    async def forget(self, situation: Situation, step: Step) -> float:
        """Forget the workload; its files go first, because nobody would look for them afterwards."""
        ground, name = self._tended.ground, self._tended.name
        ground.kernel.paths.proxy_log(name).unlink(missing_ok=True)
        await ground.link.connect(name, ())
        ground.network.forget(name)
        try:
            ground.store.remove(name)
        except StateUnusable as error:
            raise Unrecorded(f"{name}: {error.message}") from error
        ground.shell_values.forget(name)
        self._tended.announce(Progress(step="removed", text="nothing is left of it"))
        return 0.0

    async def _ended(self, ending: asyncio.Task[None]) -> bool:
        """Wait for the end of a life or another grace; tell whether it was the end."""
        regraced = asyncio.create_task(self._tended.regraced.wait())
        try:
            await asyncio.wait({ending, regraced}, return_when=asyncio.FIRST_COMPLETED)
        finally:
            regraced.cancel()
            self._tended.regraced.clear()
        return ending.done()

    async def _end(self, pool: str, deployment: Deployment, grace: float) -> None:
        await self._call(pool, grace + LIMIT, partial(self._stop, deployment, grace))

    def _stop(self, deployment: Deployment, grace: float) -> None:
        self._tended.runtime().stop(deployment, grace)

    async def _call(self, pool: str, limit: float, call: Callable[[], None]) -> None:
        await self._tended.ground.calls.run(pool, limit, call)
