"""The start of one sandbox: held, identified, limited, recorded, connected, and only then released.

Whoever dies between two of these steps leaves a sandbox that nobody will ever release: it waits on a FIFO that it holds
open itself, so the end of its starter is no end-of-file (a pipe would start the server then). It is found and killed by
:func:`thv_sandbox.ending.abort`.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Generator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import msgspec

from thv_core.errors import StartFailed
from thv_core.model.network import Namespace
from thv_core.model.plan import DeploymentPlan
from thv_sandbox import cgroups, limits
from thv_sandbox.accounts import Account, Accounts, check_access, own_folders
from thv_sandbox.apart import acting_as
from thv_sandbox.binary import Bubblewrap
from thv_sandbox.descriptors import opened
from thv_sandbox.ending import abort, kill
from thv_sandbox.instances import DeploymentFiles, Instance
from thv_sandbox.logs import last_lines
from thv_sandbox.processes import ProcessIdentity, alive, boot_identity, children, command_name, identity, reap
from thv_sandbox.seccomp import filter_program
from thv_sandbox.spawning import Order, spawn
from thv_sandbox.targets import memory_folders

__all__ = ["START_SECONDS", "Launch", "launch"]

START_SECONDS = 15.0
"""How long one start may wait: for what an interrupted one left, for the sandbox, and for the command, in all.

What ``connect`` takes comes on top.
"""

_INTERVAL = 0.002
_EVIDENCE_LINES = 10
_PROGRAM = "bwrap"


@dataclass(frozen=True)
class Launch:
    """Everything that one start needs.

    ``environment`` is the whole one of the server, ``architecture`` is the machine as the kernel names it.
    """

    plan: DeploymentPlan
    accounts: Accounts
    environment: Mapping[str, str] = field(repr=False)
    certificates: bytes = field(repr=False)
    program: Bubblewrap
    architecture: str


@dataclass(frozen=True)
class _Ground:
    """What is ready before a sandbox is made: its account, its control groups, and how each limit is enforced."""

    account: Account
    groups: Mapping[str, Path]
    enforced: limits.Enforcement


def launch(start: Launch, files: DeploymentFiles, connect: Callable[[Namespace], None]) -> Instance:
    """Start the server and return once it executes, clearing first what an interrupted start of it left.

    The caller holds the lock of the workload.

    :param connect: called while the server is held, if it reaches out or has a port; what it raises comes through.
    :raises StartFailed: when bubblewrap or the command could not be started; nothing is left then.
    """
    deadline = time.monotonic() + START_SECONDS
    abort(files)
    try:
        with _failures():
            files.create()
            ground = _prepared(start, files)
        with opened(files.gate, os.O_RDWR) as gate:
            with _failures():
                held = _held(start, files, ground, deadline)
            if start.plan.network.reaches_out or start.plan.port:
                # Whoever connects has time limits of its own.
                deadline += _connect(held, files, connect)
            with _failures():
                instance = _released(held, files, gate)
        with _failures():
            _await_execution(instance, files, deadline)
    except BaseException:
        abort(files)
        raise
    return instance


@contextmanager
def _failures() -> Generator[None]:
    try:
        yield
    except (OSError, ValueError, RecursionError) as error:
        raise StartFailed(f"the sandbox could not be started: {error}") from error


def _prepared(start: Launch, files: DeploymentFiles) -> _Ground:
    plan = start.plan
    account = start.accounts.assigned(plan, files)
    check_access(plan, account)
    own_folders(plan.workspaces, account)
    files.give_streams(account.uid, account.gid)
    places = cgroups.here()
    files.record_groups({place / files.group_name for place, _ in places.values()})
    groups = cgroups.limited(places, files.group_name, plan.limits)
    enforced = limits.enforcement(plan.limits, groups, os.cpu_count() or 1)
    limits.check_required(plan, enforced)
    return _Ground(account=account, groups=groups, enforced=enforced)


def _held(start: Launch, files: DeploymentFiles, ground: _Ground, deadline: float) -> Instance:
    monitor = _spawn(start, files, ground)
    try:
        server = _reported_server(monitor, files, deadline)
    except StartFailed:
        kill(monitor)
        reap(monitor)
        raise
    try:
        _limit(start.plan, server, ground)
    except ProcessLookupError as error:
        raise _failure("the sandbox did not start", files) from error
    instance = Instance(
        deployment=start.plan.deployment,
        boot=boot_identity(),
        server=server,
        monitor=monitor,
        started_at=time.time(),
        memory=start.plan.limits.memory,
        watched="memory" not in ground.groups,
        folders=tuple(memory_folders(start.plan)),
        limits=ground.enforced.words,
        group=str(ground.groups.get("memory", "")),
    )
    files.write(instance)
    return instance


def _connect(held: Instance, files: DeploymentFiles, connect: Callable[[Namespace], None]) -> float:
    """Call ``connect`` and return how many seconds that took."""
    before = time.monotonic()
    try:
        connect(Namespace(pid=held.server.pid, start=held.server.start))
    except Exception as error:
        if alive(held.server):
            raise
        # Bubblewrap failed meanwhile, and what it said tells more than that its namespace is gone.
        raise _failure("the sandbox did not start", files) from error
    return time.monotonic() - before


def _released(held: Instance, files: DeploymentFiles, gate: int) -> Instance:
    os.write(gate, b"\n")
    started = msgspec.structs.replace(held, started=True)
    files.write(started)
    return started


def _spawn(start: Launch, files: DeploymentFiles, ground: _Ground) -> ProcessIdentity:
    order = Order(
        plan=start.plan,
        account=ground.account,
        environment=start.environment,
        certificates=start.certificates,
        program=start.program,
        seccomp=filter_program(start.architecture, watched="memory" not in ground.groups),
    )
    return spawn(order, files)


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


def _limit(plan: DeploymentPlan, server: ProcessIdentity, ground: _Ground) -> None:
    try:
        limits.apply(server.pid, plan.limits, ground.groups)
    except PermissionError:
        # Only when it must be: whoever has that account could meanwhile signal the thread, and with it this process.
        acting_as(ground.account, lambda: limits.apply(server.pid, plan.limits, ground.groups))
    limits.prefer(server.pid)
    cgroups.attach(ground.groups, server.pid)


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
