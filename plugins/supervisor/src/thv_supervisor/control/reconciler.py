"""All keepers together: adopt what the state remembers, take new requests, and end what belongs to nobody."""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections import deque
from collections.abc import Callable

import msgspec

from thv_core.errors import Conflict, NotFound, RolledBack, StartFailed, ThvError, TimedOut
from thv_core.model.events import Progress
from thv_core.model.request import RunRequest
from thv_core.model.run_config import RunConfig
from thv_core.model.status import Desired, Status
from thv_core.model.workload import SwapKind, SwapPhase, Workload, WorkloadView
from thv_core.services.choosing_ports import choose_port
from thv_core.services.describing import view
from thv_core.services.transitions import rolled_back, to_remove, to_start, to_stop
from thv_core.spi.runtimes import Observed
from thv_supervisor.control.admission import admit, ephemeral_start, is_free
from thv_supervisor.control.adopting import clear_away, end_strays
from thv_supervisor.control.ground import Ground
from thv_supervisor.control.keeping import STOP_GRACE, Keeper
from thv_supervisor.control.replacing import prepared, refuse_busy, refuse_changed, succeeded
from thv_supervisor.control.starting import birth, rehearse

__all__ = ["SETTLE_LIMIT", "Reconciler"]

MOST_ABANDONED = 1000
SETTLE_LIMIT = 60.0
"""Seconds that the end of a server may take beyond its grace."""


