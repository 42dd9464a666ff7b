"""Runs a hostile server beside a neighbour, and measures from outside what the attack does to both and to the host."""

from __future__ import annotations

import contextlib
import os
import select
import subprocess
import time
from pathlib import Path

import msgspec

from thv_core.spi import Deployment, ObservedState
from thv_sandbox.processes import descendants


class Neighbour:
    """A second sandbox that is asked for answers all the time."""

    def __init__(self, stdio):
        self._stdin = os.open(stdio.stdin, os.O_RDWR)
        self._stdout = os.open(stdio.stdout, os.O_RDWR)

    def seconds_to_answer(self):
        before = time.monotonic()
        os.write(self._stdin, b"ping\n")
        if not select.select([self._stdout], [], [], 30)[0]:
            return float("inf")
        os.read(self._stdout, 4096)
        return time.monotonic() - before


def seconds_for_the_host():
    before = time.monotonic()
    subprocess.run(["/bin/true"], check=True, timeout=30)
    return time.monotonic() - before


def attacked(runtime, order, hostile):
    life = Deployment(workload="neighbour-" + hostile.deployment.workload, generation=1)
    package = hostile.root.path
    command = ("/usr/bin/python3", "-I", "-B", f"{package}/neighbour.py")
    plan = msgspec.structs.replace(hostile, deployment=life, command=command, grants=())
    neighbour = Neighbour(runtime.deploy(plan, print).stdio)
    neighbour.seconds_to_answer()
    try:
        observed = runtime.deploy(hostile, print)
        return measured(runtime, observed, neighbour, order["longest"])
    finally:
        for each in runtime.observe():
            runtime.remove(each.deployment)


def measured(runtime, observed, neighbour, longest):
    figures = {"neighbour": 0.0, "host": 0.0, "processes": 0, "log": 0}
    log = Path(observed.stdio.stdin).parent / "stderr.log"
    until = time.monotonic() + longest
    found = observed
    while found.state is ObservedState.RUNNING and time.monotonic() < until:
        figures["neighbour"] = max(figures["neighbour"], neighbour.seconds_to_answer())
        figures["host"] = max(figures["host"], seconds_for_the_host())
        figures["processes"] = max(figures["processes"], len(descendants(observed.pid)))
        with contextlib.suppress(OSError):
            figures["log"] = max(figures["log"], log.stat().st_blocks * 512)
        time.sleep(0.02)
        (found,) = [each for each in runtime.observe() if each.deployment == observed.deployment]
    took = longest - (until - time.monotonic())
    return {
        **figures,
        "state": found.state,
        "exit_code": found.exit_code,
        "seconds": took,
        "limits": found.limits,
        "notes": found.notes,
    }
