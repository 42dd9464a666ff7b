"""All keepers together: adopt what the state remembers, take new requests, and end what belongs to nobody."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import time
from collections import deque
from collections.abc import Callable
from functools import partial

import msgspec

from thv_core.errors import NotFound, StartFailed, ThvError, TimedOut
from thv_core.model.events import Progress
from thv_core.model.request import RunRequest
from thv_core.model.run_config import RunConfig
from thv_core.model.status import Desired, Status
from thv_core.model.workload import Workload, WorkloadView
from thv_core.services.choosing_ports import choose_port
from thv_core.services.describing import view
from thv_core.services.transitions import to_remove, to_start, to_stop
from thv_core.spi.runtimes import Observed, Runtime
from thv_supervisor.control.admission import admit, ephemeral_start, is_free
from thv_supervisor.control.ground import Ground
from thv_supervisor.control.keeping import STOP_GRACE, Keeper
from thv_supervisor.control.starting import rehearse

__all__ = ["Reconciler"]

MOST_ABANDONED = 1000

log = logging.getLogger(__name__)


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
        """Keep every workload that the state remembers, and route to no other."""
        known = self.ground.store.names()
        for name in set(self.ground.link.routed()) - set(known):
            await self.ground.link.publish(name, None)
        for name in self.ground.link.connected() - set(known):
            await self.ground.link.connect(name, ())
        for name in known:
            self._keep(name)

    def runtimes(self) -> set[str]:
        """Return the runtimes in use: of every workload, and the chosen one."""
        return {workload.config.runtime for workload in self.ground.store.all()} | {
            self.ground.kernel.configuration.runtime
        }

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
        """Remove what a request has made, and refuse it if it is still being admitted; return the names."""
        self._abandoned.append(request_id)
        names = [each.name for each in self.ground.store.all() if each.request_id == request_id]
        for name in names:
            await self.remove(name)
        return names

    def knows(self, request: RunRequest) -> bool:
        """Tell whether a request was recorded already, and is only asked about again."""
        return self.ground.store.by_request(request.request_id) is not None

    async def submit(self, request: RunRequest) -> Keeper:
        """Record what a request asks for and start it; the same request again is the same workload.

        :raises ThvError: when it cannot be meant, resolved or admitted; nothing is recorded then.
        """
        if (known := self._resubmitted(request)) is not None:
            return known
        admitted = await admit(request, self.ground)
        async with self._turn:
            if (known := self._resubmitted(request)) is not None:
                return known
            if request.request_id in self._abandoned:
                raise StartFailed("the run was interrupted", hint="Nothing was left behind.")
            keeper = self._record(request, admitted.config)
        if admitted.resolved:
            keeper.happenings.tell(Progress(step="resolved", text=admitted.resolved, seconds=admitted.seconds))
        return keeper

    async def start(self, name: str) -> Keeper:
        """Want a workload running, in a new life even if it runs.

        :raises NotFound: when there is none of that name.
        :raises ThvError: when it could not be started now; one that runs goes on then.
        """
        await rehearse(self.ground.store.get(name), self.ground)
        generation = self.ground.store.next_generation()
        return await self._change(name, lambda workload: to_start(workload, generation))

    async def stop(self, name: str, grace: float) -> Keeper:
        """Want a workload stopped, with ``grace`` seconds to end by itself.

        :raises NotFound: when there is none of that name.
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

    def _resubmitted(self, request: RunRequest) -> Keeper | None:
        workload = self.ground.store.by_request(request.request_id)
        if workload is None:
            return None
        self.ground.shell_values.keep(workload.name, request.shell_values)
        keeper = self._keep(workload.name)
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
        store.add(
            Workload(
                name=config.name,
                config=msgspec.structs.replace(config, port=port),
                request_id=request.request_id,
                generation=store.next_generation(),
                created_at=self.ground.clock(),
            )
        )
        self.ground.shell_values.keep(config.name, request.shell_values)
        keeper = self._keep(config.name)
        if not config.port:
            keeper.repick = lambda: choose_port(0, store.remembered_ports(), ephemeral_start(), is_free)
        return keeper

    async def _change(self, name: str, change: Callable[[Workload], Workload], grace: float | None = None) -> Keeper:
        before = self.ground.store.get(name)
        changed = change(before)
        self.ground.store.replace(changed)
        keeper = self._keep(name)
        keeper.grace = STOP_GRACE if grace is None else grace
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
        """End what a runtime sees and no workload or job accounts for; each is recorded before it is deployed."""
        known = {*self.ground.store.names(), *tuple(self.ground.jobs)}
        for name in set(self.ground.observatory.workloads(runtime)) - known:
            for each in self.ground.observatory.sees(runtime, name) or ():
                log.warning("ending %s, which belongs to no workload", each.deployment.label)
                driver = self.ground.kernel.drivers.get(Runtime, runtime)
                try:
                    await self.ground.calls.run(f"runtime {runtime} end", 70.0, partial(driver.remove, each.deployment))
                except ThvError as error:
                    log.warning("%s could not be ended: %s", each.deployment.label, error)

    def _find(self, name: str) -> Workload | None:
        with contextlib.suppress(NotFound):
            return self.ground.store.get(name)
        return None

    def _view(self, workload: Workload) -> WorkloadView:
        observed = self.ground.observatory.sees(workload.config.runtime, workload.name) or ()
        mine = next((each for each in observed if each.deployment.generation == workload.generation), None)
        return view(workload, mine and self._noted(mine), self.ground.link.report(workload.name))

    def _noted(self, observed: Observed) -> Observed:
        """Return what a runtime sees with what the keeper knows of its network beside it."""
        keeper = self._keepers.get(observed.deployment.workload)
        note = keeper.reconnection.note(observed.deployment.label) if keeper else ""
        return msgspec.structs.replace(observed, notes=(*observed.notes, note)) if note else observed


def _over(workload: Workload) -> ThvError:
    """Return what whoever waits for a start is told when there will be none."""
    fate = workload.reason or f"it was to be {workload.desired}"
    return StartFailed(f"{workload.name} does not start: {fate}", hint="thv list --all shows what there is.")
