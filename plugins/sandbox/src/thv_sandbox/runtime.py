"""The runtime: each call of the contract in a few steps, with the work done by the other modules.

Every server gets user, mount, PID, IPC, UTS, cgroup and network namespaces of its own, no capability, a system call
filter, and a read-only view of just what it needs. A server that root starts still runs as the host's uid 0, mapped
into its user namespace without any capability: what root owns and the view shows, it can read. Giving those servers a
uid of their own is the next step; until then, prefer an ordinary user.
"""

from __future__ import annotations

import os
import platform
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import partial
from typing import Self

from thv_core.errors import NotFound, RuntimeUnavailable, SettingsError, ThvError, TimedOut, Unsupported
from thv_core.model.events import Progress
from thv_core.model.plan import Deployment, DeploymentPlan
from thv_core.model.profile import Network
from thv_core.spi.drivers import Surroundings
from thv_core.spi.runtimes import Observed, ObservedState, Probe, Runtime, RuntimeCapabilities
from thv_sandbox.binary import Bubblewrap
from thv_sandbox.ending import abort, end, kill, settle
from thv_sandbox.grants import check_grants
from thv_sandbox.hosts import this_host
from thv_sandbox.instances import DeploymentFiles, Instance, Instances
from thv_sandbox.launching import Launch, launch
from thv_sandbox.logs import log_chunks, shorten
from thv_sandbox.probing import installed, trial
from thv_sandbox.processes import alive, boot_identity
from thv_sandbox.seccomp import filter_program
from thv_sandbox.view import environment

__all__ = ["SandboxRuntime"]

_DEPLOY_SECONDS = 6.0
_REMOVE_SECONDS = 30.0


