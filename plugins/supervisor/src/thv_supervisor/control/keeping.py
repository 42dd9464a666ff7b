"""Keep one workload as it should be: look, take one step, look again."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable
from functools import partial

import msgspec

from thv_core.errors import PortUnavailable, ThvError, Unavailable, error_from_document
from thv_core.model.events import Progress
from thv_core.model.plan import Deployment
from thv_core.model.status import Desired, Status
from thv_core.model.workload import Workload
from thv_core.services.describing import readiness
from thv_core.services.reconciling import Act, Situation, Step, current, next_step
from thv_core.services.resolving_secrets import ShellValueLost
from thv_core.services.routing import route
from thv_core.services.transitions import became, to_remove, to_start
from thv_core.spi.runtimes import ObservedState, Runtime
from thv_supervisor.control.ground import Ground
from thv_supervisor.control.progressing import Happenings
from thv_supervisor.control.reconnecting import Reconnection
from thv_supervisor.control.starting import last_lines, start

__all__ = ["STOP_GRACE", "Keeper"]

IDLE = 30.0
STOP_GRACE = 5.0
STABLE = 30.0
MOST_FAILURES = 10
SLOWEST = 60.0
PATIENCE = 15.0
"""Seconds that the gateway may take beyond the time that it gives a server."""
LEFT = "Nothing was left behind."
EXIT_LOOKS = 5
EXIT_PAUSE = 0.05
RECALL = 15.0
"""Seconds in which the caller of an interrupted ``thv run`` comes back with the values that were lost."""

log = logging.getLogger(__name__)


class Keeper:
    """Keeps one workload; ends when it is forgotten."""

    def __init__(self, name: str, ground: Ground) -> None:
        self.name = name
        self.happenings = Happenings()
        self.grace = STOP_GRACE
        self.repick: Callable[[], int] | None = None
        """Chooses another port, once, in the first start of a workload that asked for none in particular."""
        self.reconnection = Reconnection(ground, self.wake)
        self._ground = ground
        self._wake = asyncio.Event()
        self._failures = 0
        self._retry_at = 0.0
        self._born = self._began = time.monotonic()
        self._acts = {
            Act.WAIT: self._wait,
            Act.START: self._start,
            Act.STOP: self._stop,
            Act.REMOVE: self._remove,
            Act.FORGET: self._forget,
            Act.READY: self._ready,
            Act.STOPPED: self._stopped,
            Act.UNHEALTHY: self._unhealthy,
            Act.FAILED: self._fail,
        }

    def wake(self) -> None:
        """Look again soon, because something changed."""
        self._wake.set()

    def retry_now(self) -> None:
        """Forget earlier failures and look again."""
        self._failures = 0
        self._retry_at = 0.0
        self.wake()

    async def keep(self) -> None:
        """Take steps until the workload is forgotten; whatever a step meets, there is a next one."""
        while True:
            self._wake.clear()
            try:
                if self.name not in self._ground.store.names():
                    return
                pause = await self._advance()
            except Exception:
                log.exception("keeping %s failed", self.name)
                pause = 1.0
            if pause > 0:
                await self._until_woken(pause)

    async def _until_woken(self, pause: float) -> None:
        try:
            await asyncio.wait_for(self._wake.wait(), pause)
        except TimeoutError:
            return

    async def _advance(self) -> float:
        try:
            situation = self._situation()
            if situation is None:
                return await self._unobservable()
            await self._publish(situation)
            await self.reconnection.keep(situation)
            if self._ground.store.get(self.name) != situation.workload:
                # Something else is wanted meanwhile: what would have been done counts for it no more.
                return 0.0
            step = next_step(situation)
            return await self._acts[step.act](situation, step)
        except ThvError as error:
            return await self._failed(error)

    def _situation(self) -> Situation | None:
        workload = self._ground.store.get(self.name)
        observed = self._ground.observatory.sees(workload.config.runtime, self.name)
        if observed is None:
            return None
        return Situation(workload=workload, observed=observed, report=self._ground.link.report(self.name))

    async def _publish(self, situation: Situation) -> None:
        mine = current(situation)
        if situation.workload.desired is not Desired.RUNNING:
            await self._ground.link.publish(self.name, None)
        elif mine is not None and mine.state is ObservedState.RUNNING:
            kernel = self._ground.kernel
            timeouts = (kernel.configuration.start_timeout, kernel.configuration.request_timeout)
            log_path = str(kernel.paths.proxy_log(self.name))
            await self._ground.link.publish(self.name, route(situation.workload, mine, log_path, timeouts))

    async def _update(self, change: Callable[[Workload], Workload]) -> Workload:
        before = self._ground.store.get(self.name)
        after = change(before)
        if after != before:
            self._ground.store.replace(after)
        if after.status is not before.status:
            await self._ground.announce(after)
        return after

    async def _wait(self, situation: Situation, step: Step) -> float:
        patience = self._ground.kernel.configuration.start_timeout + PATIENCE
        left = self._began + patience - time.monotonic()
        if left > 0:
            return left
        silent = Unavailable("the gateway does not say whether the server answers", hint="thv plugins check")
        if situation.workload.provisional:
            raise silent
        return await self._ails(silent)

    async def _start(self, situation: Situation, step: Step) -> float:
        pause = self._retry_at - time.monotonic()
        if pause > 0:
            return pause
        workload = situation.workload
        if workload.status is Status.ERROR:
            return IDLE
        try:
            await start(workload, self._ground, self.happenings)
        except ThvError as error:
            if self._ground.store.get(self.name).generation == workload.generation:
                raise
            log.warning("the former start of %s failed: %s", self.name, error.message)
            return 0.0
        self._began = time.monotonic()
        await self._ground.observatory.refresh(workload.config.runtime)
        return 0.0

    async def _stop(self, situation: Situation, step: Step) -> float:
        assert step.deployment is not None  # noqa: S101 - a stop always names what it stops
        await self._call(situation.workload, self.grace + 70.0, partial(self._end, step.deployment, self.grace))
        return 0.0

    def _end(self, deployment: Deployment, grace: float) -> None:
        self._runtime().stop(deployment, grace)

    async def _remove(self, situation: Situation, step: Step) -> float:
        assert step.deployment is not None  # noqa: S101 - a removal always names what it removes
        await self._call(situation.workload, 70.0, partial(self._clear, step.deployment))
        return 0.0

    def _clear(self, deployment: Deployment) -> None:
        self._runtime().remove(deployment)

    async def _forget(self, situation: Situation, step: Step) -> float:
        self._ground.store.remove(self.name)
        self._ground.shell_values.forget(self.name)
        self._ground.kernel.paths.proxy_log(self.name).unlink(missing_ok=True)
        return 0.0

    async def _ready(self, situation: Situation, step: Step) -> float:
        if situation.workload.status is Status.RUNNING:
            if time.monotonic() - self._began > STABLE:
                self._failures = 0
            return IDLE
        seconds = time.monotonic() - self._began
        await self._update(self._running)
        self.happenings.tell(Progress(step="ready", text=readiness(situation.report), seconds=seconds))
        self.happenings.tell(None)
        return IDLE

    def _running(self, workload: Workload) -> Workload:
        # Why it had to be started again stays known; what ailed it, and no longer does, is over.
        reason = workload.reason if workload.status is Status.STARTING else ""
        ready = became(workload, Status.RUNNING, reason)
        return msgspec.structs.replace(ready, provisional=False, started_at=self._ground.clock())

    async def _stopped(self, situation: Situation, step: Step) -> float:
        await self._update(lambda workload: became(workload, Status.STOPPED))
        return IDLE

    async def _unhealthy(self, situation: Situation, step: Step) -> float:
        return await self._ails(_explained(step, []))

    async def _ails(self, error: ThvError) -> float:
        if self._ground.store.get(self.name).status is not Status.UNHEALTHY:
            await self._update(lambda workload: became(workload, Status.UNHEALTHY, error.message))
            self.happenings.tell(error)
        return IDLE

    async def _unobservable(self) -> float:
        workload = self._ground.store.get(self.name)
        runtime = workload.config.runtime
        await self._ground.observatory.refresh(runtime)
        if self._ground.observatory.sees(runtime, self.name) is not None:
            return 0.0
        try:
            await self._ground.calls.run(f"runtime {runtime}", 30.0, self._runtime)
        except ThvError as error:
            if workload.provisional or workload.desired is not Desired.RUNNING:
                raise
            # The server may well run: it is no failure of its own, and a new life would make a stray of it.
            if workload.status is not Status.ERROR:
                await self._ails(error)
        return 1.0

    async def _fail(self, situation: Situation, step: Step) -> float:
        if step.code == PortUnavailable.code and self.repick is not None:
            repick, self.repick = self.repick, None
            return await self._move(repick())
        step = await self._exit_behind(step)
        evidence: list[str] = []
        if step.deployment is not None:
            evidence = await last_lines(situation.workload, step.deployment, self._ground)
        return await self._failed(_explained(step, evidence))

    async def _move(self, port: int) -> float:
        def moved(workload: Workload) -> Workload:
            config = msgspec.structs.replace(workload.config, port=port)
            return msgspec.structs.replace(workload, config=config)

        await self._update(moved)
        return 0.0

    async def _exit_behind(self, step: Step) -> Step:
        """Return the exit that explains a failure, if there is one: the gateway may notice before the runtime does."""
        for _ in range(EXIT_LOOKS):
            workload = self._ground.store.get(self.name)
            await self._ground.observatory.refresh(workload.config.runtime)
            situation = self._situation()
            mine = current(situation) if situation else None
            if situation is None or mine is None or mine.state is ObservedState.EXITED:
                return next_step(situation) if mine and situation else step
            await asyncio.sleep(EXIT_PAUSE)
        return step

    async def _failed(self, error: ThvError) -> float:
        workload = self._ground.store.get(self.name)
        if workload.desired is not Desired.RUNNING:
            log.warning("%s: %s", self.name, error.message)
            return 1.0
        if workload.provisional and isinstance(error, ShellValueLost) and time.monotonic() - self._born < RECALL:
            return 1.0
        self.happenings.tell(error)
        if workload.provisional:
            await self._update(to_remove)
            return 0.0
        return await self._again(error)

    async def _again(self, error: ThvError) -> float:
        self._failures += 1
        self._retry_at = time.monotonic() + min(2.0 ** (self._failures - 1), SLOWEST)
        given_up = self._failures > MOST_FAILURES or isinstance(error, ShellValueLost)
        generation = self._ground.store.next_generation()

        def change(workload: Workload) -> Workload:
            begun = to_start(workload, generation)
            again = msgspec.structs.replace(begun, restarts=workload.restarts + 1, reason=error.message)
            return became(again, Status.ERROR, error.message) if given_up else again

        await self._update(change)
        return 0.0

    def _runtime(self) -> Runtime:
        """Return the runtime; called in a worker thread, because importing it may take a while."""
        return self._ground.kernel.drivers.get(Runtime, self._ground.store.get(self.name).config.runtime)

    async def _call(self, workload: Workload, limit: float, call: Callable[[], None]) -> None:
        # A pool of their own: a server that takes its time to end keeps no other from starting.
        await self._ground.calls.run(f"runtime {workload.config.runtime} end", limit, call)
        await self._ground.observatory.refresh(workload.config.runtime)


def _explained(step: Step, evidence: list[str]) -> ThvError:
    lines = ["its last lines:", *(f"  {line}" for line in evidence)] if evidence else []
    return error_from_document({"code": step.code, "message": step.reason, "evidence": lines, "hint": LEFT})
