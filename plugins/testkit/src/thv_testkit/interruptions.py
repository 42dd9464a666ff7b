"""Interrupt what a driver does, at any moment, as ``kill -9`` or a power cut would."""

from __future__ import annotations

import os
import signal
import time
import warnings
from collections.abc import Callable

__all__ = ["killed_after"]


def killed_after(seconds: float, action: Callable[[], object], *, programs: bool = False) -> None:
    """Run ``action`` in a child process and kill it with SIGKILL after so many seconds, finished or not.

    :param programs: kill the programs that it started and that stayed in its process group, too.
    """
    with warnings.catch_warnings():
        # Python warns of the threads that a driver may have; the child only acts and dies.
        warnings.simplefilter("ignore", DeprecationWarning)
        child = os.fork()
    if child == 0:
        try:
            os.setsid()
            action()
            # Whoever acts goes on to live afterwards.
            signal.pause()
        finally:
            os._exit(1)
    time.sleep(seconds)
    try:
        (os.killpg if programs else os.kill)(child, signal.SIGKILL)
    except ProcessLookupError:
        # It has not come as far as to lead a group.
        os.kill(child, signal.SIGKILL)
    os.waitpid(child, 0)
