"""Interrupt what a driver does, at any moment, as ``kill -9`` or a power cut would."""

from __future__ import annotations

import contextlib
import os
import signal
import time
import warnings
from collections.abc import Callable
from pathlib import Path

__all__ = ["died_in", "killed_after"]


def killed_after(seconds: float, action: Callable[[], object], *, programs: bool = False) -> None:
    """Run ``action`` in a child process and kill it with SIGKILL after so many seconds, finished or not.

    :param programs: kill the programs that it started and that still have a parent of its own, too.
    """
    child = _acting(action)
    time.sleep(seconds)
    # What stands still starts nothing while we look.
    os.kill(child, signal.SIGSTOP)
    for pid in [child, *(_descendants(child) if programs else [])]:
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)
    os.waitpid(child, 0)


def died_in(action: Callable[[Callable[[], None]], object], within: float = 60.0) -> None:
    """Run ``action`` in a child process that dies by SIGKILL when it calls what it is given, and wait for that."""
    child = _acting(lambda: action(lambda: os.kill(os.getpid(), signal.SIGKILL)))
    deadline = time.monotonic() + within
    while os.waitpid(child, os.WNOHANG) == (0, 0):
        if time.monotonic() > deadline:
            os.kill(child, signal.SIGKILL)
            os.waitpid(child, 0)
            raise AssertionError(f"the moment did not come within {within:g} seconds")
        time.sleep(0.01)


def _acting(action: Callable[[], object]) -> int:
    with warnings.catch_warnings():
        # Python warns of the threads that a driver may have; the child only acts and dies.
        warnings.simplefilter("ignore", DeprecationWarning)
        child = os.fork()
    if child == 0:
        try:
            action()
            # Whoever acts goes on to live afterwards.
            signal.pause()
        finally:
            os._exit(1)
    return child


def _descendants(root: int) -> list[int]:
    parents: dict[int, int] = {}
    for folder in Path("/proc").glob("[0-9]*"):
        with contextlib.suppress(OSError):
            parents[int(folder.name)] = int((folder / "stat").read_text().rpartition(")")[2].split()[1])
    found = [root]
    for pid in found:
        found += [child for child, parent in parents.items() if parent == pid]
    return found[1:]
