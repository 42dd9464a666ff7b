"""Start one life of a workload: root, secrets, plan, runtime. Values of secrets stay in this call."""

from __future__ import annotations

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
from thv_supervisor.control.ground import Ground
from thv_supervisor.control.progressing import Happenings

__all__ = ["last_lines", "rehearse", "start"]

BUILD_LIMIT = 1200.0
SECRETS_LIMIT = 30.0
DEPLOY_LIMIT = 60.0
SHOWN_LINES = 20


async def start(workload: Workload, ground: Ground, happenings: Happenings) -> None:
    """Start the current life of ``workload``, telling each step.

    :raises ThvError: when it cannot be started; nothing runs then.
    """
    plan = await _planned(workload, ground, happenings)
    name = workload.config.runtime

    def runtime() -> Runtime:
        return ground.kernel.drivers.get(Runtime, name)

    await ground.calls.run(f"runtime {name}", DEPLOY_LIMIT, lambda: runtime().prepare(plan, happenings.report))
    happenings.tell(Progress(step="isolated", text=isolation(plan, name)))
    if _still_wanted(workload, ground):
        await ground.calls.run(f"runtime {name}", DEPLOY_LIMIT, lambda: runtime().deploy(plan))


async def rehearse(workload: Workload, ground: Ground) -> None:
    """Go through everything that a start needs before it ends what runs.

    :raises ThvError: what the start would have met.
    """
    await _planned(workload, ground, Happenings())


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


async def _planned(workload: Workload, ground: Ground, happenings: Happenings) -> DeploymentPlan:
    config = workload.config
    package = package_of(config.image)
    shell = ground.shell_values.of(workload.name)
    provider = ground.kernel.configuration.secrets.provider

    def build() -> PackageRoot:
        return ground.kernel.drivers.get(Builder, package.scheme).build(package, happenings.report)

    values = await ground.calls.run(
        f"secrets {provider}", SECRETS_LIMIT, lambda: resolve_secrets(config, ground.kernel.secret_store, shell)
    )
    root = await ground.calls.run(f"builder {package.scheme}", BUILD_LIMIT, build)
    return deployment_plan(config, workload.generation, root, values)


def _still_wanted(workload: Workload, ground: Ground) -> bool:
    now = ground.store.get(workload.name)
    return now.desired is Desired.RUNNING and now.generation == workload.generation
