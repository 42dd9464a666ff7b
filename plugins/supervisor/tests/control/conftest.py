"""A control without processes: the real reconciler and state over fakes of everything that control speaks to."""

from __future__ import annotations

import asyncio
import contextlib
import socket
import sqlite3
import threading
import time
from collections.abc import AsyncGenerator, Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass, field
from typing import Any

import pytest

from thv_core.errors import NotFound, PluginNotFound, RuntimeUnavailable, StartFailed, Unsupported
from thv_core.kernel import Kernel
from thv_core.loading.catalog import Catalog
from thv_core.loading.drivers import Drivers
from thv_core.model.egress import EgressRecord
from thv_core.model.events import Progress
from thv_core.model.network import Handover, Namespace, OutletPlan
from thv_core.model.plan import Deployment, DeploymentPlan
from thv_core.model.profile import Network
from thv_core.model.request import RunRequest
from thv_core.model.route import Route, RouteReport
from thv_core.model.status import Status
from thv_core.model.workload import Workload
from thv_core.spi.drivers import Driver, Surroundings
from thv_core.spi.egress import Egress, OpenOutlet, Outlet
from thv_core.spi.runtimes import Observed, ObservedState, Probe, Runtime, RuntimeCapabilities, Stdio
from thv_core.spi.secrets import SecretStore
from thv_core.spi.sources import Builder, ServerSource
from thv_core.state.configuration import Configuration, SecretsSettings
from thv_core.state.paths import Paths
from thv_core.state.store import StateStore
from thv_supervisor.control import observing, reconnecting, retrying, starting, workshop
from thv_supervisor.control.connecting import Hand
from thv_supervisor.control.driver_calls import DriverCalls
from thv_supervisor.control.ground import Ground, ShellValues
from thv_supervisor.control.keeping import Keeper
from thv_supervisor.control.observing import Observatory
from thv_supervisor.control.outlets import Outward
from thv_supervisor.control.reconciler import Reconciler
from thv_testkit.fake_gateway import FakeGateway
from thv_testkit.fakes import FakeBuilder, FakeClock, FakeRuntime, FakeSource, MemoryStore, RecordingObserver

LIMIT = 10.0


class Killed(BaseException):
    """The process ends here, as by ``kill -9``."""


@dataclass
class Fuse:
    """Kills whoever calls :meth:`burn` for the ``left``-th time; it never goes off when ``left`` is negative."""

    left: int = -1
    burnt: list[str] = field(default_factory=list[str])
    blown: threading.Event = field(default_factory=threading.Event)

    def burn(self, moment: str) -> None:
        self.burnt.append(moment)
        if self.blown.is_set():
            raise Killed(moment)
        self.left -= 1
        if self.left == -1:
            self.blown.set()
            raise Killed(moment)


class MemoryRuntime(Runtime):
    """Deployments in memory, which outlive every control; each call burns the fuse before and after it acts."""

    capabilities = RuntimeCapabilities(packages=True, network=True, builds=True)

    def __init__(self, fuse: Fuse) -> None:
        self.fuse = fuse
        self.seen: dict[str, Observed] = {}
        self.log = b"a line\nthe last line\n"
        self.lives: list[str] = []
        self.stops: list[tuple[str, float]] = []
        self.plans: list[DeploymentPlan] = []
        self.unobservable: Exception | None = None
        self.no_namespace: Exception | None = None

    def probe(self) -> Probe:
        return Probe(ready=True, detail="in memory")

    def prepare(self, plan: DeploymentPlan, report: Callable[[Progress], None]) -> None:
        report(Progress(step="prepared", text="nothing"))

    def deploy(self, plan: DeploymentPlan, connect: Callable[[Namespace], None]) -> Observed:
        self.fuse.burn("before deploy")
        label = plan.deployment.label
        if label not in self.seen:
            if plan.network.reaches_out or plan.port:
                connect(Namespace(pid=1000 + plan.deployment.generation, start=1))
            self.lives.append(label)
            self.plans.append(plan)
            self.seen[label] = Observed(
                deployment=plan.deployment,
                state=ObservedState.RUNNING,
                stdio=Stdio(stdin=f"{label}/in", stdout=f"{label}/out", lock=f"{label}/lock"),
                pid=len(self.lives),
            )
        self.fuse.burn("after deploy")
        return self.seen[label]

    def stop(self, deployment: Deployment, grace: float) -> None:
        self.fuse.burn("before stop")
        self.stops.append((deployment.label, grace))
        self.exit(deployment.label, 0)
        self.fuse.burn("after stop")

    def remove(self, deployment: Deployment) -> None:
        self.fuse.burn("before remove")
        self.seen.pop(deployment.label, None)
        self.fuse.burn("after remove")

    def namespace(self, deployment: Deployment) -> Namespace:
        if self.no_namespace:
            raise self.no_namespace
        return Namespace(pid=2000 + deployment.generation, start=1)

    def observe(self) -> Sequence[Observed]:
        if self.unobservable:
            raise self.unobservable
        return list(self.seen.values())

    def logs(self, deployment: Deployment, *, tail: int | None = None, follow: bool = False) -> Iterator[bytes]:
        if deployment.label not in self.seen:
            raise NotFound(f"there is no deployment {deployment.label}")
        lines = self.log.splitlines(keepends=True)
        return iter([b"".join(lines if tail is None else lines[len(lines) - tail :])])

    def exit(self, label: str, code: int) -> None:
        """Let a server end by itself."""
        if label in self.seen:
            before = self.seen[label]
            self.seen[label] = Observed(
                deployment=before.deployment, state=ObservedState.EXITED, stdio=before.stdio, exit_code=code
            )

    def running(self) -> list[str]:
        return sorted(label for label, each in list(self.seen.items()) if each.state is ObservedState.RUNNING)


