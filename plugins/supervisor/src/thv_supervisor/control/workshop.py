"""Run the jobs of builders in the isolation of a runtime: each is a deployment that is started, awaited and removed.

It lives as long as this process only: a job of a dead predecessor belongs to nobody and is ended as a stray.
"""

from __future__ import annotations

import asyncio
import re
import time
from collections.abc import Coroutine, Generator, Iterator
from contextlib import contextmanager, suppress

from thv_core.errors import StartFailed, ThvError, Unsupported
from thv_core.model.entry import PackageRoot
from thv_core.model.plan import Deployment, DeploymentPlan, Environment, outward_environment
from thv_core.model.profile import Network, Outbound
from thv_core.spi.runtimes import Observed, ObservedState, Runtime
from thv_core.spi.workshops import Finished, Job, Workshop
from thv_supervisor.control.connecting import connecting
from thv_supervisor.control.ground import Ground
from thv_supervisor.control.outlets import Outward, certificates, outlet_plan
from thv_supervisor.network_variables import proxy_variables

__all__ = ["JOBS", "IsolatedWorkshop"]

JOBS = "prepare-"
"""How the name of every job begins."""

OUTPUT_LIMIT = 256 << 10
LOOP_LIMIT = 10.0
GRACE = 2.0
QUICKEST, SLOWEST = 0.02, 0.5
UNKNOWN_EXIT = 255
TIMED_OUT = -1

_SHOWN_BY_EVERY_VIEW = "/usr"
_SILENT = ("/bin/sh", "-c", 'exec "$0" "$@" >&2 </dev/null')
"""Runs a command with its output in the log: nobody reads the standard output of a job, and it would stop there."""


class IsolatedWorkshop(Workshop):
    """Runs jobs in a runtime, in the worker thread of the builder that asks for them.

    :param loop: the event loop of this process.
    """

    def __init__(self, runtime: str, ground: Ground, loop: asyncio.AbstractEventLoop) -> None:
        self._runtime = runtime
        self._ground = ground
        self._loop = loop

    def run(self, job: Job) -> Finished:
        """Run a job to its end and remove it."""
        runtime = self._ground.kernel.drivers.get(Runtime, self._runtime)
        capabilities = runtime.capabilities
        if not capabilities.builds or (job.reach and not capabilities.network):
            raise Unsupported(
                f"the runtime {self._runtime} cannot run the preparation of packages",
                hint="Choose one that can:  thv config set runtime sandbox",
            )
        plan = self._plan(job)
        with self._cleared(runtime, plan.deployment):
            self._deploy(runtime, plan)
            code = _exit_code(runtime, plan.deployment, job.seconds)
            return Finished(exit_code=code, output=_end_of(runtime.logs(plan.deployment)))

    def _plan(self, job: Job) -> DeploymentPlan:
        number = self._ground.store.next_generation()
        word = re.sub(r"[^a-zA-Z0-9]+", "-", job.name)[:40].strip("-") or "job"
        command = (*_SILENT, *job.command)
        network = Network(outbound=Outbound(allow_host=job.reach))
        trusted = certificates(self._ground.kernel, self._ground.environment)
        return DeploymentPlan(
            deployment=Deployment(workload=f"{JOBS}{word}-{number}", generation=number),
            command=command,
            root=PackageRoot(path=_SHOWN_BY_EVERY_VIEW, command=command, view=job.read),
            # What the job inherits of the user's proxies leads nowhere in there.
            environment=Environment(values={**job.environment.values, **outward_environment(network, trusted)}),
            workspaces=job.write,
            network=network,
            limits=job.limits,
            certificates=trusted,
        )

    def _deploy(self, runtime: Runtime, plan: DeploymentPlan) -> None:
        outlet = outlet_plan(plan.network, 0, self._ground.kernel)
        proxies = proxy_variables(self._ground.environment)
        outward = Outward(plan.deployment, plan.network, outlet, proxies)
        if outward.is_needed:
            self._on_loop(self._ground.link.connect(plan.deployment.workload, [plan.deployment.label]))
        with connecting(outward, self._ground.network.hand) as connect:
            runtime.prepare(plan, lambda progress: None)
            runtime.deploy(plan, connect)

    @contextmanager
    def _cleared(self, runtime: Runtime, deployment: Deployment) -> Generator[None]:
        """Remove a job at its end: what may still run could go on writing where the builder already reads."""
        self._ground.jobs.add(deployment.workload)
        try:
            yield
        except BaseException:
            # No longer a job of ours, so that it is ended as a stray.
            with suppress(ThvError):
                self._clear(runtime, deployment)
            raise
        else:
            self._clear(runtime, deployment)
        finally:
            self._ground.jobs.discard(deployment.workload)

    def _clear(self, runtime: Runtime, deployment: Deployment) -> None:
        runtime.remove(deployment)
        self._on_loop(self._disconnect(deployment.workload))

    async def _disconnect(self, workload: str) -> None:
        await self._ground.link.connect(workload, ())
        self._ground.network.forget(workload)

    def _on_loop(self, change: Coroutine[object, object, None]) -> None:
        asyncio.run_coroutine_threadsafe(change, self._loop).result(LOOP_LIMIT)


def _exit_code(runtime: Runtime, deployment: Deployment, seconds: float) -> int:
    """Wait for the end of a job, and end it when its time is over."""
    deadline = time.monotonic() + seconds
    pause = QUICKEST
    while time.monotonic() < deadline:
        mine = _observed(runtime, deployment)
        if mine is None:
            raise StartFailed(f"{deployment.workload} was removed by somebody", hint="Try again.")
        if mine.state is ObservedState.EXITED:
            return UNKNOWN_EXIT if mine.exit_code is None else mine.exit_code
        time.sleep(min(pause, max(deadline - time.monotonic(), 0.0)))
        pause = min(pause * 1.5, SLOWEST)
    runtime.stop(deployment, GRACE)
    return TIMED_OUT


def _observed(runtime: Runtime, deployment: Deployment) -> Observed | None:
    return next((each for each in runtime.observe() if each.deployment == deployment), None)


def _end_of(chunks: Iterator[bytes]) -> str:
    kept = b""
    for chunk in chunks:
        kept = (kept + chunk)[-OUTPUT_LIMIT:]
    return kept.decode("utf-8", "replace")