class Reconciler:
    """The keepers by workload."""

    def __init__(self, ground: Ground) -> None:
        self.ground = ground
        self._keepers: dict[str, Keeper] = {}
        self._tasks: set[asyncio.Task[None]] = set()
        self._turn = asyncio.Lock()
        self._abandoned: deque[str] = deque(maxlen=MOST_ABANDONED)

    @property
    def turn(self) -> asyncio.Lock:
        """What is held while a workload is recorded: whoever holds it knows that none is added."""
        return self._turn

    def wake(self, workload: str) -> None:
        """Let the keeper of a workload look again."""
        keeper = self._keepers.get(workload)
        if keeper:
            keeper.wake()

    async def adopt(self) -> None:
        """Keep every workload that the state remembers, and clear away what belongs to none."""
        known = {each.name: each.config.runtime for each in self.ground.store.all()}
        await clear_away(self.ground, known)
        for name, runtime in known.items():
            self._keep(name).runtime = runtime

    def runtimes(self) -> set[str]:
        """Return the runtimes in use: of every workload, and the chosen one."""
        kept = {keeper.runtime for keeper in self._keepers.values()}
        return (kept | {self.ground.kernel.configuration.runtime}) - {""}

    async def look(self) -> None:
        """Make sure that every runtime was asked once, so that views tell what runs."""
        for runtime in self.runtimes():
            await self.ground.observatory.first_look(runtime)

    def views(self) -> list[WorkloadView]:
        """Return all workloads by name."""
        return [self._view(workload) for workload in self.ground.store.all()]

    def view(self, name: str) -> WorkloadView:
        """Return one workload.

        :raises NotFound: when there is none of that name.
        """
        return self._view(self.ground.store.get(name))

    async def abandon(self, request_id: str) -> list[str]:
        """Undo what a request has made, and refuse it if it is still being admitted.

        :return: the names of the workloads that are removed by that; a workload that it was changing stays.
        """
        self._abandoned.append(request_id)
        mine = [each for each in self.ground.store.all() if request_id in _requests(each)]
        for each in mine:
            if each.request_id == request_id:
                await self.remove(each.name)
            else:
                await self._withdraw(each)
        return [each.name for each in mine if each.request_id == request_id]

    def knows(self, request: RunRequest) -> bool:
        """Tell whether a request was recorded already, and is only asked about again."""
        return self.ground.store.by_request(request.request_id) is not None

    async def submit(self, request: RunRequest) -> Keeper:
        """Record what a request asks for and start it, or change what it replaces; the same request again is the same.

        :raises ThvError: when it cannot be meant, resolved or admitted; nothing is recorded then.
        :raises Conflict: when the workload that it replaces is being changed, started or ended.
        """
        if (known := self._resubmitted(request)) is not None:
            return known
        if request.replaces:
            return await self._replace(request)
        admitted = await admit(request, self.ground)
        async with self._turn:
            if (known := self._resubmitted(request)) is not None:
                return known
            self._refuse_abandoned(request)
            keeper = self._record(request, admitted.config)
        if admitted.resolved:
            keeper.happenings.tell(Progress(step="resolved", text=admitted.resolved, seconds=admitted.seconds))
        return keeper

    async def start(self, name: str) -> Keeper:
        """Want a workload running, in a new life even if it runs.

        :raises NotFound: when there is none of that name.
        :raises Conflict: when it is being removed.
        :raises ThvError: when it could not be started now; one that runs goes on then.
        """
        await rehearse(birth(self.ground.store.get(name), self.ground), self.ground)
        generation = self.ground.store.next_generation()
        return await self._change(name, lambda workload: to_start(workload, generation))

    async def stop(self, name: str, grace: float) -> Keeper:
        """Want a workload stopped, with ``grace`` seconds to end by itself.

        :raises NotFound: when there is none of that name.
        :raises Conflict: when it is being removed.
        """
        return await self._change(name, to_stop, grace)

    async def remove(self, name: str) -> Keeper:
        """Want a workload gone.

        :raises NotFound: when there is none of that name.
        """
        return await self._change(name, to_remove)

    async def until(self, name: str, settled: Callable[[Workload | None], bool], limit: float) -> None:
        """Wait until a workload (``None`` once it is gone) has settled.

        :raises TimedOut: after ``limit`` seconds.
        """
        deadline = time.monotonic() + limit
        while not settled(self._find(name)):
            if time.monotonic() > deadline:
                raise TimedOut(f"{name} did not get there within {limit:g} s", hint=f"thv status {name}")
            await asyncio.sleep(0.02)

    async def _replace(self, request: RunRequest) -> Keeper:
        former = self.ground.store.get(request.replaces)
        wanted = await prepared(request, former, self.ground)
        async with self._turn:
            if (known := self._resubmitted(request)) is not None:
                return known
            self._refuse_abandoned(request)
            before = self.ground.store.get(request.replaces)
            refuse_busy(before)
            refuse_changed(before, former)
            changed = succeeded(request, wanted.config, before, self.ground)
            self.ground.store.replace(changed)
        if changed.successor is None:
            return self._settled(request, changed.name)
        self.ground.shell_values.keep_change(changed.name, request.shell_values)
        keeper = self._keep(changed.name)
        keeper.happenings.restart()
        for step in wanted.told:
            keeper.happenings.tell(step)
        keeper.retry_now()
        if changed.status is not before.status:
            await self.ground.announce(changed)
        return keeper

    def _settled(self, request: RunRequest, name: str) -> Keeper:
        """Return a keeper that keeps nothing and tells that all is as it should be: there is nothing to wait for."""
        if request.shell_values:
            self.ground.shell_values.keep(name, {**self.ground.shell_values.of(name), **request.shell_values})
        # What its route says may be otherwise now.
        self.wake(name)
        told = Keeper(name, self.ground)
        told.happenings.tell(None)
        return told

    async def _withdraw(self, workload: Workload) -> None:
        """Undo a change that its caller gave up; one that has ended its former life brings that back."""
        successor = workload.successor
        if successor is None or successor.rolling_back:
            return
        runs = successor.kind is SwapKind.BESIDE or successor.phase is not SwapPhase.STARTING
        generation = self.ground.store.next_generation()
        back = rolled_back(workload, "the change was interrupted", generation, runs=runs)
        self.ground.store.replace(back)
        self.ground.shell_values.forget_change(workload.name)
        keeper = self._keep(workload.name)
        if back.successor is None:
            keeper.happenings.tell(_discarded(workload.name, "it was interrupted"))
        keeper.wake()
        if back.status is not workload.status:
            await self.ground.announce(back)

    def _refuse_abandoned(self, request: RunRequest) -> None:
        if request.request_id in self._abandoned:
            raise StartFailed("the run was interrupted", hint="Nothing was left behind.")

    def _resubmitted(self, request: RunRequest) -> Keeper | None:
        workload = self.ground.store.by_request(request.request_id)
        if workload is None:
            return None
        keeper = self._keep(workload.name)
        if workload.successor is not None and workload.successor.request_id == request.request_id:
            self.ground.shell_values.keep_change(workload.name, request.shell_values)
            keeper.wake()
            return keeper
        self.ground.shell_values.keep(workload.name, request.shell_values)
        if workload.status is Status.RUNNING:
            keeper.happenings.tell(None)
        elif workload.desired is not Desired.RUNNING or workload.status in (Status.ERROR, Status.UNHEALTHY):
            keeper.happenings.tell(_over(workload))
        keeper.wake()
        return keeper

    def _record(self, request: RunRequest, config: RunConfig) -> Keeper:
        store = self.ground.store
        remembered = store.remembered_ports()
        # A name that there is already is refused by the store; its port is in use by nobody else.
        named = config.name in remembered
        port = config.port if named else choose_port(config.port, remembered, ephemeral_start(), is_free)
        workload = Workload(
            name=config.name,
            config=msgspec.structs.replace(config, port=port),
            request_id=request.request_id,
            generation=store.next_generation(),
            created_at=self.ground.clock(),
        )
        store.add(workload)
        self.ground.tell(workload)
        self.ground.shell_values.keep(config.name, request.shell_values)
        keeper = self._keep(config.name)
        if not config.port:
            keeper.retrying.repick = lambda: choose_port(0, store.remembered_ports(), ephemeral_start(), is_free)
        return keeper

    async def _change(self, name: str, change: Callable[[Workload], Workload], grace: float | None = None) -> Keeper:
        before = self.ground.store.get(name)
        if before.desired is Desired.REMOVED and change is not to_remove:
            raise Conflict(f"{name} is being removed", hint="Wait for its end:  thv list --all")
        changed = change(before)
        self.ground.store.replace(changed)
        keeper = self._keep(name)
        keeper.tended.give(STOP_GRACE if grace is None else grace)
        if before.successor is not None:
            self.ground.shell_values.forget_change(name)
            keeper.happenings.tell(_discarded(name, f"it was to be {_WANTED[changed.desired]} meanwhile"))
        keeper.happenings.restart()
        if changed.desired is not Desired.RUNNING:
            keeper.happenings.tell(_over(changed))
        keeper.retry_now()
        if changed.status is not before.status:
            await self.ground.announce(changed)
        return keeper

    def _keep(self, name: str) -> Keeper:
        keeper = self._keepers.get(name)
        if keeper is None:
            keeper = self._keepers[name] = Keeper(name, self.ground)
            task = asyncio.create_task(self._kept(keeper), name=f"keep {name}")
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)
        return keeper

    async def _kept(self, keeper: Keeper) -> None:
        try:
            await keeper.keep()
        finally:
            del self._keepers[keeper.name]

    async def end_strays(self, runtime: str) -> None:
        """End what a runtime sees and no workload or job accounts for."""
        await end_strays(self.ground, runtime, self.ground.store.names())

    def _find(self, name: str) -> Workload | None:
        with contextlib.suppress(NotFound):
            return self.ground.store.get(name)
        return None

    def _view(self, workload: Workload) -> WorkloadView:
        observed = self.ground.observatory.sees(workload.config.runtime, workload.name) or ()
        mine = next((each for each in observed if each.deployment.generation == workload.generation), None)
        return view(
            workload, mine and self._noted(mine), self.ground.link.report(f"{workload.name}.{workload.generation}")
        )

    def _noted(self, observed: Observed) -> Observed:
        """Return what a runtime sees with what the keeper knows of its network beside it."""
        keeper = self._keepers.get(observed.deployment.workload)
        note = keeper.reconnection.note(observed.deployment.label) if keeper else ""
        return msgspec.structs.replace(observed, notes=(*observed.notes, note)) if note else observed


def _over(workload: Workload) -> ThvError:
    """Return what whoever waits for a start is told when there will be none."""
    fate = workload.reason or f"it was to be {workload.desired}"
    return StartFailed(f"{workload.name} does not start: {fate}", hint="thv list --all shows what there is.")


def _discarded(name: str, why: str) -> ThvError:
    """Return what whoever waits for a change is told when there will be none."""
    return RolledBack(f"the change of {name} was discarded: {why}", hint=f"What it does now:  thv status {name}")


def _requests(workload: Workload) -> tuple[str, ...]:
    changing = (workload.successor.request_id,) if workload.successor else ()
    return (workload.request_id, *changing)


_WANTED = {Desired.RUNNING: "started anew", Desired.STOPPED: "stopped", Desired.REMOVED: "removed"}
