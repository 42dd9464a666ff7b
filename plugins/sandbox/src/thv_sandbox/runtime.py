"""The runtime: each call of the contract in a few steps, with the work done by the other modules.

Every server gets user, mount, PID, IPC, UTS, cgroup and network namespaces of its own, no capability, a system call
filter, limits, and a read-only view of just what it needs. A server that root starts runs as another user.
"""

from __future__ import annotations

import os
import platform
import signal
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import partial
from typing import Self

from thv_core.errors import NotFound, RuntimeUnavailable, SettingsError, ThvError, TimedOut, Unsupported
from thv_core.model.events import Progress
from thv_core.model.network import Namespace
from thv_core.model.plan import Deployment, DeploymentPlan
from thv_core.model.profile import Network
from thv_core.spi.drivers import Surroundings
from thv_core.spi.runtimes import Observed, ObservedState, Probe, Runtime, RuntimeCapabilities
from thv_sandbox import cgroups
from thv_sandbox.accounts import UID_RANGE, Accounts, check_access, uid_range
from thv_sandbox.binary import Bubblewrap
from thv_sandbox.ending import abort, end, kill, settle
from thv_sandbox.grants import check_grants
from thv_sandbox.instances import DeploymentFiles, Instance, Instances
from thv_sandbox.launching import Launch, launch
from thv_sandbox.limits import check_required, enforcement
from thv_sandbox.logs import log_chunks, shorten
from thv_sandbox.probing import installed, trial
from thv_sandbox.processes import alive, boot_identity
from thv_sandbox.sockets import check_sockets
from thv_sandbox.trust import certificates
from thv_sandbox.view import environment
from thv_sandbox.watching import Watch, note_memory

__all__ = ["SandboxRuntime"]

_DEPLOY_SECONDS = 6.0
_REMOVE_SECONDS = 30.0
_MODES = ("", "none", "bridge")
_KILLED = (None, 128 + signal.SIGKILL)


