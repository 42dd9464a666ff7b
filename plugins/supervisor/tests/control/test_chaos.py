"""Whatever happens, in whatever order: in the end everything is as it is wanted, and nothing is left over.

The state, the reconciler and the link to the gateway are real; the runtime, the gateway and the clocks are fakes.
``THV_CHAOS_SEED`` chooses the story, ``THV_CHAOS_STEPS`` its length.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import random
import time
from collections import Counter
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest
from msgspec.structs import replace

from thv_core.errors import RuntimeUnavailable, ThvError
from thv_core.model.document import decode_document
from thv_core.model.network import Handover
from thv_core.model.plan import DeploymentPlan
from thv_core.model.profile import Network, Outbound, PermissionProfile
from thv_core.model.request import RunRequest
from thv_core.model.route import Route, RouteReport, RouteSnapshot, RouteState
from thv_core.model.status import Desired, Status
from thv_core.model.workload import Workload
from thv_core.services.routing import needs_outlet
from thv_core.spi.gateways import ROUTES_FILE
from thv_core.state.store import StateStore
from thv_supervisor.control import gateway_link, retrying
from thv_supervisor.control.driver_calls import DriverCalls
from thv_supervisor.control.gateway_link import GatewayLink
from thv_supervisor.control.ground import Ground, ShellValues
from thv_supervisor.control.grouping import Groups
from thv_supervisor.control.keeping import Keeper
from thv_supervisor.control.observing import Observatory
from thv_supervisor.control.reconciler import Reconciler
from thv_testkit.fake_gateway import FakeGateway, served
from thv_testkit.fast_loop import fast_loop

SPEED = 40.0
SETTLE = 20.0
"""Seconds on the wall in which everything has to be as it is wanted, once nothing happens any more."""

STORY = 15.0
"""Seconds on the wall in which a story has to end."""

NAMES = ("a", "b", "c.1", "d", "e")
GROUPS = ("default", "red", "blue")
REACHING = PermissionProfile(name="some", network=Network(outbound=Outbound(allow_host=("example.test",))))
DAY = 86_400.0


class Disk:
    """A disk that may be full."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.full = False
        write = gateway_link.write_atomically

        def written(path: Path, content: bytes) -> None:
            if self.full:
                raise OSError(28, "No space left on device")
            write(path, content)

        monkeypatch.setattr(gateway_link, "write_atomically", written)


class ServedNetwork:
    """Takes every socket and lacks none."""

    def hand(self, handover: Handover, sockets: tuple[Any, ...]) -> None:
        """Take them."""

    def lacks(self, incarnation: str) -> bool:
        return False

    def refusal(self, incarnation: str) -> str:
        return ""

    def forget(self, workload: str, but: Any = ()) -> None:
        """Forget them."""