class SandboxRuntime(Runtime):
    """Runs servers in bubblewrap sandboxes; its state is files and processes, never memory."""

    capabilities = RuntimeCapabilities(packages=True)

    def __init__(self, surroundings: Surroundings, choose: Callable[[], Bubblewrap] | None = None) -> None:
        """Keep deployments below ``surroundings.state``; ``choose`` returns the bubblewrap to use, on each use."""
        self._forbidden = (*surroundings.forbidden, surroundings.state)
        self._instances = Instances(surroundings.state)
        self._choose = choose or partial(
            installed, surroundings.environment.get("PATH", os.defpath), platform.machine()
        )
        self._proven: Bubblewrap | None = None

    @classmethod
    def from_settings(cls, settings: Mapping[str, object], surroundings: Surroundings) -> Self:
        """Construct the runtime, which has no settings.

        :raises SettingsError: when there are any.
        """
        for key in settings:
            raise SettingsError(f"{key} is not a setting of the sandbox", hint="It has none.")
        return cls(surroundings)

    def probe(self) -> Probe:
        """Try a sandbox now."""
        self._proven = None
        try:
            bubblewrap = self._usable()
        except ThvError as error:
            return Probe(ready=False, detail="; ".join((error.message, *error.evidence)), hint=error.hint)
        except OSError as error:
            return Probe(ready=False, detail=f"the sandbox cannot be tried: {error}")
        return Probe(ready=True, detail=f"{bubblewrap.description}, user namespaces work")

    def prepare(self, plan: DeploymentPlan, report: Callable[[Progress], None]) -> None:
        """Check everything that can be checked before the start; there is nothing to make ready."""
        del report
        self._start(plan)

    def deploy(self, plan: DeploymentPlan) -> Observed:
        """Start the server, or find it; the lock of its workload keeps a second starter waiting."""
        start = self._start(plan)
        files = self._instances.files(plan.deployment)
        with self._instances.locked(plan.deployment.workload, _DEPLOY_SECONDS):
            instance = _whole(files) or launch(start, files)
            return _observed(instance, files)

    def stop(self, deployment: Deployment, grace: float) -> None:
        """Send SIGTERM, wait, send SIGKILL."""
        if self._instances.files(deployment).directory.exists():
            instance = self._started(deployment, _REMOVE_SECONDS)
            if instance is not None:
                end(instance, grace)

    def remove(self, deployment: Deployment) -> None:
        """Kill it and delete its directory."""
        files = self._instances.files(deployment)
        if files.directory.exists():
            with self._instances.locked(deployment.workload, _REMOVE_SECONDS):
                abort(files)

    def observe(self) -> Sequence[Observed]:
        """Look at each directory, waiting for nobody; the logs are kept from growing on this occasion."""
        found = [self._look(deployment) for deployment in self._instances.deployments()]
        self._instances.tidy()
        return [each for each in found if each]

    def logs(self, deployment: Deployment, *, tail: int | None = None, follow: bool = False) -> Iterator[bytes]:
        """Yield the log; a deployment that does not exist is told at once, not at the first chunk."""
        files = self._instances.files(deployment)

        def running() -> bool:
            instance = files.read()
            return follow and instance is not None and _state(instance, files) is ObservedState.RUNNING

        try:
            return log_chunks(files, tail, running)
        except FileNotFoundError:
            raise NotFound(f"there is no deployment {deployment.label}") from None

    def _usable(self) -> Bubblewrap:
        if platform.system() != "Linux":
            raise RuntimeUnavailable(
                f"the sandbox needs Linux, and this is {platform.system()}",
                hint="Choose a container runtime: thv config set runtime NAME",
            )
        bubblewrap = self._choose()
        if bubblewrap != self._proven:
            trial(bubblewrap, platform.machine())
            self._proven = bubblewrap
        return bubblewrap

    def _start(self, plan: DeploymentPlan) -> Launch:
        _refuse_network(plan.network)
        check_grants(plan, self._forbidden)
        return Launch(
            plan=plan,
            host=this_host(),
            environment=environment(plan),
            program=self._usable().path,
            seccomp=filter_program(platform.machine()),
        )

    def _look(self, deployment: Deployment) -> Observed | None:
        files = self._instances.files(deployment)
        try:
            instance = self._started(deployment, 0.0)
        except TimedOut:
            # Somebody holds the lock: this start is under way, not interrupted, unless it has succeeded just now.
            instance = _whole(files)
        if instance is None:
            return None
        shorten(files)
        return _observed(instance, files)

    def _started(self, deployment: Deployment, seconds: float) -> Instance | None:
        """Return the instance of a deployment that started, or clean up the start that was interrupted.

        :raises TimedOut: when it has not started, and somebody holds the lock for so long.
        """
        files = self._instances.files(deployment)
        instance = _whole(files)
        if instance is None:
            with self._instances.locked(deployment.workload, seconds):
                instance = _whole(files)
                if instance is None:
                    abort(files)
        return instance


def _refuse_network(network: Network) -> None:
    if network.reaches_out:
        outbound = network.outbound
        wanted = "anything" if outbound.insecure_allow_all else ", ".join(outbound.allow_host) or network.mode
        raise Unsupported(
            f"the sandbox cannot open the network yet: the profile asks to reach {wanted}",
            hint="Run it without network: --permission-profile none",
        )


def _whole(files: DeploymentFiles) -> Instance | None:
    """Return the instance, or ``None`` while its start is not finished."""
    instance = files.read()
    return instance if instance is not None and instance.started else None


def _state(instance: Instance, files: DeploymentFiles) -> ObservedState:
    running = instance.boot == boot_identity() and alive(instance.server) and files.exit_code() is None
    return ObservedState.RUNNING if running else ObservedState.EXITED


def _observed(instance: Instance, files: DeploymentFiles) -> Observed:
    state = _state(instance, files)
    if state is ObservedState.EXITED and instance.boot == boot_identity():
        # Processes that a server left in the background keep its namespaces, though the server itself is gone.
        kill(instance.server)
        settle(instance)
    running = state is ObservedState.RUNNING
    return Observed(
        deployment=instance.deployment,
        state=state,
        stdio=files.stdio,
        pid=instance.server.pid if running else 0,
        started_at=instance.started_at,
        exit_code=None if running else files.exit_code(),
    )