class SandboxRuntime(Runtime):
    """Runs servers in bubblewrap sandboxes; its state is files and processes, never memory."""

    capabilities = RuntimeCapabilities(packages=True, network=True, builds=True, limits=True)

    def __init__(
        self,
        surroundings: Surroundings,
        choose: Callable[[], Bubblewrap] | None = None,
        uids: tuple[int, int] = UID_RANGE,
    ) -> None:
        """Keep deployments below ``surroundings.state``.

        :param choose: returns the bubblewrap to use, on each use.
        :param uids: the first and the last uid for servers of root.
        """
        self._forbidden = (*surroundings.forbidden, surroundings.state)
        self._instances = Instances(surroundings.state)
        self._accounts = Accounts(self._instances, uids)
        self._watch = Watch()
        self._swept = False
        self._choose = choose or partial(
            installed, surroundings.environment.get("PATH", os.defpath), platform.machine()
        )
        self._proven: Bubblewrap | None = None

    @classmethod
    def from_settings(cls, settings: Mapping[str, object], surroundings: Surroundings) -> Self:
        """Construct the runtime; its one setting ``uid_range`` is ``FIRST-LAST``, the uids for servers of root.

        :raises SettingsError: when there is any other, or the range cannot be meant.
        """
        for key in settings:
            if key != "uid_range":
                raise SettingsError(f"{key} is not a setting of the sandbox", hint="It knows: uid_range.")
        return cls(surroundings, uids=uid_range(str(settings.get("uid_range", ""))))

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
        """Check what can be checked quickly before the start; there is nothing to make ready."""
        del report
        self._start(plan)
        check_access(plan, self._accounts.expected(plan))
        check_required(plan, enforcement(plan.limits, cgroups.here(), os.cpu_count() or 1))

    def deploy(self, plan: DeploymentPlan, connect: Callable[[Namespace], None]) -> Observed:
        """Start the server, or find it; the lock of its workload keeps a second starter waiting."""
        start = self._start(plan)
        files = self._instances.files(plan.deployment)
        if _whole(files) is None:
            check_sockets(plan)
        with self._instances.locked(plan.deployment.workload, _DEPLOY_SECONDS):
            return self._observed(_whole(files) or launch(start, files, connect), files)

    def namespace(self, deployment: Deployment) -> Namespace:
        """Return the namespace of the first process of a running deployment."""
        files = self._instances.files(deployment)
        instance = _whole(files)
        if instance is None or _state(instance, files) is not ObservedState.RUNNING:
            raise NotFound(f"{deployment.label} does not run")
        return Namespace(pid=instance.server.pid, start=instance.server.start)

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
        """Look at each directory, waiting for nobody, and have what runs watched from now on."""
        found = [self._look(deployment) for deployment in self._instances.deployments()]
        self._instances.tidy()
        if not self._swept:
            # Only what died in the middle of a removal leaves groups, and it has a successor.
            cgroups.sweep(cgroups.here(), self._instances.abandoned)
            self._swept = True
        return [each for each in found if each]

    def logs(self, deployment: Deployment, *, tail: int | None = None, follow: bool = False) -> Iterator[bytes]:
        """Yield the log; a deployment that does not exist is told at once, not at the first chunk."""
        files = self._instances.files(deployment)

        def running() -> bool:
            instance = files.read()
            return follow and instance is not None and _state(instance, files) is ObservedState.RUNNING

        files.reclaim()
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
            trial(bubblewrap, platform.machine(), self._accounts.anybody())
            self._proven = bubblewrap
        return bubblewrap

    def _start(self, plan: DeploymentPlan) -> Launch:
        _refuse_network(plan.network)
        check_grants(plan, self._forbidden)
        return Launch(
            plan=plan,
            accounts=self._accounts,
            environment=environment(plan),
            certificates=certificates(plan),
            program=self._usable(),
            architecture=platform.machine(),
        )

    def _look(self, deployment: Deployment) -> Observed | None:
        files = self._instances.files(deployment)
        try:
            instance = self._started(deployment, 0.0)
        except TimedOut:
            # Somebody holds the lock: this start is under way, not interrupted, unless it has succeeded just now.
            instance = _whole(files)
        return self._observed(instance, files) if instance else None

    def _observed(self, instance: Instance, files: DeploymentFiles) -> Observed:
        state = _state(instance, files)
        running = state is ObservedState.RUNNING
        if running:
            files.reclaim()
            self._watch.begin(instance, files)
        elif instance.boot == boot_identity():
            _tidy(instance, files)
        return Observed(
            deployment=instance.deployment,
            state=state,
            stdio=files.stdio,
            pid=instance.server.pid if running else 0,
            started_at=instance.started_at,
            exit_code=None if running else files.exit_code(),
            limits=instance.limits,
            notes=files.notes(),
        )

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
    if network.mode not in _MODES:
        raise Unsupported(
            f"the sandbox has no network {network.mode!r}: each server has one of its own",
            hint='Leave "mode" out of the profile, and name what the server may reach: --allow-network HOST[:PORT]',
        )


def _whole(files: DeploymentFiles) -> Instance | None:
    """Return the instance, or ``None`` while its start is not finished."""
    instance = files.read()
    return instance if instance is not None and instance.started else None


def _state(instance: Instance, files: DeploymentFiles) -> ObservedState:
    running = instance.boot == boot_identity() and alive(instance.server) and files.exit_code() is None
    return ObservedState.RUNNING if running else ObservedState.EXITED


def _tidy(instance: Instance, files: DeploymentFiles) -> None:
    """End what an exited server left in the background, which keeps its namespaces, and note why it exited."""
    kill(instance.server)
    settle(instance)
    note_memory(instance, files, ended=files.exit_code() in _KILLED)
    cgroups.remove(files.control_groups())
    shorten(files)