class FragileStore(StateStore):
    """The real state; each change burns the fuse before and after it."""

    fuse = Fuse()

    def add(self, workload: Workload) -> None:
        self.fuse.burn("before add")
        super().add(workload)
        self.fuse.burn("after add")

    def replace(self, workload: Workload) -> None:
        self.fuse.burn(f"before {workload.desired} {workload.status}")
        super().replace(workload)
        self.fuse.burn(f"after {workload.desired} {workload.status}")

    def remove(self, name: str) -> None:
        self.fuse.burn("before forget")
        super().remove(name)
        self.fuse.burn("after forget")


class RiggedGateway(FakeGateway):
    """A gateway that outlives every control, and what it was told to have."""

    def __init__(self, fuse: Fuse) -> None:
        super().__init__()
        self.fuse = fuse
        self.outlets: dict[str, frozenset[str]] = {}
        self.served: set[str] = set()
        self.values: dict[str, dict[str, str]] = {}
        self.refused: dict[str, str] = {}
        self.published: list[tuple[str, str]] = []


class FakeLink:
    """What one control knows of the gateway."""

    def __init__(self, gateway: RiggedGateway, changed: Callable[[str], None]) -> None:
        self._gateway = gateway
        self._changed = changed
        self._reports = dict(gateway.reports)
        gateway.listener = self._heard_soon

    def report(self, incarnation: str) -> RouteReport | None:
        return self._reports.get(incarnation)

    def reports(self, workload: str) -> dict[str, RouteReport]:
        return {label: each for label, each in self._reports.items() if each.workload == workload}

    def route(self, workload: str) -> Route | None:
        return self._gateway.routes.get(workload)

    def routed(self) -> list[str]:
        return sorted(self._gateway.routes)

    async def publish(self, workload: str, route: Route | None) -> None:
        if self._gateway.routes.get(workload) == route:
            return
        self._gateway.fuse.burn("before publish")
        self._gateway.published.append((workload, route.incarnation if route else ""))
        self._gateway.route(workload, route)
        self._gateway.fuse.burn("after publish")
        for label in self.reports(workload).keys() - self._gateway.reports.keys():
            del self._reports[label]

    async def give(self, workload: str, values: Mapping[str, str]) -> None:
        self._gateway.values[workload] = dict(values)

    def say(self, report: RouteReport) -> None:
        """Let the gateway say something."""
        self._gateway.reports[report.incarnation] = report
        self._heard(report)

    def _heard_soon(self, report: RouteReport) -> None:
        # Not at once: a real gateway answers while control goes on.
        asyncio.get_running_loop().call_soon(self._heard, report)

    def _heard(self, report: RouteReport) -> None:
        self._reports[report.incarnation] = report
        self._changed(report.workload)

    async def connect(self, workload: str, incarnations: Iterable[str]) -> None:
        self._gateway.outlets[workload] = frozenset(incarnations)
        if not self._gateway.outlets[workload]:
            del self._gateway.outlets[workload]

    def outlets(self, workload: str) -> frozenset[str]:
        return self._gateway.outlets.get(workload, frozenset())

    def connected(self) -> set[str]:
        return set(self._gateway.outlets)


