"""A workshop without isolation, for tests of builders on machines that cannot isolate anything."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import tempfile
from pathlib import Path
from typing import IO

from thv_core.errors import InvalidRequest, StartFailed
from thv_core.spi import Finished, Job, Network, Outbound, Workshop, outbound_rules

__all__ = ["UnisolatedWorkshop"]

_MOST = 256 << 10
"""Bytes of its output that a finished job shows."""


class UnisolatedWorkshop(Workshop):
    """Runs jobs as child processes WITHOUT isolation, with their time limits, and remembers them in order."""

    def __init__(self) -> None:
        self.jobs: list[Job] = []

    def run(self, job: Job) -> Finished:
        """Run a job to its end, or to that of its time."""
        _check(job)
        self.jobs.append(job)
        with tempfile.TemporaryFile() as output:
            return Finished(exit_code=_exit_code(job, output), output=_end_of(output))


def _check(job: Job) -> None:
    outbound_rules(Network(outbound=Outbound(allow_host=job.reach)))
    for path in (*job.read, *job.write):
        if not Path(path).is_absolute() or not Path(path).exists():
            raise InvalidRequest(f"the job {job.name} cannot see {path}: it is no absolute path, or does not exist")


def _exit_code(job: Job, output: IO[bytes]) -> int:
    try:
        process = subprocess.Popen(
            job.command,
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            env=job.environment.values,
            cwd="/",
            start_new_session=True,
        )
    except OSError as error:
        reason = f"{job.command[0]}: {error.strerror}"
        raise StartFailed(f"the job {job.name} could not be started", evidence=[reason]) from None
    with process:
        try:
            code = process.wait(job.seconds)
            # An exit by a signal is told the way a shell does.
            code = code if code >= 0 else 128 - code
        except subprocess.TimeoutExpired:
            code = -1
        # Whatever the job left behind ends with it.
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
    return code


def _end_of(output: IO[bytes]) -> str:
    size = output.seek(0, os.SEEK_END)
    output.seek(max(size - _MOST, 0))
    return output.read().decode("utf-8", "replace")
