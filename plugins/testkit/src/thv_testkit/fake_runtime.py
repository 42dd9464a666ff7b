"""A runtime without isolation, for tests of the whole system on machines that cannot isolate anything.

It is real in everything else: servers are processes on FIFOs that outlive whoever started them and are found again.
"""

from __future__ import annotations

import fcntl
import os
import shutil
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Generator, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Self

from thv_core.errors import NotFound, SettingsError, StartFailed, Unsupported
from thv_core.model.document import decode_document, encode_document
from thv_core.spi import (
    Deployment,
    DeploymentPlan,
    Observed,
    ObservedState,
    Probe,
    Progress,
    Runtime,
    RuntimeCapabilities,
    Stdio,
    Surroundings,
)

__all__ = ["FakeRuntime"]

_START_WITHIN = 10.0
_STDIO = ("stdin", "stdout")


class FakeRuntime(Runtime):
    """Starts servers as child processes WITHOUT isolation, below a folder of its own."""

    capabilities = RuntimeCapabilities(packages=True)

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
        """Refuse what a fake without network cannot promise; there is nothing to prepare."""
        if plan.network.reaches_out:
            raise Unsupported("the fake runtime offers no network")
        report(Progress(step="prepared", text="nothing to prepare"))

    def deploy(self, plan: DeploymentPlan) -> Observed:
        """Start the server, or find it running."""
        self.prepare(plan, lambda _: None)
        life = _Life(self._folder / plan.deployment.label)
        with self._alone(), life.claim() as lock:
            if lock is not None and not life.has_started:
                self.deployed.append(plan)
                life.start(plan, lock)
        return life.observed()

    def stop(self, deployment: Deployment, grace: float) -> None:
        """Send SIGTERM, wait, and kill what is left."""
        life = _Life(self._folder / deployment.label)
        life.signal(signal.SIGTERM)
        if not life.ends_within(grace):
            life.signal(signal.SIGKILL)
            life.ends_within(_START_WITHIN)

    def remove(self, deployment: Deployment) -> None:
        """Kill and forget a deployment."""
        self.stop(deployment, 0)
        shutil.rmtree(self._folder / deployment.label, ignore_errors=True)

    def observe(self) -> Sequence[Observed]:
        """List the deployments; what was interrupted before its start is cleaned up."""
        found: list[Observed] = []
        with self._alone():
            for folder in sorted(self._folder.iterdir()):
                life = _Life(folder)
                if life.is_running or life.has_started:
                    found.append(life.observed())
                else:
                    shutil.rmtree(folder, ignore_errors=True)
        return found

    def logs(self, deployment: Deployment, *, tail: int | None = None, follow: bool = False) -> Iterator[bytes]:
        """Yield the server's standard error."""
        life = _Life(self._folder / deployment.label)
        if not life.has_started:
            raise NotFound(f"there is no deployment {deployment.label}")
        return _followed(life, tail, follow)

    @contextmanager
    def _alone(self) -> Generator[None]:
        # Nobody may take a start that is under way for one that was interrupted.
        with self._in_this_process:
            descriptor = os.open(self._folder, os.O_RDONLY | os.O_CLOEXEC)
            try:
                fcntl.flock(descriptor, fcntl.LOCK_EX)
                yield
            finally:
                os.close(descriptor)


class _Life:
    """One deployment: a folder with its FIFOs, its lock, its pid, and in the end its exit code."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self.log = folder / "stderr"

    @property
    def has_started(self) -> bool:
        return (self._folder / "pid").exists()

    @property
    def is_running(self) -> bool:
        try:
            descriptor = os.open(self._folder / "alive", os.O_RDONLY | os.O_CLOEXEC)
        except FileNotFoundError:
            return False
        try:
            # Shared, so that two who only look do not take each other for the server.
            fcntl.flock(descriptor, fcntl.LOCK_SH | fcntl.LOCK_NB)
        except BlockingIOError:
            return True
        finally:
            os.close(descriptor)
        return False

    @contextmanager
    def claim(self) -> Generator[int | None]:
        """Yield the lock of a life that has ended or not begun, or None while it is lived."""
        self._folder.mkdir(mode=0o700, exist_ok=True)
        descriptor = os.open(self._folder / "alive", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            yield None
        else:
            yield descriptor
        finally:
            os.close(descriptor)

    def start(self, plan: DeploymentPlan, lock: int) -> None:
        for name in _STDIO:
            (self._folder / name).unlink(missing_ok=True)
            os.mkfifo(self._folder / name, 0o600)
        (self._folder / "deployment").write_bytes(encode_document(plan.deployment))
        launcher = [sys.executable, "-I", "-S", str(Path(__file__).with_name("launching.py"))]
        with ExitStack() as opened, self.log.open("ab") as log:
            descriptors = [os.open(self._folder / name, os.O_RDWR | os.O_CLOEXEC) for name in _STDIO]
            for descriptor in descriptors:
                opened.callback(os.close, descriptor)
            subprocess.run(
                [*launcher, str(self._folder), str(lock), *plan.command],
                stdin=descriptors[0],
                stdout=descriptors[1],
                stderr=log,
                env=plan.environment.values,
                cwd="/",
                pass_fds=[lock],
                check=True,
            )

    def observed(self) -> Observed:
        pid = int(self._settled().read_text())
        is_running = self.is_running
        exit_code = self._folder / "exit"
        stdio = {name: str(self._folder / name) for name in (*_STDIO, "lock")}
        return Observed(
            deployment=decode_document((self._folder / "deployment").read_bytes(), Deployment, "the deployment"),
            state=ObservedState.RUNNING if is_running else ObservedState.EXITED,
            stdio=Stdio(**stdio),
            pid=pid if is_running else 0,
            started_at=(self._folder / "pid").stat().st_mtime,
            exit_code=int(exit_code.read_text()) if not is_running and exit_code.exists() else None,
        )

    def _settled(self) -> Path:
        pid, failure = self._folder / "pid", self._folder / "failure"
        deadline = time.monotonic() + _START_WITHIN
        while not pid.exists():
            if failure.exists() or time.monotonic() > deadline:
                evidence = [failure.read_text()] if failure.exists() else []
                shutil.rmtree(self._folder, ignore_errors=True)
                raise StartFailed("the server could not be started", evidence=evidence)
            time.sleep(0.005)
        return pid

    def signal(self, number: signal.Signals) -> None:
        """Signal the server; SIGKILL goes to its whole group, the launcher included."""
        if not (self.is_running and self.has_started):
            return
        pid = int((self._folder / "pid").read_text())
        try:
            if number is signal.SIGKILL:
                os.killpg(os.getpgid(pid), number)
            else:
                os.kill(pid, number)
        except ProcessLookupError:
            return

    def ends_within(self, seconds: float) -> bool:
        deadline = time.monotonic() + seconds
        while self.is_running:
            if time.monotonic() >= deadline:
                return False
            time.sleep(0.005)
        return True


def _followed(life: _Life, tail: int | None, follow: bool) -> Iterator[bytes]:
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