class FakeNetwork:
    """What one control knows of the sockets that the gateway serves: it keeps none itself."""

    def __init__(self, gateway: RiggedGateway) -> None:
        self._gateway = gateway
        self.handovers: list[Handover] = []

    def hand(self, handover: Handover, sockets: tuple[socket.socket, ...]) -> None:
        self.handovers.append(handover)
        if reason := self._gateway.refused.get(handover.incarnation):
            raise StartFailed(reason)
        self._gateway.served.add(handover.incarnation)

    def lacks(self, incarnation: str) -> bool:
        named = {label for labels in self._gateway.outlets.values() for label in labels}
        return incarnation in named - self._gateway.served - set(self._gateway.refused)

    def refusal(self, incarnation: str) -> str:
        return self._gateway.refused.get(incarnation, "")

    def forget(self, workload: str, but: Iterable[str] = ()) -> None:
        kept = set(but)
        ours = {label for label in self._gateway.served if label.rpartition(".")[0] == workload}
        self._gateway.served -= ours - kept


class FakeEgress(Egress):
    """Plans a pool and the usual ports for whoever reaches out."""

    def plan(self, network: Network) -> OutletPlan:
        if "nowhere.test" in network.outbound.allow_host:
            raise Unsupported("nowhere.test is nowhere")
        return OutletPlan(pool="11.254.0.0/16", ports=(80, 443), proxy=3128, dns=53)

    def open(self, outlet: Outlet) -> OpenOutlet:
        raise NotImplementedError

    def records(self, *, workload: str = "", follow: bool = False) -> Iterator[Sequence[EgressRecord]]:
        raise NotImplementedError


class Enterings:
    """Stands in for the program that makes sockets: which namespaces it was sent to, and for whom."""

    def __init__(self) -> None:
        self.sent: list[tuple[str, int]] = []
        self.failure: Exception | None = None

    @contextmanager
    def __call__(self, outward: Outward, hand: Hand) -> Iterator[Callable[[Namespace], None]]:
        def connect(namespace: Namespace) -> None:
            if self.failure:
                raise self.failure
            self.sent.append((outward.deployment.label, namespace.pid))
            hand(outward.handover(()), ())

        yield connect


class HandedDrivers(Drivers):
    """Drivers that a test hands over, by contract and name."""

    def __init__(self, drivers: Mapping[tuple[type[Driver], str], Driver], surroundings: Any) -> None:
        super().__init__(Catalog([]), {}, surroundings)
        self.handed = dict(drivers)

    def get(self, contract: type[Any], name: str) -> Any:
        try:
            return self.handed[contract, name]
        except KeyError:
            raise PluginNotFound(f"no installed plugin offers the {contract.__name__} {name!r}") from None


class FakeHooks:
    """Middleware that no plugin offers, or that a test does."""

    def __init__(self) -> None:
        self.recipes: dict[str, Any] = {}
        self.failures: dict[str, str] = {}

    def middleware(self) -> dict[str, Any]:
        return self.recipes


