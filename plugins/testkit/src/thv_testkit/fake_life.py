"""One deployment of the fake runtime: a folder with its FIFOs, its lock, its pid, and in the end its exit code."""

from __future__ import annotations

import fcntl
import os
import select
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path
from typing import BinaryIO

from thv_core.errors import NotFound, StartFailed
from thv_core.model.document import decode_document, encode_document
from thv_core.model.quantity import memory_text
from thv_core.spi import Deployment, DeploymentPlan, Namespace, Observed, ObservedState, ResourceLimits, Stdio

__all__ = ["START_WITHIN", "Life"]

START_WITHIN = 10.0
"""Seconds that a start may take, without whoever connects its sockets."""

_STDIO = ("stdin", "stdout")
_LAUNCHER = (sys.executable, "-I", "-S", str(Path(__file__).with_name("launching.py")))


class Life:
    """One life of one workload, in its folder."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self.log = folder / "stderr"

    @property
    def has_started(self) -> bool:
        """Whether the server ever ran."""
        return (self._folder / "pid").exists()

    @property
    def is_running(self) -> bool:
        """Whether the server runs, or is held before its start."""
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

    def claim(self) -> int | None:
        """Return the descriptor of its lock, or None when it is taken."""
        self._folder.mkdir(mode=0o700, exist_ok=True)
        descriptor = os.open(self._folder / "alive", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            os.close(descriptor)
            return None
        return descriptor

    def start(self, plan: DeploymentPlan, lock: int, connect: Callable[[Namespace], None]) -> None:
        """Start the server; ``connect`` is called while it is held, and what it raises ends the start."""
        (self._folder / "deployment").write_bytes(encode_document(plan.deployment))
        (self._folder / "limits").write_bytes(encode_document(plan.limits))
        try:
            with ExitStack() as opened:
                self._start(plan, connect, *self._launched(plan, lock, opened))
        except BaseException:
            shutil.rmtree(self._folder, ignore_errors=True)
            raise

    def _launched(self, plan: DeploymentPlan, lock: int, opened: ExitStack) -> tuple[BinaryIO, BinaryIO]:
        """Start the launcher; return where it reports, and the gate that holds the server as long as it is open."""
        report, reporting = _pipe(opened)
        passing, gate = _pipe(opened)
        for name in _STDIO:
            (self._folder / name).unlink(missing_ok=True)
            os.mkfifo(self._folder / name, 0o600)
        stdin, stdout = (opened.enter_context((self._folder / name).open("r+b", buffering=0)) for name in _STDIO)
        passed = (lock, passing.fileno(), reporting.fileno())
        subprocess.run(
            [*_LAUNCHER, str(self._folder), *map(str, passed[1:]), *plan.command],
            stdin=stdin,
            stdout=stdout,
            stderr=opened.enter_context(self.log.open("ab")),
            env=plan.environment.values,
            cwd="/",
            pass_fds=passed,
            check=True,
        )
        reporting.close()
        passing.close()
        return report, gate

    def _start(
        self, plan: DeploymentPlan, connect: Callable[[Namespace], None], report: BinaryIO, gate: BinaryIO
    ) -> None:
        reasons = b""
        try:
            pid = _told(report, until=b"\n")
            if _needs_connection(plan):
                connect(_namespace_of(int(pid)))
            gate.write(b"\1")
        finally:
            # Without that byte it ends; in either case wait until the launcher has said so.
            gate.close()
            reasons = _told(report)
        if reasons:
            raise StartFailed("the server could not be started", evidence=[reasons.decode("utf-8", "replace")])

    def observed(self) -> Observed:
        """Describe a life that has started."""
        pid = int((self._folder / "pid").read_text())
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
            limits=_in_words(decode_document((self._folder / "limits").read_bytes(), ResourceLimits, "the limits")),
            notes=("a fake: no isolation",),
        )

    def namespace(self) -> Namespace:
        """Return the network namespace of the server, which is that of the host.

        :raises NotFound: when it ends meanwhile.
        """
        return _namespace_of(int((self._folder / "pid").read_text()))

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
        """Wait for the end of every process of it, and tell whether it came."""
        deadline = time.monotonic() + seconds
        while self.is_running:
            if time.monotonic() >= deadline:
                return False
            time.sleep(0.005)
        return True


def _needs_connection(plan: DeploymentPlan) -> bool:
    """Tell whether the namespace of this server gets sockets."""
    return plan.network.reaches_out or plan.port > 0


def _pipe(opened: ExitStack) -> tuple[BinaryIO, BinaryIO]:
    reading, writing = os.pipe()
    return (
        opened.enter_context(os.fdopen(reading, "rb", buffering=0)),
        opened.enter_context(os.fdopen(writing, "wb", buffering=0)),
    )


def _told(report: BinaryIO, until: bytes = b"") -> bytes:
    """Read up to and without ``until``, or to the end."""
    deadline = time.monotonic() + START_WITHIN
    told = b""
    while not (until and told.endswith(until)):
        readable, _, _ = select.select([report], [], [], max(deadline - time.monotonic(), 0))
        if not readable:
            raise StartFailed("the server could not be started", evidence=["its launcher does not answer"])
        chunk = report.read(1 if until else 65536)
        if not chunk:
            break
        told += chunk
    return told.removesuffix(until)


def _namespace_of(pid: int) -> Namespace:
    try:
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except (FileNotFoundError, ProcessLookupError):
        raise NotFound(f"process {pid} has ended") from None
    return Namespace(pid=pid, start=int(fields[19]))


def _in_words(limits: ResourceLimits) -> tuple[str, ...]:
    """Say of each limit that nothing enforces it."""
    amounts = (
        f"memory {memory_text(limits.memory)}",
        *([f"cpu {limits.cpu:g}"] if limits.cpu else []),
        f"pids {limits.pids}",
        f"files {limits.files}",
    )
    return tuple(f"{amount} (not enforced: a fake)" for amount in amounts)
