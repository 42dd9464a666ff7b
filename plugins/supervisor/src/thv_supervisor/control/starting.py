"""Start one life of a workload: root, secrets, plan, runtime. Values of secrets stay in this call."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

from thv_core.errors import ThvError
from thv_core.model.entry import PackageRoot
from thv_core.model.events import Progress
from thv_core.model.plan import Deployment, DeploymentPlan, deployment_plan
from thv_core.model.status import Desired
from thv_core.model.workload import Workload
from thv_core.services.assembling import package_of
from thv_core.services.describing import isolation
from thv_core.services.resolving_secrets import resolve_secrets
from thv_core.spi.runtimes import Runtime
from thv_core.spi.sources import Builder
from thv_supervisor.control.connecting import connecting
from thv_supervisor.control.ground import Ground
from thv_supervisor.control.outlets import Outward, certificates, outlet_plan
from thv_supervisor.control.progressing import Happenings
from thv_supervisor.control.workshop import IsolatedWorkshop
from thv_supervisor.network_variables import proxy_variables

__all__ = ["last_lines", "outward_of", "rehearse", "start"]

BUILD_LIMIT = 1200.0
SECRETS_LIMIT = 30.0
EGRESS_LIMIT = 30.0
DEPLOY_LIMIT = 90.0
SHOWN_LINES = 20


async def start(workload: Workload, ground: Ground, happenings: Happenings) -> None:
    """Start the current life of ``workload``, telling each step.

    :raises ThvError: when it cannot be started; nothing runs then.
    """
    plan, outward = await _planned(workload, ground, happenings)
    name = workload.config.runtime
    if outward.is_needed:
        await ground.link.connect(workload.name, [plan.deployment.label])

    def deploy() -> None:
        runtime = ground.kernel.drivers.get(Runtime, name)
        # The program that makes the sockets starts while the runtime prepares.
        with connecting(outward, ground.network.hand) as connect:
            runtime.prepare(plan, happenings.report)
            happenings.report(Progress(step="isolated", text=isolation(plan, name)))
            if _still_wanted(workload, ground):
                runtime.deploy(plan, connect)

    await ground.calls.run(f"runtime {name}", DEPLOY_LIMIT, deploy)


async def rehearse(workload: Workload, ground: Ground) -> None:
    """Go through everything that a start needs before it ends what runs.

    :raises ThvError: what the start would have met.
    """
    await _planned(workload, ground, Happenings())


async def outward_of(workload: Workload, ground: Ground) -> Outward:
    """Return the connection that the current life of a workload needs.

    :raises ThvError: when the egress cannot be had, or does not offer it.
    """
    config, kernel = workload.config, ground.kernel
    network = config.permission_profile.network
    egress = f"egress {kernel.configuration.egress}"
    plan = await ground.calls.run(egress, EGRESS_LIMIT, lambda: outlet_plan(network, config.target_port, kernel))
    deployment = Deployment(workload=workload.name, generation=workload.generation)
    return Outward(deployment, network, plan, proxy_variables(ground.environment))


async def last_lines(workload: Workload, deployment: Deployment, ground: Ground) -> list[str]:
    """Return the last lines that a server wrote to its standard error."""
    runtime_name = workload.config.runtime

    def read() -> bytes:
        runtime = ground.kernel.drivers.get(Runtime, runtime_name)
        return b"".join(runtime.logs(deployment, tail=SHOWN_LINES))

    try:
        text = await ground.calls.run(f"runtime {runtime_name}", 10.0, read)
    except ThvError:
        return []
    return text.decode("utf-8", "replace").splitlines()


async def _planned(workload: Workload, ground: Ground, happenings: Happenings) -> tuple[DeploymentPlan, Outward]:
    config = workload.config
    shell = ground.shell_values.of(workload.name)
    provider = ground.kernel.configuration.secrets.provider
    values = await ground.calls.run(
        f"secrets {provider}", SECRETS_LIMIT, lambda: resolve_secrets(config, ground.kernel.secret_store, shell)
    )
    outward = await outward_of(workload, ground)
    builder = f"builder {package_of(config).scheme}"
    root = await ground.calls.run(builder, BUILD_LIMIT, _building(workload, ground, happenings))
    trusted = certificates(ground.kernel, ground.environment)
    return deployment_plan(config, workload.generation, root, values, trusted), outward


def _building(workload: Workload, ground: Ground, happenings: Happenings) -> Callable[[], PackageRoot]:
    package = package_of(workload.config)
    workshop = IsolatedWorkshop(workload.config.runtime, ground, asyncio.get_running_loop())

    def build() -> PackageRoot:
        return ground.kernel.drivers.get(Builder, package.scheme).build(package, happenings.report, workshop)

    return build


def _still_wanted(workload: Workload, ground: Ground) -> bool:
    now = ground.store.get(workload.name)
    return now.desired is Desired.RUNNING and now.generation == workload.generation
