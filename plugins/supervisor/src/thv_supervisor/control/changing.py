"""Change one workload, phase by phase: each phase is recorded before anything of it is done."""

from __future__ import annotations

import logging
from dataclasses import dataclass

from thv_core.errors import RolledBack, ThvError, TimedOut, Unavailable
from thv_core.model.events import Progress
from thv_core.model.workload import Successor, SwapPhase
from thv_core.services.describing import readiness
from thv_core.services.reconciling import (
    Situation,
    Step,
    current,
    is_running,
    report_of,
    retiring,
    successor_life,
)
from thv_core.services.swapping import QUIET_WITHIN, is_served, pause_before_holding, readiness_limit
from thv_core.services.transitions import in_phase, promoted, rolled_back
from thv_supervisor.control.retrying import Retrying, exit_behind, explained
from thv_supervisor.control.starting import birth_of_successor, last_lines, rehearse, start
from thv_supervisor.control.tended import Tended

__all__ = ["PATIENCE", "Changing"]

PATIENCE = 15.0
"""Seconds that the gateway may take beyond the time that it gives a server."""

MOST_OBSTACLES = 3

log = logging.getLogger(__name__)


@dataclass
class Waiting:
    """How far one change is, in seconds of the monotonic clock.

    ``began`` is when it was first seen here, ``since`` when its phase began, ``held_at`` when requests began to wait,
    ``hold_at`` when they may do so again after so many vain ``attempts``. ``obstacles`` are the failures of what only
    ends or looks, ``evidence`` what its user is shown when it is rolled back.
    """

    generation: int
    phase: SwapPhase
    began: float
    since: float = 0.0
    hold_at: float = 0.0
    held_at: float = 0.0
    attempts: int = 0
    obstacles: int = 0
    evidence: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        self.since = self.began


