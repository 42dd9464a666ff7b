"""A runtime without isolation, for tests of the whole system on machines that cannot isolate anything.

It is real in everything else: servers are processes on FIFOs that outlive whoever started them and are found again.
The network namespace that it names is that of the host. Sockets that are made "inside" are made on the host: let its
servers use :class:`thv_testkit.fakes.FakeEgress`, which plans no port that only root may bind.
"""

from __future__ import annotations

import fcntl
import os
import shutil
import signal
import threading
import time
from collections.abc import Callable, Generator, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Self

from thv_core.errors import InvalidRequest, NotFound, RuntimeUnavailable, SettingsError, TimedOut
from thv_core.spi import (
    Deployment,
    DeploymentPlan,
    Namespace,
    Observed,
    Probe,
    Progress,
    Runtime,
    RuntimeCapabilities,
    Surroundings,
)
from thv_testkit.fake_life import START_WITHIN, Life

__all__ = ["FakeRuntime"]


class FakeRuntime(Runtime):
    """Starts servers as child processes WITHOUT isolation, below a folder of its own."""

    capabilities = RuntimeCapabilities(packages=True, network=True, builds=True, limits=True)

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        self._in_this_process = threading.Lock()
        self.deployed: list[DeploymentPlan] = []

    @classmethod
    def from_settings(cls, settings: Mapping[str, object], surroundings: Surroundings) -> Self:
        """Construct it below ``surroundings.state``; it has no settings."""
        if settings:
            raise SettingsError(f"{min(settings)} is not a setting of the fake runtime", hint="It has none.")
        return cls(surroundings.state / "fake-runtime")

    def probe(self) -> Probe:
        """Say that this is a fake."""
        return Probe(ready=True, detail="a fake: no isolation")

    def prepare(self, plan: DeploymentPlan, report: Callable[[Progress], None]) -> None:
        """Refuse to promise limits, and what is not there to write; there is nothing to prepare."""
        if plan.require_limits:
            raise RuntimeUnavailable("the fake runtime enforces no limits", hint="Set require_limits to false.")
        for workspace in plan.workspaces:
            if not Path(workspace).is_dir():
                raise InvalidRequest(f"the workspace {workspace} is no folder")
        report(Progress(step="prepared", text="nothing to prepare"))

    def deploy(self, plan: DeploymentPlan, connect: Callable[[Namespace], None]) -> Observed:
        """Start the server, or find it running."""
        self.prepare(plan, lambda _: None)
        life = Life(self._folder / plan.deployment.label)
        with self._claimed(life) as lock:
            if lock is not None and not life.has_started:
                self.deployed.append(plan)
                life.start(plan, lock, connect)
        return life.observed()

    def stop(self, deployment: Deployment, grace: float) -> None:
        """Send SIGTERM, wait, and kill what is left."""
        life = Life(self._folder / deployment.label)
        life.signal(signal.SIGTERM)
        if not life.ends_within(grace):
            life.signal(signal.SIGKILL)
            life.ends_within(START_WITHIN)

    def remove(self, deployment: Deployment) -> None:
        """Kill and forget a deployment."""
        self.stop(deployment, 0)
        # Whoever observes meanwhile sees all of it or nothing.
        with self._alone():
            shutil.rmtree(self._folder / deployment.label, ignore_errors=True)

    def observe(self) -> Sequence[Observed]:
        """List the deployments; what was interrupted before its start is cleaned up."""
        found: list[Observed] = []
        with self._alone():
            for folder in sorted(self._folder.iterdir()):
                life = Life(folder)
                # The other order would take one that starts between the questions for one that was interrupted.
                if not life.is_running and not life.has_started:
                    shutil.rmtree(folder, ignore_errors=True)
                elif life.has_started:
                    found.append(life.observed())
        return found

    def namespace(self, deployment: Deployment) -> Namespace:
        """Return the namespace of the server, which is that of the host."""
        life = Life(self._folder / deployment.label)
        if not (life.has_started and life.is_running):
            raise NotFound(f"{deployment.label} does not run")
        return life.namespace()

    def logs(self, deployment: Deployment, *, tail: int | None = None, follow: bool = False) -> Iterator[bytes]:
        """Yield the server's standard error."""
        life = Life(self._folder / deployment.label)
        if not life.has_started:
            raise NotFound(f"there is no deployment {deployment.label}")
        return _followed(life, tail, follow)

    @contextmanager
    def _claimed(self, life: Life) -> Generator[int | None]:
        """Yield the lock of a life that has ended or not begun, or None while it is lived."""
        deadline = time.monotonic() + START_WITHIN
        while True:
            with self._alone():
                lock = life.claim()
            if lock is not None or life.has_started:
                break
            # Somebody else's start is under way, or was interrupted and is dying.
            if time.monotonic() > deadline:
                raise TimedOut("another process keeps the deployment locked")
            time.sleep(0.005)
        try:
            yield lock
        finally:
            if lock is not None:
                os.close(lock)

    @contextmanager
    def _alone(self) -> Generator[None]:
        # Nobody may take a start that is about to be claimed for one that was interrupted.
        with self._in_this_process:
            descriptor = os.open(self._folder, os.O_RDONLY | os.O_CLOEXEC)
            try:
                fcntl.flock(descriptor, fcntl.LOCK_EX)
                yield
            finally:
                os.close(descriptor)


def _followed(life: Life, tail: int | None, follow: bool) -> Iterator[bytes]:
    # A server that exits between the question and the reading has written all before: ask first.
    is_running = life.is_running
    text = _whole_lines(life.log, 0, is_running)
    lines = text.splitlines(keepends=True)
    yield b"".join(lines if tail is None else lines[max(len(lines) - tail, 0) :])
    offset = len(text)
    while follow and is_running:
        time.sleep(0.02)
        is_running = life.is_running
        chunk = _whole_lines(life.log, offset, is_running)
        offset += len(chunk)
        yield chunk


def _whole_lines(log: Path, offset: int, is_running: bool) -> bytes:
    try:
        rest = log.read_bytes()[offset:]
    except FileNotFoundError:
        return b""
    return rest[: rest.rfind(b"\n") + 1] if is_running else rest
