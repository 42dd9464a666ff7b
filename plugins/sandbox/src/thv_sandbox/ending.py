"""The end of sandboxes: a stop that asks first, and the abortion of a start that was interrupted."""

from __future__ import annotations

import errno
import os
import signal
import time

from thv_sandbox import cgroups
from thv_sandbox.instances import DeploymentFiles, Instance
from thv_sandbox.processes import (
    ProcessIdentity,
    alive,
    boot_identity,
    children,
    holders,
    reap,
    send_signal,
    wait_for_end,
)

__all__ = ["KILL_SECONDS", "abort", "end", "kill", "settle"]

KILL_SECONDS = 5.0
"""How long the end of what was killed is waited for; :func:`abort` takes no longer in all."""

_RECORD_SECONDS = 1.0
_INTERVAL = 0.005


def end(instance: Instance, grace: float) -> None:
    """Ask the server to end, wait up to ``grace`` seconds, kill all that is left, and return when nothing is.

    The first process of a PID namespace ignores SIGTERM, so its children are asked. There is no end-of-file to wait
    for: both ends of the FIFOs stay open.
    """
    if instance.boot != boot_identity():
        return
    if grace > 0 and alive(instance.server):
        for child in children(instance.server.pid):
            send_signal(child, signal.SIGTERM)
        _wait_for_server(instance, grace)
    kill(instance.server)
    settle(instance)


def settle(instance: Instance) -> None:
    """Give the monitor of an ended server a moment to record the exit code, then bury it."""
    if instance.boot != boot_identity() or alive(instance.server):
        return
    if not wait_for_end((instance.monitor,), _RECORD_SECONDS):
        kill(instance.monitor)
    reap(instance.monitor)


def kill(process: ProcessIdentity) -> None:
    """Kill a process and wait until it has ended, bounded; killing the first of a namespace kills all in it."""
    send_signal(process, signal.SIGKILL)
    wait_for_end((process,), KILL_SECONDS)


def abort(files: DeploymentFiles) -> None:
    """Kill everything that an interrupted start left, and delete its files; nothing is released.

    A sandbox that never reported its pid still holds the gate open, from before bubblewrap runs until its release. The
    gate itself tells when nobody does, so no process can slip between two looks at the list of processes. The caller
    holds the lock of the workload, so no start is under way.
    """
    deadline = time.monotonic() + KILL_SECONDS
    instance = files.read()
    if instance is None:
        _kill_all(_unrecorded(files), deadline)
    elif instance.boot == boot_identity():
        _kill_all((instance.server, instance.monitor), deadline)
    while _held(files) and time.monotonic() < deadline:
        _kill_all(holders(files.gate), deadline)
        time.sleep(_INTERVAL)
    # The gate is the only way to find what cannot be killed now, so it stays until that is gone.
    if not _held(files):
        cgroups.remove(files.control_groups())
        files.delete()


def _unrecorded(files: DeploymentFiles) -> tuple[ProcessIdentity, ...]:
    """Return the first process of a sandbox whose record is gone or cannot be read: it still writes the log."""
    pid = files.child_pid()
    return tuple(each for each in holders(files.log) if each.pid == pid) if pid else ()


def _kill_all(processes: tuple[ProcessIdentity, ...], deadline: float) -> None:
    for process in processes:
        send_signal(process, signal.SIGKILL)
    for process in processes:
        wait_for_end((process,), deadline - time.monotonic())
        reap(process)


def _wait_for_server(instance: Instance, grace: float) -> None:
    """Wait until the server ended; what it left in the background needs no further grace."""
    watched = tuple(each for each in (instance.server, instance.monitor) if alive(each))
    if watched:
        wait_for_end(watched, grace)


def _held(files: DeploymentFiles) -> bool:
    try:
        descriptor = os.open(files.gate, os.O_WRONLY | os.O_NONBLOCK | os.O_CLOEXEC)
    except OSError as error:
        return error.errno not in (errno.ENXIO, errno.ENOENT)
    os.close(descriptor)
    return True
