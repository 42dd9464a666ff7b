"""Keep one workload as it should be: look, take one step, look again."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Coroutine
from dataclasses import replace
from typing import Any

import msgspec

from thv_core.errors import NotFound, ThvError, Unavailable
from thv_core.model.events import Progress
from thv_core.model.status import Desired, Status
from thv_core.model.workload import Workload
from thv_core.services.describing import readiness
from thv_core.services.reconciling import Act, Situation, Step, current, report_of
from thv_core.services.seating import next_seat
from thv_core.services.transitions import became
from thv_supervisor.control.changing import PATIENCE, Changing
from thv_supervisor.control.clearing import Clearing
from thv_supervisor.control.ground import Ground
from thv_supervisor.control.reconnecting import Reconnection
from thv_supervisor.control.retrying import Retrying
from thv_supervisor.control.seating import Seating
from thv_supervisor.control.starting import birth, start
from thv_supervisor.control.tended import IDLE, STOP_GRACE, Tended, Unrecorded

__all__ = ["STOP_GRACE", "Keeper"]

RETRY = 1.0
"""Seconds after which something is tried again that a full disk, or a mistake of ours, made impossible."""

MOST_OBSTACLES = 3

Performer = Callable[[Situation, Step], Coroutine[Any, Any, float]]
"""Does what a step says; returns the seconds after which to look again."""

log = logging.getLogger(__name__)


class Keeper:
    """Keeps one workload; ends when it is forgotten."""

    def __init__(self, name: str, ground: Ground) -> None:
        self.name = name
        self.tended = Tended(name, ground, self.wake)
        self.happenings = self.tended.happenings
        self.retrying = Retrying(self.tended)
        self.changing = Changing(self.tended, self.retrying)
        self.reconnection = Reconnection(ground, self.wake)
        self.runtime = ""
        """Where it was last seen to belong."""
        self._ground = ground
        self._wake = asyncio.Event()
        self._began = self.tended.now()
        self._silent_since: float | None = None
        self._obstacles = 0
        clearing = Clearing(self.tended)
        self._seating = Seating(self.tended, clearing)
        self._acts = self._performers(clearing, self._seating)

    def _performers(self, clearing: Clearing, seating: Seating) -> dict[Act, Performer]:
        return {
            Act.WAIT: self._wait,
            Act.START: self._start,
            Act.READY: self._ready,
            Act.STOPPED: self._stopped,
            Act.STOP: clearing.stop,
            Act.REMOVE: clearing.remove,
            Act.FORGET: clearing.forget,
            Act.UNHEALTHY: self.retrying.unhealthy,
            Act.HUNG: self.retrying.hung,
            Act.FAILED: self.retrying.fail,
            Act.HOLD: self.changing.hold,
            Act.AWAIT_QUIET: self.changing.await_quiet,
            Act.ADVANCE: self.changing.advance,
            Act.START_NEXT: self.changing.start_next,
            Act.AWAIT_NEXT: self.changing.await_next,
            Act.PROMOTE: self.changing.promote,
            Act.ROLL_BACK: self.changing.roll_back,
            Act.SEAT: seating.seat,
            Act.UNSEAT: seating.unseat,
        }

    def wake(self) -> None:
        """Look again soon, because something changed."""
        self._wake.set()

    def retry_now(self) -> None:
        """Forget earlier failures and look again."""
        self.retrying.forgive()
        self.wake()

    async def keep(self) -> None:
        """Take steps until the workload is forgotten; whatever a step meets, there is a next one."""
        while True:
            self._wake.clear()
            try:
                workload = self._recorded()
                if workload is None:
                    return
                pause = await self._advance(workload)
            except (Unrecorded, OSError, ThvError) as error:
                log.warning("keeping %s: %s", self.name, error)
                pause = RETRY
            except Exception:
                log.exception("keeping %s failed", self.name)
                pause = RETRY
            if pause > 0:
                await self._until_woken(self.changing.soonest(pause))

    def _recorded(self) -> Workload | None:
        try:
            workload = self.tended.workload()
        except NotFound:
            return None
        self.runtime = workload.config.runtime
        return workload

    async def _until_woken(self, pause: float) -> None:
        try:
            await asyncio.wait_for(self._wake.wait(), pause)
        except TimeoutError:
            return

    async def _advance(self, workload: Workload) -> float:
        seen = self.tended.situation()
        if seen is None:
            return await self._unobservable()
        situation = replace(seen, overdue=self.changing.overdue(seen), seating=self._seating.under_way)
        try:
            await self.tended.publish(situation)
            await self.reconnection.keep(situation)
            if self.tended.workload() != situation.workload:
                # Something else is wanted meanwhile: what would have been done counts for it no more.
                return 0.0
            step = next_seat(situation)
            return await self._taken(situation, step)
        except ThvError as error:
            return await self._met(situation, error)

    async def _taken(self, situation: Situation, step: Step) -> float:
        if step.act is not Act.WAIT:
            self._silent_since = None
        if step.act in (Act.FORGET, Act.STOPPED) and situation.seating:
            # A process that is about to be there would be left behind; the end of its start wakes this keeper.
            return IDLE
        try:
            pause = await self._acts[step.act](situation, step)
        except ThvError as error:
            if step.act not in (Act.STOP, Act.REMOVE, Act.UNSEAT):
                raise
            return await self._obstructed(situation, error)
        self._obstacles = 0
        return pause

    async def _met(self, situation: Situation, error: ThvError) -> float:
        if self.tended.workload().successor is not None and situation.workload.successor is not None:
            return await self.changing.obstructed(situation, error)
        return await self.retrying.failed(error, situation.workload)

    async def _obstructed(self, situation: Situation, error: ThvError) -> float:
        """Try again to end what would not end: the life that should run is not to blame for it."""
        log.warning("%s: %s", self.name, error)
        workload = self.tended.workload()
        if workload.successor is not None and situation.workload.successor is not None:
            return await self.changing.obstructed(situation, error)
        self._obstacles += 1
        if self._obstacles == MOST_OBSTACLES and workload.desired is Desired.RUNNING:
            await self.retrying.ails(error)
        return RETRY

    async def _wait(self, situation: Situation, step: Step) -> float:
        if self._silent_since is None:
            self._silent_since = self.tended.now()
        left = self._silent_since + self.tended.start_timeout + PATIENCE - self.tended.now()
        if left > 0:
            return left
        silent = Unavailable("the gateway does not say whether the server answers", hint="thv plugins check")
        if situation.workload.provisional:
            raise silent
        return await self.retrying.ails(silent)

    async def _start(self, situation: Situation, step: Step) -> float:
        pause = self.retrying.pause()
        if pause > 0:
            return pause
        workload = situation.workload
        if workload.status is Status.ERROR:
            return IDLE
        if workload.status in (Status.RUNNING, Status.UNHEALTHY):
            return await self._missing(workload)
        try:
            await start(birth(workload, self._ground), self._ground, self.happenings)
        except ThvError as error:
            if self.tended.workload().generation == workload.generation:
                raise
            log.warning("the former start of %s failed: %s", self.name, error.message)
            return 0.0
        self._began = self.tended.now()
        await self._ground.observatory.refresh(workload.config.runtime)
        return 0.0

    async def _missing(self, workload: Workload) -> float:
        """Look once more for a server that was ready and is not there: it would be doubled for nothing."""
        await self._ground.observatory.refresh(workload.config.runtime)
        latest = self.tended.situation()
        is_missing = latest is not None and current(latest) is None and latest.workload == workload
        return await self.retrying.missing(workload) if is_missing else 0.0

    async def _ready(self, situation: Situation, step: Step) -> float:
        if situation.workload.status is not Status.RUNNING:
            await self.tended.update(self._running)
            report = report_of(situation, current(situation))
            seconds = self.tended.now() - self._began
            self.happenings.tell(Progress(step="ready", text=readiness(report), seconds=seconds))
            self.happenings.tell(None)
        self.retrying.is_ready()
        return IDLE

    def _running(self, workload: Workload) -> Workload:
        # Why it had to be started again stays known; what ailed it, and no longer does, is over.
        ailed = workload.status is Status.UNHEALTHY and workload.started_at > 0
        ready = became(workload, Status.RUNNING, workload.reason if workload.status is Status.STARTING else "")
        at = workload.started_at if ailed else self._ground.clock()
        return msgspec.structs.replace(ready, provisional=False, started_at=at)

    async def _stopped(self, situation: Situation, step: Step) -> float:
        await self.tended.update(lambda workload: became(workload, Status.STOPPED))
        return IDLE

    async def _unobservable(self) -> float:
        await self.changing.unseen()
        workload = self.tended.workload()
        runtime = workload.config.runtime
        await self._ground.observatory.refresh(runtime)
        if self._ground.observatory.sees(runtime, self.name) is not None:
            return 0.0
        try:
            await self._ground.calls.run(f"runtime {runtime}", 30.0, self.tended.runtime)
        except ThvError as error:
            if workload.provisional or workload.desired is not Desired.RUNNING:
                return await self.retrying.failed(error, workload)
            # The server may well run: it is no failure of its own, and a new life would make a stray of it.
            if workload.status is not Status.ERROR:
                await self.retrying.ails(error)
        return 1.0
