"""Start one life of a workload: root, secrets, plan, runtime. Values of secrets stay in this call."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

from thv_core.errors import ThvError
from thv_core.model.elsewhere import place_of
from thv_core.model.entry import PackageRoot
from thv_core.model.events import Progress
from thv_core.model.plan import Deployment, DeploymentPlan, deployment_plan
from thv_core.model.run_config import RunConfig
from thv_core.model.status import Desired
from thv_core.model.workload import Workload
from thv_core.services.assembling import package_of
from thv_core.services.describing import isolation
from thv_core.services.resolving_secrets import resolve_secrets
from thv_core.services.swapping import succeeding
from thv_core.spi.runtimes import ObservedState, Runtime
from thv_core.spi.sources import Builder
from thv_supervisor.control.connecting import connecting
from thv_supervisor.control.ground import Ground
from thv_supervisor.control.header_values import header_values
from thv_supervisor.control.outlets import Outward, certificates, outlet_plan
from thv_supervisor.control.progressing import Happenings
from thv_supervisor.control.workshop import IsolatedWorkshop
from thv_supervisor.network_variables import proxy_variables

__all__ = ["Birth", "birth", "birth_of_successor", "last_lines", "outward_of", "rehearse", "start"]

BUILD_LIMIT = 1200.0
SECRETS_LIMIT = 30.0
EGRESS_LIMIT = 30.0
DEPLOY_LIMIT = 90.0
SHOWN_LINES = 20


@dataclass(frozen=True)
class Birth:
    """One life to start: its configuration, its number, and the values from a shell that it may need."""

    config: RunConfig
    generation: int
    shell: Mapping[str, str] = field(repr=False)

    @property
    def deployment(self) -> Deployment:
        """Which life of which workload."""
        return Deployment(workload=self.config.name, generation=self.generation)


def birth(workload: Workload, ground: Ground) -> Birth:
    """Return the birth of the current life of a workload."""
    return Birth(workload.config, workload.generation, ground.shell_values.of(workload.name))


def birth_of_successor(workload: Workload, ground: Ground) -> Birth:
    """Return the birth of the life that is to take the place of the current one."""
    following = succeeding(workload)
    successor = workload.successor
    comes_back = successor is not None and bool(successor.rolling_back)
    values = ground.shell_values.of if comes_back else ground.shell_values.of_change
    return Birth(following.config, following.generation, values(workload.name))


async def start(born: Birth, ground: Ground, happenings: Happenings) -> None:
    """Start a life, telling each step.

    :raises ThvError: when it cannot be started; nothing runs then.
    """
    plan, outward = await _planned(born, ground, happenings.report)
    name = born.config.runtime
    if outward.is_needed:
        await ground.link.connect(born.config.name, {*_connected(born, ground), plan.deployment.label})

    def deploy() -> None:
        runtime = ground.kernel.drivers.get(Runtime, name)
        # The program that makes the sockets starts while the runtime prepares.
        with connecting(outward, ground.network.hand) as connect:
            runtime.prepare(plan, happenings.report)
            happenings.report(_where(born.config, plan))
            if _still_wanted(born, ground):
                runtime.deploy(plan, connect)

    await ground.calls.run(f"runtime {name}", DEPLOY_LIMIT, deploy)


async def rehearse(born: Birth, ground: Ground, report: Callable[[Progress], None] = lambda progress: None) -> None:
    """Go through everything that a start needs before it ends what runs.

    :param report: told each step, from any thread.
    :raises ThvError: what the start would have met.
    """
    await _planned(born, ground, report)


async def outward_of(born: Birth, ground: Ground) -> Outward:
    """Return the connection that a life needs.

    :raises ThvError: when the egress cannot be had, or does not offer it.
    """
    config, kernel = born.config, ground.kernel
    network = config.permission_profile.network
    egress = f"egress {kernel.configuration.egress}"
    plan = await ground.calls.run(egress, EGRESS_LIMIT, lambda: outlet_plan(network, config.target_port, kernel))
    return Outward(born.deployment, network, plan, proxy_variables(ground.environment))


async def last_lines(runtime_name: str, deployment: Deployment, ground: Ground) -> list[str]:
    """Return the last lines that a server wrote to its standard error."""

    def read() -> bytes:
        runtime = ground.kernel.drivers.get(Runtime, runtime_name)
        return b"".join(runtime.logs(deployment, tail=SHOWN_LINES))

    try:
        text = await ground.calls.run(f"runtime {runtime_name}", 10.0, read)
    except ThvError:
        return []
    return text.decode("utf-8", "replace").splitlines()


def _where(config: RunConfig, plan: DeploymentPlan) -> Progress:
    if config.remote_url:
        text = f"it runs at {place_of(config.remote_url)}, out of reach of any isolation here"
        return Progress(step="elsewhere", text=text)
    return Progress(step="isolated", text=isolation(plan, config.runtime))


def _connected(born: Birth, ground: Ground) -> set[str]:
    """Return the lives of the same workload whose sockets the gateway has: those that run, and seats being started."""
    name = born.config.name
    observed = ground.observatory.sees(born.config.runtime, name) or ()
    running = {each.deployment.label for each in observed if each.state is ObservedState.RUNNING}
    seats = {Deployment(workload=name, generation=each.generation).label for each in ground.store.get(name).seats}
    return (running | seats) & ground.link.outlets(name)


async def _planned(born: Birth, ground: Ground, report: Callable[[Progress], None]) -> tuple[DeploymentPlan, Outward]:
    config = born.config
    provider = ground.kernel.configuration.secrets.provider
    values = await ground.calls.run(
        f"secrets {provider}", SECRETS_LIMIT, lambda: resolve_secrets(config, ground.kernel.secret_store, born.shell)
    )
    # Only whether they are there; the gateway gets them with the route.
    await header_values(config, born.shell, ground)
    outward = await outward_of(born, ground)
    root = await _root(config, ground, report)
    trusted = certificates(ground.kernel, ground.environment)
    return deployment_plan(config, born.generation, root, values, trusted), outward


async def _root(config: RunConfig, ground: Ground, report: Callable[[Progress], None]) -> PackageRoot:
    if config.remote_url:
        return PackageRoot(path="", command=())
    builder = f"builder {package_of(config).scheme}"
    return await ground.calls.run(builder, BUILD_LIMIT, _building(config, ground, report))


def _building(config: RunConfig, ground: Ground, report: Callable[[Progress], None]) -> Callable[[], PackageRoot]:
    package = package_of(config)
    workshop = IsolatedWorkshop(config.runtime, ground, asyncio.get_running_loop())

    def build() -> PackageRoot:
        return ground.kernel.drivers.get(Builder, package.scheme).build(package, report, workshop)

    return build


def _still_wanted(born: Birth, ground: Ground) -> bool:
    now = ground.store.get(born.config.name)
    wanted = now.generation if now.successor is None else now.successor.generation
    numbers = {wanted, *(each.generation for each in now.seats)}
    return now.desired is Desired.RUNNING and born.generation in numbers
