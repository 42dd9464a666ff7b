"""A disk without space below the state of a home: a small file system where these tests may mount one, else a limit."""

from __future__ import annotations

import contextlib
import os
import resource
import subprocess
from collections.abc import Iterator
from pathlib import Path

from harness.home import Thv, wait_for
from harness.killing import CONTROL

SIZE = "32m"


@contextlib.contextmanager
def small_disk(state: Path) -> Iterator[None]:
    """Hold a small file system at the state folder of a home to come, where these tests are root."""
    state.mkdir(mode=0o700, parents=True)
    state.parent.chmod(0o700)
    if os.getuid() != 0:
        yield
        return
    _must("mount", "-t", "tmpfs", "-o", f"size={SIZE},mode=0700", "thv-tests", str(state))
    try:
        yield
    finally:
        _must("umount", "--lazy", str(state))


@contextlib.contextmanager
def full_disk(thv: Thv) -> Iterator[None]:
    """Let nothing more be written to the state of a home.

    Root fills its small file system. Somebody ordinary lets control write no file at all (RLIMIT_FSIZE), which is the
    same to it; it can start no server meanwhile, so none inherits that.
    """
    if os.getuid() == 0:
        filler = thv.home / "state/filler"
        try:
            _fill(filler)
            yield
        finally:
            filler.unlink()
    else:
        with limited(wait_for(lambda: thv.child(CONTROL)), 0):
            yield


@contextlib.contextmanager
def limited(pid: int, size: int) -> Iterator[None]:
    """Let a process write no file beyond ``size`` bytes."""
    before = resource.prlimit(pid, resource.RLIMIT_FSIZE)
    resource.prlimit(pid, resource.RLIMIT_FSIZE, (size, before[1]))
    try:
        yield
    finally:
        with contextlib.suppress(ProcessLookupError):
            resource.prlimit(pid, resource.RLIMIT_FSIZE, before)


def _fill(filler: Path) -> None:
    with contextlib.suppress(OSError), filler.open("wb", buffering=0) as file:
        for size in (1 << 20, 4096):
            with contextlib.suppress(OSError):
                while True:
                    file.write(bytes(size))


def _must(*command: str) -> None:
    done = subprocess.run(command, capture_output=True, text=True, timeout=30)
    assert done.returncode == 0, done.stderr