class Changing:
    """The acts of a change of one workload, and what this process alone knows of it: since when it waits.

    Another process that goes on with the change waits from its own beginning.
    """

    def __init__(self, tended: Tended, retrying: Retrying) -> None:
        self._tended = tended
        self._retrying = retrying
        self._leaving: dict[str, float] = {}
        self._waiting = Waiting(0, SwapPhase.ASKED, tended.now())

    def overdue(self, situation: Situation) -> frozenset[str]:
        """Return the retiring lives whose calls have had all the time that a call may take."""
        now, limit = self._tended.now(), self._tended.request_timeout
        labels = [each.deployment.label for each in retiring(situation)]
        self._leaving = {label: self._leaving.get(label, now) for label in labels}
        return frozenset(label for label, since in self._leaving.items() if now - since >= limit)

    def soonest(self, pause: float) -> float:
        """Return ``pause``, or less when the time of a retiring life ends before; one that is over is no reason."""
        ends = [since + self._tended.request_timeout - self._tended.now() for since in self._leaving.values()]
        return min([pause, *(end for end in ends if end > 0)])

    async def hold(self, situation: Situation, step: Step) -> float:
        """Let new requests wait, if the change could go on; not again at once when they waited in vain."""
        successor = self._entered(situation)
        waited = self._tended.now() - self._waiting.began
        if self._waiting.attempts and waited >= self._tended.request_timeout:
            return await self._give_up(situation, TimedOut(f"calls in flight did not end within {waited:.0f} s"))
        pause = self._waiting.hold_at - self._tended.now()
        if pause > 0:
            return pause
        try:
            # Values may have been lost since it was asked for, and the former life is not to end in vain.
            await rehearse(birth_of_successor(situation.workload, self._tended.ground), self._tended.ground)
        except ThvError as error:
            return 1.0 if self._retrying.is_recalled(error) else await self._give_up(situation, error)
        self._waiting.held_at = self._tended.now()
        await self._to(successor, SwapPhase.HOLDING)
        return 0.0

    async def await_quiet(self, situation: Situation, step: Step) -> float:
        """Wait for the end of the calls in flight, but let new requests go on when that takes too long."""
        successor = self._entered(situation)
        left = self._waiting.since + QUIET_WITHIN - self._tended.now()
        if left > 0:
            return left
        self._waiting.attempts += 1
        self._waiting.hold_at = self._tended.now() + pause_before_holding(self._waiting.attempts)
        await self._to(successor, SwapPhase.ASKED)
        return 0.0

    async def advance(self, situation: Situation, step: Step) -> float:
        """Record that the former life has nothing left to do, and may be ended."""
        await self._to(self._entered(situation), SwapPhase.STARTING)
        return 0.0

    async def start_next(self, situation: Situation, step: Step) -> float:
        """Start the next life."""
        successor = self._entered(situation)
        birth = birth_of_successor(situation.workload, self._tended.ground)
        try:
            await start(birth, self._tended.ground, self._tended.happenings)
        except ThvError as error:
            if not self._is_still(successor):
                return 0.0
            return 1.0 if self._retrying.is_recalled(error) else await self._give_up(situation, error)
        self._waiting.since = self._tended.now()
        await self._tended.ground.observatory.refresh(situation.workload.config.runtime)
        return 0.0

    async def await_next(self, situation: Situation, step: Step) -> float:
        """Wait for the next life to be ready, but not for ever."""
        self._entered(situation)
        mine = current(situation)
        usual = self._tended.start_timeout + PATIENCE
        limit = readiness_limit(situation.workload, mine.started_at if mine else 0.0, usual)
        left = self._waiting.since + limit - self._tended.now()
        if left > 0:
            return left
        silent = report_of(situation, successor_life(situation)) is None
        who = "the gateway does not say whether it answers" if silent else "it did not answer"
        return await self._fail(situation, step, Unavailable(f"{who} within {limit:g} s"))

    async def promote(self, situation: Situation, step: Step) -> float:
        """Let the next life, which is ready, be the current one."""
        successor, tended = self._entered(situation), self._tended
        began, held = self._waiting.since, self._waiting.held_at
        if not self._is_still(successor):
            return 0.0
        tell = tended.record(lambda workload: promoted(workload, tended.ground.clock()))
        # Before anything is awaited: another change may bring values of its own meanwhile.
        if not successor.rolling_back:
            tended.ground.shell_values.adopt_change(tended.name)
        self._retrying.forgive()
        await tell()
        if (latest := tended.situation()) is not None:
            await tended.publish(latest)
        if successor.rolling_back:
            self._tell_setback(successor.rolling_back)
            return 0.0
        ready = readiness(report_of(situation, successor_life(situation)))
        tended.happenings.tell(Progress(step="ready", text=ready, seconds=tended.now() - began))
        tended.happenings.tell(Progress(step="swapped", text=self._effect(situation, held)))
        tended.happenings.tell(None)
        return 0.0

    async def roll_back(self, situation: Situation, step: Step) -> float:
        """Note that the next life did not become ready."""
        self._entered(situation)
        return await self._fail(situation, await exit_behind(step, self._tended), None)

    async def obstructed(self, situation: Situation, error: ThvError) -> float:
        """Try again what a change met, and give the change up after a while."""
        self._entered(situation)
        self._waiting.obstacles += 1
        log.warning("the change of %s: %s", self._tended.name, error.message)
        return 1.0 if self._waiting.obstacles < MOST_OBSTACLES else await self._give_up(situation, error)

    async def unseen(self) -> None:
        """Let requests go on that wait for the former life, while nobody can say what runs."""
        successor = self._tended.workload().successor
        if successor is not None and successor.phase is SwapPhase.HOLDING:
            await self._to(successor, SwapPhase.ASKED)
            await self._tended.release()

    def _entered(self, situation: Situation) -> Successor:
        """Note which change this is and in which phase, and since when."""
        successor = situation.workload.successor
        assert successor is not None  # noqa: S101 - these acts are chosen for a change only
        if successor.generation != self._waiting.generation:
            former = self._waiting
            self._waiting = Waiting(successor.generation, successor.phase, self._tended.now())
            if successor.rolling_back:
                self._waiting.held_at, self._waiting.evidence = former.held_at, former.evidence
        if successor.phase is not self._waiting.phase:
            self._waiting.phase, self._waiting.since = successor.phase, self._tended.now()
        return successor

    async def _to(self, successor: Successor, phase: SwapPhase) -> None:
        # Something else may be wanted meanwhile.
        if self._is_still(successor):
            await self._tended.update(lambda workload: in_phase(workload, phase))

    def _is_still(self, successor: Successor) -> bool:
        present = self._tended.workload().successor
        return present is not None and present.generation == successor.generation

    async def _fail(self, situation: Situation, step: Step, error: ThvError | None) -> float:
        evidence: list[str] = []
        if step.deployment is not None:
            runtime = situation.workload.config.runtime
            evidence = await last_lines(runtime, step.deployment, self._tended.ground)
        found = explained(step, evidence)
        if error is not None:
            found = type(error)(error.message, evidence=found.evidence, hint=error.hint)
        return await self._give_up(situation, found)

    async def _give_up(self, situation: Situation, error: ThvError) -> float:
        """Go back to what was before, at once or by another life of it."""
        successor = self._entered(situation)
        mine = current(situation)
        runs = mine is not None and is_running(mine)
        generation = self._tended.new_generation()
        reason = error.message
        if not self._is_still(successor):
            return 0.0
        tell = self._tended.record(lambda workload: rolled_back(workload, reason, generation, runs=runs))
        self._tended.ground.shell_values.forget_change(self._tended.name)
        is_over = self._tended.workload().successor is None
        self._waiting.evidence = (*self._waiting.evidence, *error.evidence, *([error.hint] if error.hint else []))
        log.warning("the change of %s is rolled back: %s", self._tended.name, reason)
        if is_over:
            again = (f"and what was before it does not run any more: {reason}",) if successor.rolling_back else ()
            self._tell_setback(successor.rolling_back or reason, *again)
        await tell()
        return 0.0

    def _tell_setback(self, reason: str, *more: str) -> None:
        name = self._tended.name
        self._tended.announce(Progress(step="rolled-back", text=reason))
        self._tended.happenings.tell(
            RolledBack(
                f"{name} is as it was before, because the change did not become ready",
                evidence=(reason, *self._waiting.evidence, *more),
                hint=f"Correct what the reason says, and change it again. What it does now:  thv status {name}",
            )
        )

    def _effect(self, situation: Situation, held: float) -> str:
        if not is_served(situation.workload):
            return "it was not running before"
        if held:
            return f"requests waited {self._tended.now() - held:.1f} s"
        return "no call was interrupted"
