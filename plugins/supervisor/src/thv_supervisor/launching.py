"""Start the three processes when nobody answers, in the background and once."""

from __future__ import annotations

import fcntl
import os
import subprocess
import sys
from collections.abc import Callable

from thv_core.errors import Unsupported
from thv_core.state.paths import Paths
from thv_supervisor.control.succession import name_interpreter

__all__ = ["command", "is_supervised", "launch", "prepare"]

LONGEST_LOG = 1 << 20

_TOO_SHORT = "what it starts does not last"


def command(paths: Paths) -> list[str]:
    """Return the argument vector of the supervisor."""
    return [sys.executable, "-P", "-m", "thv_supervisor.supervise", str(paths.state)]


def is_supervised(paths: Paths) -> bool:
    """Tell whether a supervisor holds its lock."""
    try:
        descriptor = os.open(paths.lock, os.O_RDONLY)
    except FileNotFoundError:
        return False
    try:
        # Shared, so that whoever looks takes nobody else who looks for a supervisor.
        fcntl.flock(descriptor, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    finally:
        os.close(descriptor)
    return False


def prepare(paths: Paths) -> None:
    """Make the directories, and name this Python as that of the processes to come."""
    paths.ensure()
    name_interpreter(paths.interpreter, sys.executable)


def launch(paths: Paths, insist: bool = False, message: Callable[[str], None] = lambda text: None) -> None:
    """Start a supervisor, unless there is one: by the service that ``thv service install`` made, or in the background.

    :param insist: whether one that is there shall run its children under this Python from now on, because under theirs
        they do not start, and whether a service is passed over, because what it starts does not last.
    :param message: receives a sentence for the user when the service is not what starts it.
    """
    paths.ensure()
    if is_supervised(paths):
        if insist:
            prepare(paths)
        return
    prepare(paths)
    if paths.supervisor_log.exists() and paths.supervisor_log.stat().st_size > LONGEST_LOG:
        paths.supervisor_log.replace(paths.supervisor_log.with_suffix(".log.1"))
    if not _started_by_service(paths, insist, message):
        _start(paths)


def _start(paths: Paths) -> None:
    """Start it in a session of its own."""
    log = os.open(paths.supervisor_log, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
    try:
        subprocess.Popen(
            command(paths), stdin=subprocess.DEVNULL, stdout=log, stderr=log, start_new_session=True, cwd="/"
        )
    finally:
        os.close(log)


def _started_by_service(paths: Paths, insist: bool, message: Callable[[str], None]) -> bool:
    # Only for a start, which takes longer than this import.
    from thv_supervisor.init_systems import init_system

    try:
        init = init_system(os.environ)
    except Unsupported:
        return False
    if not init.serves(paths.state):
        return False
    reason = _TOO_SHORT if insist else init.start().complaint()
    if reason:
        message(f"{init.name} does not start the service of thv ({reason}); the processes run without it")
    return not reason