class World:
    """One user's machine: what outlives every control and every gateway, and those of the moment."""

    def __init__(self, rig: Any, disk: Disk, dice: random.Random) -> None:
        self.rig, self.disk, self.dice = rig, disk, dice
        self.log: list[str] = []
        self.violations: list[str] = []
        self.wanted: dict[str, Desired | None] = {}
        self.ports: dict[tuple[str, str], int] = {}
        self.ready: set[tuple[str, str]] = set()
        self.stories: dict[asyncio.Task[None], float] = {}
        self.main: asyncio.Task[Any] | None = None
        self.tasks: set[asyncio.Task[Any]] = set()
        self.endings: Counter[tuple[str, str]] = Counter()
        self.requests = 0
        self.subject = ""
        self.deploy = rig.runtime.deploy
        rig.runtime.deploy = self.deployed
        rig.configuration = replace(rig.configuration, start_timeout=4.0, request_timeout=20.0)

    # What lives ------------------------------------------------------------------------------------------------------

    async def bear_control(self) -> None:
        self.store = StateStore(self.rig.paths.database)
        self.calls = DriverCalls()
        changed: Callable[[str], None] = lambda name: self.control.wake(name)  # noqa: E731 - it is not there yet
        ground = Ground(
            kernel=self.rig.kernel(),
            store=self.store,
            calls=self.calls,
            observatory=Observatory(self.rig.drivers, self.calls, changed),
            link=GatewayLink(self.rig.paths, changed),
            network=ServedNetwork(),  # type: ignore[arg-type] # as much of it as is used
            shell_values=ShellValues({}),
            clock=self.rig.clock,
            monotonic=asyncio.get_running_loop().time,
            environment={},
        )
        self.control = Reconciler(ground)
        with contextlib.suppress(OSError):
            # As the process would, it starts again when it cannot write.
            await self.control.adopt()
        self.fill(self.disk.full)
        self.tasks = {
            asyncio.create_task(ground.link.follow(False)),
            asyncio.create_task(ground.observatory.watch(self.control.runtimes, self.control.end_strays)),
        }

    async def kill_control(self) -> None:
        self.rig.fuse.blown.set()
        # More than once: before Python 3.12, wait_for swallows a cancellation that meets its result.
        doomed = set[asyncio.Task[Any]]()
        while pending := {task for task in asyncio.all_tasks() if self.dies(task)}:
            doomed |= pending
            for task in pending:
                task.cancel()
            await asyncio.wait(pending, timeout=1.0)
        self.stories.clear()
        for pool in list(self.calls._pools.values()):
            await asyncio.to_thread(pool.shutdown)
        for task in doomed:
            if not task.cancelled():
                task.exception()
        self.store.close()
        self.rig.fuse.blown.clear()

    def dies(self, task: asyncio.Task[Any]) -> bool:
        """Tell whether a task is of control or of its callers, and not of the gateway or this world."""
        return task not in (self.main, asyncio.current_task()) and "_Served" not in repr(task.get_coro())

    async def bear_gateway(self) -> None:
        self.gateway = FakeGateway()
        self.gateway.answer = self.judged
        self.life = contextlib.AsyncExitStack()
        await self.life.enter_async_context(served(self.gateway, self.rig.paths.gateway))

    async def kill_gateway(self) -> None:
        await self.life.aclose()

    def fill(self, full: bool) -> None:
        self.disk.full = full
        self.store._database.connection.execute(f"PRAGMA query_only = {int(full)}")

    # What servers do -------------------------------------------------------------------------------------------------

    def judged(self, route: Route) -> RouteReport | None:
        """Answer as the variable ``IS`` of a server says."""
        plan = next((each for each in self.rig.runtime.plans if each.deployment.label == route.incarnation), None)
        nature = plan.environment.values.get("IS", "good") if plan else "good"
        if nature == "silent":
            return None
        if nature == "broken":
            return self.gateway.failing("it is broken")(route)
        return replace(self.gateway.ready(route), stateful=nature == "stateful")

    def deployed(self, plan: DeploymentPlan, connect: Any) -> Any:
        seen = self.deploy(plan, connect)
        label, name = plan.deployment.label, plan.deployment.workload
        if plan.environment.values.get("IS") == "exits":
            self.rig.runtime.exit(label, 3)
        others = [each for each in self.lives(name) if each != label]
        if others and any(self.writes(each) for each in (label, *others)) and label in self.lives(name):
            self.violations.append(f"{label} runs beside {others}, and one of them writes")
        return seen

    def lives(self, name: str) -> list[str]:
        return [label for label in self.rig.runtime.running() if label.rpartition(".")[0] == name]

    def writes(self, label: str) -> bool:
        plan = next(each for each in self.rig.runtime.plans if each.deployment.label == label)
        return any(grant.writable for grant in plan.grants)

    # What people do --------------------------------------------------------------------------------------------------

    def drawn(self) -> str:
        self.requests += 1
        return f"r{self.requests}"

    def traits(self, *natures: str) -> dict[str, Any]:
        """Return what a server is like."""
        volumes = (f"{self.rig.paths.state}:/data",) if self.dice.random() < 0.4 else ()
        profile = REACHING if self.dice.random() < 0.3 else PermissionProfile(name="none")
        secrets = ("env:T,target=T",) if self.dice.random() < 0.2 else ()
        variables = {"IS": self.dice.choice(natures), "N": self.drawn()}
        return {"volumes": volumes, "permission_profile": profile, "secrets": secrets, "env_vars": variables}

    async def run(self) -> None:
        name = self.dice.choice(NAMES)
        traits = self.traits("good", "good", "good", "stateful", "broken", "exits")
        request = RunRequest(
            request_id=self.drawn(), server="fake://echo", name=name, shell_values={"env:T": "v"}, **traits
        )
        async with self.deciding(name, Desired.RUNNING):
            self.listen(await self.control.submit(request), name, None)

    async def run_and_remove(self) -> None:
        name = self.dice.choice(NAMES)
        request = RunRequest(request_id=self.drawn(), server="fake://echo", name=name)
        async with self.deciding(name, Desired.REMOVED):
            await self.control.submit(request)
            await self.control.remove(name)

    async def edit(self) -> None:
        name = self.known()
        traits = self.traits("good", "good", "stateful", "broken", "silent", "exits")
        config = replace(self.store.get(name).config, **traits)
        request = RunRequest(request_id=self.drawn(), replaces=name, run_config=config, shell_values={"env:T": "w"})
        async with self.deciding(name, None):
            self.listen(await self.control.submit(request), name, traits["env_vars"]["N"])
        if self.dice.random() < 0.1:
            async with self.deciding(name, None):
                await self.control.abandon(request.request_id)

    async def label(self) -> None:
        name = self.known()
        config = replace(self.store.get(name).config, container_labels={"n": self.drawn()})
        async with self.deciding(name, None):
            await self.control.submit(RunRequest(request_id=self.drawn(), replaces=name, run_config=config))

    async def stop(self) -> None:
        name = self.known()
        async with self.deciding(name, Desired.STOPPED):
            await self.control.stop(name, self.dice.choice((0.0, 5.0, 600.0)))

    async def start(self) -> None:
        name = self.known()
        async with self.deciding(name, Desired.RUNNING):
            self.listen(await self.control.start(name), name, None)

    async def remove(self) -> None:
        name = self.known()
        async with self.deciding(name, Desired.REMOVED):
            await self.control.remove(name)

    async def regroup(self) -> None:
        groups = Groups(self.control)
        act = self.dice.choice(("create", "move", "rename", "remove"))
        one, other = self.dice.choice(GROUPS), self.dice.choice(GROUPS)
        acts: dict[str, Callable[[], Any]] = {
            "create": lambda: groups.create(one),
            "move": lambda: groups.move([self.known()], one),
            "rename": lambda: groups.rename(one, other),
        }
        if act == "remove":
            await groups.remove(one, with_workloads=False)
        else:
            acts[act]()

    def known(self) -> str:
        return self.dice.choice(self.store.names() or list(NAMES))

    @contextlib.asynccontextmanager
    async def deciding(self, name: str, desired: Desired | None) -> Any:
        """Note what is wanted from now on: what was decided for certain, and what may have been."""
        before = self.wanted.get(name)
        self.wanted[name], self.subject = None, name
        try:
            yield
        except ThvError:
            self.wanted[name] = before
            raise
        self.wanted[name] = before if desired is None else desired
        # A change of what was stopped lets it run, or not.
        if desired is None:
            self.wanted[name] = None

    def listen(self, keeper: Keeper, name: str, number: str | None) -> None:
        """Hear a story to its end, which has to come and to be true."""

        async def heard() -> None:
            last = [each async for each in keeper.happenings.listen()][-1]
            kind = "run" if number is None else "change"
            self.endings[kind, type(last).__name__] += 1
            if number is not None and last is None and name in self.store.names():
                workload = self.store.get(name)
                now = workload.config.env_vars.get("N")
                if now != number and workload.successor is None and int(now[1:]) < int(number[1:]):
                    self.violations.append(f"{name} was changed to {number}, it was said, and is {now}")

        told = asyncio.create_task(heard(), name=f"{name} {number or ''} in step {len(self.log)}")
        self.stories[told] = time.monotonic()

    # What happens ----------------------------------------------------------------------------------------------------

    async def exit(self) -> None:
        if running := self.rig.runtime.running():
            self.rig.runtime.exit(self.dice.choice(running), 7)

    async def hang(self) -> None:
        ready = [each for each in self.gateway.reports.values() if each.state is RouteState.READY]
        if ready:
            self.gateway.say(replace(self.dice.choice(ready), state=RouteState.HUNG, reason="it answers no more"))

    async def call(self) -> None:
        if routes := list(self.gateway.routes.values()):
            self.gateway.begin(self.dice.choice(routes).incarnation)

    async def answered(self) -> None:
        if calls := list(self.gateway.calls):
            self.gateway.finish(self.dice.choice(calls))

    async def control_dies(self) -> None:
        await self.kill_control()
        await self.bear_control()

    async def gateway_dies(self) -> None:
        await self.kill_gateway()
        await self.pause(0.5)
        await self.bear_gateway()

    async def disk_fills(self) -> None:
        self.fill(not self.disk.full)

    async def clock_jumps(self) -> None:
        self.rig.clock.advance(self.dice.uniform(-30, 30) * DAY)

    async def runtime_is_away(self) -> None:
        self.rig.runtime.unobservable = (
            None if self.rig.runtime.unobservable else RuntimeUnavailable("the engine does not answer")
        )

    async def nothing(self) -> None:
        await self.pause(self.dice.uniform(0, 10))

    async def pause(self, seconds: float) -> None:
        await asyncio.sleep(seconds)

    def chances(self) -> dict[Callable[[], Awaitable[None]], int]:
        return {
            self.run: 14, self.edit: 16, self.stop: 5, self.start: 6, self.remove: 4, self.run_and_remove: 3,
            self.label: 2, self.regroup: 6, self.exit: 5, self.hang: 3, self.call: 6, self.answered: 6,
            self.control_dies: 5, self.gateway_dies: 3, self.disk_fills: 3, self.clock_jumps: 2,
            self.runtime_is_away: 2, self.nothing: 10,
        }  # fmt: skip

    async def recover(self) -> None:
        """Let what cannot be written or asked be so for a while only."""
        if self.disk.full and self.dice.random() < 0.25:
            self.fill(False)
        if self.rig.runtime.unobservable and self.dice.random() < 0.2:
            self.rig.runtime.unobservable = None

    async def step(self) -> None:
        await self.recover()
        chances = self.chances()
        act = self.dice.choices(list(chances), list(chances.values()))[0]
        name, self.subject = getattr(act, "__name__", "?"), ""
        said = ""
        task = asyncio.ensure_future(act())
        # Death may come while something is asked for.
        dies = name not in ("control_dies", "gateway_dies") and self.dice.random() < 0.03
        try:
            if dies:
                await asyncio.wait({task}, timeout=self.dice.uniform(0, 0.4))
                await self.kill_control()
                task.cancel()
                await asyncio.wait({task})
                await self.bear_control()
                said = " and control died"
            await task
        except (ThvError, OSError) as error:
            said += f": {error!r}"
        except (asyncio.CancelledError, self.rig.killed):
            said += ": cut"
        self.log.append(f"{len(self.log)} {name} {self.subject}{said}"[:160])
        self.note()
        if self.dice.random() < 0.5:
            await self.pause(self.dice.uniform(0, 0.5))

    def note(self) -> None:
        """Note ports, and who was ready once; look whether a story lasts for ever."""
        for each in self.store.all():
            key = (each.name, each.request_id)
            if not each.provisional:
                self.ready.add(key)
                if self.ports.setdefault(key, each.config.port) != each.config.port:
                    self.violations.append(f"{each.name} had port {self.ports[key]} and has {each.config.port}")

    # What has to be in the end ---------------------------------------------------------------------------------------

    async def settle(self) -> None:
        self.fill(False)
        self.rig.runtime.unobservable = None
        self.gateway.calls.clear()
        for route in list(self.gateway.routes.values()):
            self.gateway._tell_quiet(route)
        deadline = time.monotonic() + SETTLE
        while (wrong := self.wrong()) and time.monotonic() < deadline:
            await self.pause(1.0)
        assert not wrong, wrong
        assert not self.violations, self.violations
        self.note()

    def wrong(self) -> list[str]:
        found: list[str] = []
        workloads = {each.name: each for each in self.store.all()}
        for each in workloads.values():
            found += self.wrong_with(each)
        strays = {label.rpartition(".")[0] for label in list(self.rig.runtime.seen)} - set(workloads)
        lost = [name for name, wanted in self.wanted.items() if wanted is Desired.REMOVED and name in workloads]
        return [
            *found,
            *(f"{name} has a life and is no workload" for name in strays),
            *(f"{name} was removed and is there" for name in lost),
            *self.wrong_snapshot(workloads),
            *self.wrong_leftovers(workloads),
            *(f"the story of {task.get_name()} has no end" for task in self.stories if not task.done()),
        ]

    def wrong_with(self, each: Workload) -> list[str]:
        label = f"{each.name}.{each.generation}"
        running, seen = (
            self.lives(each.name),
            [label for label in list(self.rig.runtime.seen) if label.rpartition(".")[0] == each.name],
        )
        wanted = self.wanted.get(each.name) or each.desired
        statuses = {Desired.RUNNING: (Status.RUNNING, Status.ERROR), Desired.STOPPED: (Status.STOPPED,)}
        is_right = (
            each.successor is None
            and each.desired is wanted
            and each.status in statuses.get(each.desired, ())
            and running == ([label] if each.status is Status.RUNNING else [])
            and len(seen) <= len(running) + 1
            and (each.status is not Status.ERROR or "came from a shell" in each.reason)
        )
        state = (each.desired, each.status, each.reason, each.generation, each.successor)
        return [] if is_right else [f"{each.name}: wanted {wanted}, is {state}, running {running}, seen {seen}"]

    def wrong_snapshot(self, workloads: dict[str, Workload]) -> list[str]:
        file = self.rig.paths.gateway / ROUTES_FILE
        text = file.read_bytes() if file.exists() else b"{}"
        snapshot = decode_document(text, RouteSnapshot, "routes")
        running = [each for each in workloads.values() if each.status is Status.RUNNING]
        routes = sorted(f"{each.name}.{each.generation}:{each.config.port}" for each in running)
        outlets = sorted(f"{each.name}.{each.generation}" for each in running if needs_outlet(each.config))
        found = sorted(f"{each.incarnation}:{each.port}" for each in snapshot.routes)
        unsettled = [each for each in snapshot.routes if each.hold or each.candidate or each.retiring]
        ports = [each.config.port for each in workloads.values()]
        return [
            *([f"routes {found}, running {routes}"] if found != routes else []),
            *([f"outlets {snapshot.outlets}, needed {outlets}"] if sorted(snapshot.outlets) != outlets else []),
            *(f"{each.incarnation} still holds, has a candidate or retires others" for each in unsettled),
            *([f"ports {ports}"] if len(set(ports)) < len(ports) or 0 in ports else []),
            *(
                ["the gateway has other routes"]
                if self.gateway.routes != {each.workload: each for each in snapshot.routes}
                else []
            ),
        ]

    def wrong_leftovers(self, workloads: dict[str, Workload]) -> list[str]:
        values = set(self.control.ground.shell_values.all()) - set(workloads)
        logs = {path.name for path in self.rig.paths.logs.iterdir()} - {f"{name}.log" for name in workloads}
        drafts = [path.name for path in self.rig.paths.gateway.iterdir() if path.name.startswith(".")]
        keepers = set(self.control._keepers) ^ set(workloads)
        return [f"{each} is left over" for each in (values, logs, drafts, keepers) if each]