class Rig:
    """One user's state, runtimes and gateway; controls over them come and go."""

    killed = Killed

    def __init__(self, paths: Paths) -> None:
        self.paths = paths
        self._count_lives_from_one()
        self.fuse = Fuse()
        self.runtime = MemoryRuntime(self.fuse)
        self.processes = FakeRuntime(paths.state / "processes")
        self.gateway = RiggedGateway(self.fuse)
        self.secrets = MemoryStore()
        self.builder = FakeBuilder()
        self.hooks = FakeHooks()
        self.clock = FakeClock()
        self.observer = RecordingObserver()
        self.shell = ShellValues({})
        self.enterings = Enterings()
        self.environment: dict[str, str] = {}
        self.configuration = Configuration(runtime="memory", secrets=SecretsSettings(provider="memory"))
        self.drivers = HandedDrivers(
            {
                (Runtime, "memory"): self.runtime,
                (Runtime, "processes"): self.processes,
                (ServerSource, "fake"): FakeSource(),
                (Builder, "fake"): self.builder,
                (SecretStore, "memory"): self.secrets,
                (Egress, "names"): FakeEgress(),
            },
            lambda name: Surroundings(state=paths.plugin_state(name), cache=paths.plugin_cache(name)),
        )

    def _count_lives_from_one(self) -> None:
        StateStore(self.paths.database).close()
        with contextlib.closing(sqlite3.connect(self.paths.database)) as connection, connection:
            connection.execute("UPDATE counters SET value = 0")

    def kernel(self) -> Kernel:
        return Kernel(self.paths, self.configuration, Catalog([]), self.drivers, self.hooks)

    def ground(self, changed: Callable[[str], None], store: StateStore) -> Ground:
        calls = DriverCalls()
        return Ground(
            kernel=self.kernel(),
            store=store,
            calls=calls,
            observatory=Observatory(self.drivers, calls, changed),
            link=FakeLink(self.gateway, changed),
            network=FakeNetwork(self.gateway),
            shell_values=self.shell,
            observers=(("recording", self.observer),),
            clock=self.clock,
            environment=self.environment,
        )

    @asynccontextmanager
    async def control(self) -> AsyncGenerator[Reconciler]:
        """Start a control over what is there; at the end it is gone, and whatever it only knew is lost."""
        mine = asyncio.current_task()
        store = FragileStore(self.paths.database)
        store.fuse = self.fuse
        ground = self.ground(lambda workload: reconciler.wake(workload), store)
        reconciler = Reconciler(ground)
        try:
            await reconciler.adopt()
            watching = asyncio.create_task(ground.observatory.watch(reconciler.runtimes, reconciler.end_strays))
            yield reconciler
            assert self.fuse.blown.is_set() or not watching.done()
        finally:
            await self._ended(asyncio.all_tasks() - {mine})
            store.close()

    @staticmethod
    async def _ended(tasks: set[asyncio.Task[Any]]) -> None:
        # More than once: before Python 3.12, wait_for swallows a cancellation that meets its result.
        while pending := {task for task in tasks if not task.done()}:
            for task in pending:
                task.cancel()
            await asyncio.wait(pending, timeout=0.05)
        for task in tasks:
            if not task.cancelled():
                task.exception()

    @staticmethod
    def request(server: str = "fake://echo", request_id: str = "one", **more: Any) -> RunRequest:
        return RunRequest(request_id=request_id, server=server, **more)

    async def until(self, condition: Callable[[], Any], limit: float = LIMIT) -> Any:
        """Wait on the event loop until a condition is true."""
        deadline = time.monotonic() + limit
        while not (found := condition()):
            assert time.monotonic() < deadline, f"not within {limit:g} s: {condition}"
            await asyncio.sleep(0.01)
        return found

    async def becomes(self, control: Reconciler, name: str, status: Status) -> Workload:
        """Wait until a workload has a status."""
        await self.until(
            lambda: name in control.ground.store.names() and control.ground.store.get(name).status is status
        )
        return control.ground.store.get(name)

    async def gone(self, control: Reconciler, name: str) -> None:
        """Wait until a workload is forgotten."""
        await self.until(lambda: name not in control.ground.store.names())

    async def story(self, keeper: Keeper) -> list[Any]:
        """Return everything that a listener hears up to the end."""

        async def heard() -> list[Any]:
            return [happening async for happening in keeper.happenings.listen()]

        return await asyncio.wait_for(heard(), LIMIT)

    async def run(self, control: Reconciler, request: RunRequest | None = None) -> list[Any]:
        """Submit a request and return its story."""
        return await self.story(await control.submit(request or self.request()))


@pytest.fixture
def rig(paths: Paths, monkeypatch: pytest.MonkeyPatch) -> Iterator[Rig]:
    """Everything around control, with back-off and intervals that do not make a test wait."""
    monkeypatch.setattr(retrying, "SLOWEST", 0.02)
    monkeypatch.setattr(retrying, "EXIT_PAUSE", 0.005)
    monkeypatch.setattr(observing, "INTERVAL", 0.02)
    rig = Rig(paths)
    for module in (starting, reconnecting, workshop):
        monkeypatch.setattr(module, "connecting", rig.enterings)
    yield rig
    for each in rig.processes.observe():
        rig.processes.remove(each.deployment)


@pytest.fixture
def broken_engine() -> Exception:
    return RuntimeUnavailable("the engine does not answer")
