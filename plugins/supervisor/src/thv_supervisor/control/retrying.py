"""What follows when a life of a workload fails: another one, later each time, until the workload is given up."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable

import msgspec

from thv_core.errors import PortUnavailable, StartFailed, ThvError, error_from_document
from thv_core.model.status import Desired, Status
from thv_core.model.workload import Workload
from thv_core.services.reconciling import Act, Situation, Step, is_running, life_of, next_step
from thv_core.services.resolving_secrets import ShellValueLost
from thv_core.services.transitions import became, to_remove, to_start
from thv_supervisor.control.header_values import HeaderSecretGone
from thv_supervisor.control.starting import last_lines
from thv_supervisor.control.tended import IDLE, Tended

__all__ = ["RECALL", "Retrying", "exit_behind", "explained"]

STABLE = 30.0
"""Seconds of readiness after which earlier failures count no more."""

MOST_FAILURES = 10
SLOWEST = 60.0
LEFT = "Nothing was left behind."
EXIT_LOOKS = 5
EXIT_PAUSE = 0.05
RECALL = 15.0
"""Seconds in which the caller of an interrupted ``thv run`` comes back with the values that were lost."""

log = logging.getLogger(__name__)


class Retrying:
    """The failures of one workload and what they lead to."""

    def __init__(self, tended: Tended) -> None:
        self.repick: Callable[[], int] | None = None
        """Chooses another port, once, in the first start of a workload that asked for none in particular."""
        self._tended = tended
        self._failures = 0
        self._retry_at = 0.0
        self._ready_since: float | None = None
        self._born = tended.now()

    def forgive(self) -> None:
        """Forget earlier failures."""
        self._failures = 0
        self._retry_at = 0.0

    def pause(self) -> float:
        """Return the seconds until another life may start."""
        return self._retry_at - self._tended.now()

    def is_ready(self) -> None:
        """Note that the current life is ready; one that is for long enough makes up for earlier failures."""
        if self._ready_since is None:
            self._ready_since = self._tended.now()
        self._forgive_if_stable()

    def is_recalled(self, error: ThvError) -> bool:
        """Tell whether a value is lost that the caller of an interrupted request may be about to bring again."""
        return isinstance(error, ShellValueLost) and self._tended.now() - self._born < RECALL

    async def fail(self, situation: Situation, step: Step) -> float:
        """Note that a life did not become ready, or is gone."""
        if step.code == PortUnavailable.code and self.repick is not None:
            repick, self.repick = self.repick, None
            return await self._move(repick())
        step = await exit_behind(step, self._tended)
        evidence: list[str] = []
        if step.deployment is not None:
            evidence = await last_lines(situation.workload.config.runtime, step.deployment, self._tended.ground)
        return await self.failed(explained(step, evidence), situation.workload)

    async def hung(self, situation: Situation, step: Step) -> float:
        """Note that a server answers no more: it is unhealthy, and then another life takes its place."""
        await self.ails(explained(step, []))
        return await self.fail(situation, step)

    async def unhealthy(self, situation: Situation, step: Step) -> float:
        """Note what ails a server that no other life would help."""
        return await self.ails(explained(step, []))

    async def ails(self, error: ThvError) -> float:
        """Record that a server is unhealthy, once."""
        if self._tended.workload().status is not Status.UNHEALTHY:
            await self._tended.update(lambda workload: became(workload, Status.UNHEALTHY, error.message))
            self._tended.happenings.tell(error)
        return IDLE

    async def missing(self, before: Workload) -> float:
        """Note that a server which was ready is not there any more, and that nothing is left to say why."""
        name = self._tended.name
        return await self._again(StartFailed(f"{name} is gone: its runtime does not know it any more"), before)

    async def failed(self, error: ThvError, before: Workload) -> float:
        """End a first start, or go on to another life; nothing of that if something else is wanted meanwhile.

        :param before: the workload as it was when it failed.
        """
        workload = self._tended.workload()
        if workload.desired is not Desired.RUNNING:
            log.warning("%s: %s", self._tended.name, error.message)
            return 1.0
        if not _is_same(workload, before):
            return 0.0
        if workload.provisional and self.is_recalled(error):
            return 1.0
        self._tended.happenings.tell(error)
        if workload.provisional:
            await self._tended.update(to_remove)
            return 0.0
        return await self._again(error, before)

    async def _again(self, error: ThvError, before: Workload) -> float:
        self._forgive_if_stable()
        failures = self._failures + 1
        given_up = failures > MOST_FAILURES or isinstance(error, ShellValueLost | HeaderSecretGone)
        generation = self._tended.new_generation()
        if not _is_same(self._tended.workload(), before):
            return 0.0

        def change(workload: Workload) -> Workload:
            begun = to_start(workload, generation)
            again = msgspec.structs.replace(begun, restarts=workload.restarts + 1, reason=error.message)
            return became(again, Status.ERROR, error.message) if given_up else again

        tell = self._tended.record(change)
        self._failures, self._ready_since = failures, None
        self._retry_at = self._tended.now() + min(2.0 ** (failures - 1), SLOWEST)
        await tell()
        return 0.0

    async def _move(self, port: int) -> float:
        def moved(workload: Workload) -> Workload:
            config = msgspec.structs.replace(workload.config, port=port)
            return msgspec.structs.replace(workload, config=config)

        await self._tended.update(moved)
        return 0.0

    def _forgive_if_stable(self) -> None:
        if self._ready_since is not None and self._tended.now() - self._ready_since > STABLE:
            self._failures = 0


def _is_same(workload: Workload, before: Workload) -> bool:
    """Tell whether the life that failed is still the one that is wanted, and is not being changed."""
    return workload.generation == before.generation and workload.successor is None


async def exit_behind(step: Step, tended: Tended) -> Step:
    """Return the exit that explains the failure of a life, if there is one: the gateway may notice before the runtime.

    :param step: which names the life, and the failure as the gateway told it.
    """
    for _ in range(EXIT_LOOKS):
        await tended.ground.observatory.refresh(tended.workload().config.runtime)
        situation = tended.situation()
        life = life_of(situation, step.deployment) if situation and step.deployment else None
        if situation is None or life is None or not is_running(life):
            found = next_step(situation) if situation and life else step
            return found if found.act in (Act.FAILED, Act.ROLL_BACK) else step
        await asyncio.sleep(EXIT_PAUSE)
    return step


def explained(step: Step, evidence: list[str]) -> ThvError:
    """Return the error that a step amounts to, with the last lines of the server."""
    lines = ["its last lines:", *(f"  {line}" for line in evidence)] if evidence else []
    return error_from_document({"code": step.code, "message": step.reason, "evidence": lines, "hint": LEFT})
