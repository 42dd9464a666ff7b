"""The start of one sandbox: blocked, identified, recorded, and only then released.

Whoever dies between two of these steps leaves a sandbox that nobody will ever release: it waits on a FIFO that it holds
open itself, so the end of its starter is no end-of-file (a pipe would start the server then). It is found and killed by
:func:`thv_sandbox.ending.abort`.
"""

from __future__ import annotations

import os
import resource
import subprocess
import time
from collections.abc import Generator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field

import msgspec

from thv_core.errors import StartFailed
from thv_core.model.plan import DeploymentPlan
from thv_sandbox.descriptors import memory_file, opened
from thv_sandbox.ending import abort, kill
from thv_sandbox.grants import opened_source
from thv_sandbox.instances import DeploymentFiles, Instance
from thv_sandbox.logs import last_lines
from thv_sandbox.processes import ProcessIdentity, alive, boot_identity, children, command_name, identity, reap
from thv_sandbox.view import Host, arguments, data_files

__all__ = ["START_SECONDS", "Launch", "launch"]

START_SECONDS = 15.0
"""How long one start may wait: for what an interrupted one left, for the sandbox, and for the command, in all."""

_INTERVAL = 0.002
_EVIDENCE_LINES = 10
_PROGRAM = "bwrap"
_LIMITS = {resource.RLIMIT_CORE: 0, resource.RLIMIT_NOFILE: 1024}


@dataclass(frozen=True)
class Launch:
    """Everything that one start needs.

    ``environment`` is the whole one of the server, ``program`` is the path of bubblewrap, ``seccomp`` is the filter
    program.
    """

    plan: DeploymentPlan
    host: Host
    environment: Mapping[str, str] = field(repr=False)
    program: str
    seccomp: bytes = field(repr=False)


@dataclass(frozen=True)
class _Descriptors:
    """What is open during a start.

    ``data`` maps the paths of small files in the view to their content, ``sources`` the targets of grants to what is
    bound there.
    """

    stdin: int
    stdout: int
    stderr: int
    gate: int
    status: int
    seccomp: int
    data: Mapping[str, int]
    sources: Mapping[str, int]

    @property
    def passed(self) -> tuple[int, ...]:
        """Those that bubblewrap inherits beside its standard streams, and closes before the server runs."""
        return (self.gate, self.status, self.seccomp, *self.data.values(), *self.sources.values())


def launch(start: Launch, files: DeploymentFiles) -> Instance:
    """Start the server and return once it executes, clearing first what an interrupted start of it left.

    The caller holds the lock of the workload.

    :raises StartFailed: when bubblewrap or the command could not be started; nothing is left then.
    """
    deadline = time.monotonic() + START_SECONDS
    abort(files)
    try:
        files.create()
        with _open(start, files) as descriptors:
            instance = _released(start, files, descriptors, deadline)
        _await_execution(instance, files, deadline)
    except (OSError, ValueError) as error:
        abort(files)
        raise StartFailed(f"the sandbox could not be started: {error}") from error
    except BaseException:
        abort(files)
        raise
    return instance


def _released(start: Launch, files: DeploymentFiles, descriptors: _Descriptors, deadline: float) -> Instance:
    monitor = _spawn(start, descriptors)
    try:
        server = _reported_server(monitor, files, deadline)
    except StartFailed:
        kill(monitor)
        reap(monitor)
        raise
    _limit(server)
    instance = Instance(
        deployment=start.plan.deployment,
        boot=boot_identity(),
        server=server,
        monitor=monitor,
        started_at=time.time(),
    )
    files.write(instance)
    os.write(descriptors.gate, b"\n")
    started = msgspec.structs.replace(instance, started=True)
    files.write(started)
    return started


def _spawn(start: Launch, descriptors: _Descriptors) -> ProcessIdentity:
    process = subprocess.Popen(
        _command(start, descriptors),
        stdin=descriptors.stdin,
        stdout=descriptors.stdout,
        stderr=descriptors.stderr,
        pass_fds=descriptors.passed,
        env=start.environment,
        cwd="/",
        start_new_session=True,
    )
    # It outlives us, and whoever comes back has no such object: children are buried by their pid alone.
    process.returncode = 0
    return identity(process.pid) or ProcessIdentity(pid=process.pid, start=0)


def _command(start: Launch, descriptors: _Descriptors) -> list[str]:
    return [
        start.program,
        *arguments(start.plan, start.host, descriptors.data, descriptors.sources),
        *("--seccomp", str(descriptors.seccomp), "--json-status-fd", str(descriptors.status)),
        *("--block-fd", str(descriptors.gate), "--"),
        *start.plan.command,
    ]


def _reported_server(monitor: ProcessIdentity, files: DeploymentFiles, deadline: float) -> ProcessIdentity:
    while time.monotonic() < deadline:
        running = alive(monitor)
        server = identity(files.child_pid())
        if server is not None:
            return server
        if not running:
            break
        time.sleep(_INTERVAL)
    raise _failure("the sandbox did not start", files)


def _limit(server: ProcessIdentity) -> None:
    for limit, wanted in _LIMITS.items():
        _, ceiling = resource.prlimit(server.pid, limit)
        bound = wanted if ceiling == resource.RLIM_INFINITY else min(wanted, ceiling)
        resource.prlimit(server.pid, limit, (bound, bound))


def _await_execution(instance: Instance, files: DeploymentFiles, deadline: float) -> None:
    """Wait until the command executes: then a child of the sandbox's first process is no longer bubblewrap."""
    command = f"the command of {instance.deployment.workload}"
    while time.monotonic() < deadline:
        running = alive(instance.monitor)
        if files.exit_code() is not None or any(map(_executes, children(instance.server.pid))):
            return
        if not running:
            raise _failure(f"{command} could not be executed", files)
        time.sleep(_INTERVAL)
    raise _failure(f"{command} was not executed within {START_SECONDS:g} seconds", files)


def _executes(process: ProcessIdentity) -> bool:
    return command_name(process) not in ("", _PROGRAM)


def _failure(message: str, files: DeploymentFiles) -> StartFailed:
    return StartFailed(message, evidence=last_lines(files.log, _EVIDENCE_LINES))


@contextmanager
def _open(start: Launch, files: DeploymentFiles) -> Generator[_Descriptors]:
    with ExitStack() as stack:
        yield _Descriptors(
            stdin=stack.enter_context(opened(files.stdin, os.O_RDWR)),
            stdout=stack.enter_context(opened(files.stdout, os.O_RDWR)),
            stderr=stack.enter_context(opened(files.log, os.O_WRONLY | os.O_APPEND)),
            gate=stack.enter_context(opened(files.gate, os.O_RDWR)),
            status=stack.enter_context(opened(files.status, os.O_WRONLY | os.O_APPEND)),
            seccomp=stack.enter_context(memory_file(start.seccomp)),
            data={
                path: stack.enter_context(memory_file(content))
                for path, content in data_files(start.plan, start.host).items()
            },
            sources={grant.target: stack.enter_context(opened_source(grant)) for grant in start.plan.grants},
        )