async def chaos(world: World, steps: int) -> None:
    world.main = asyncio.current_task()
    await world.bear_gateway()
    await world.bear_control()
    try:
        for number in range(steps):
            await world.step()
            overdue = [task for task, began in world.stories.items() if task.done() or time.monotonic() - began > STORY]
            for task in overdue:
                if task.done():
                    del world.stories[task]
                    if not task.cancelled():
                        task.result()
            if number % 50 == 49:
                await world.settle()
        await world.settle()
        # Less than that would be no chaos.
        told = {("run", "NoneType"), ("change", "NoneType"), ("change", "RolledBack")}
        assert steps < 500 or told <= set(world.endings), world.endings
    finally:
        await world.kill_control()
        await world.kill_gateway()
        # What was closed is closed by the loop, in a moment.
        await world.pause(2.0)


# A control that is killed while it connects closes nothing.
@pytest.mark.filterwarnings("ignore:.*unclosed:ResourceWarning", "ignore::pytest.PytestUnraisableExceptionWarning")
def test_a_thousand_random_steps_end_with_everything_as_it_is_wanted(rig: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    seed = int(os.environ.get("THV_CHAOS_SEED", "1"))
    steps = int(os.environ.get("THV_CHAOS_STEPS", "1000"))
    monkeypatch.setattr(retrying, "SLOWEST", 60.0)
    world = World(rig, Disk(monkeypatch), random.Random(seed))
    try:
        with asyncio.Runner(loop_factory=lambda: fast_loop(SPEED)) as runner:
            runner.run(chaos(world, steps))
    except BaseException as error:
        last = "".join(f"\n  {line}" for line in world.log[-60:])
        error.add_note(f"THV_CHAOS_SEED={seed}: after {len(world.log)} steps, of which the last were:{last}")
        raise
