"""Start the three processes when nobody answers, in the background and once."""

from __future__ import annotations

import fcntl
import os
import subprocess
import sys

from thv_core.state.paths import Paths
from thv_supervisor.control.succession import name_interpreter

__all__ = ["command", "is_supervised", "launch", "prepare"]

LONGEST_LOG = 1 << 20


def command(paths: Paths) -> list[str]:
    """Return the argument vector of the supervisor."""
    return [sys.executable, "-P", "-m", "thv_supervisor.supervise", str(paths.state)]


def is_supervised(paths: Paths) -> bool:
    """Tell whether a supervisor holds its lock."""
    descriptor = os.open(paths.lock, os.O_RDWR | os.O_CREAT, 0o600)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    finally:
        os.close(descriptor)
    return False


def prepare(paths: Paths) -> None:
    """Make the directories, and name this Python as that of the processes to come."""
    paths.ensure()
    name_interpreter(paths.interpreter, sys.executable)


def launch(paths: Paths, insist: bool = False) -> None:
    """Start a supervisor in a session of its own, unless there is one.

    :param insist: whether the children of one that is there shall run under this Python from now on, because under
        theirs they do not start.
    """
    paths.ensure()
    if is_supervised(paths):
        if insist:
            prepare(paths)
        return
    prepare(paths)
    if paths.supervisor_log.exists() and paths.supervisor_log.stat().st_size > LONGEST_LOG:
        paths.supervisor_log.replace(paths.supervisor_log.with_suffix(".log.1"))
    log = os.open(paths.supervisor_log, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
    try:
        subprocess.Popen(
            command(paths), stdin=subprocess.DEVNULL, stdout=log, stderr=log, start_new_session=True, cwd="/"
        )
    finally:
        os.close(log)
