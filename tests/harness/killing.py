"""kill -9 of the three processes, of whichever and all at once."""

from __future__ import annotations

import contextlib
import os
import signal

from harness.home import Thv

CONTROL, GATEWAY = "thv_supervisor.control", "thv_supervisor.gateway_process"


def kill(*pids: int) -> int:
    """Kill processes at once, and return how many there were; a pid of 0 is nobody."""
    killed = 0
    for pid in filter(None, pids):
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)
            killed += 1
    return killed


def three(thv: Thv) -> tuple[int, int, int]:
    """Return the pids of supervisor, control and gateway, 0 for one that does not run."""
    return thv.supervisor(), thv.child(CONTROL), thv.child(GATEWAY)


def kill_control(thv: Thv) -> int:
    """Kill control, which the supervisor starts again."""
    return kill(thv.child(CONTROL))


def kill_gateway(thv: Thv) -> int:
    """Kill the gateway, which the supervisor starts again."""
    return kill(thv.child(GATEWAY))


def kill_supervisor(thv: Thv) -> int:
    """Kill the supervisor, with which its children end."""
    return kill(thv.supervisor())


def kill_all(thv: Thv) -> int:
    """Kill all three."""
    return kill(*three(thv))


KILLS = (kill_control, kill_gateway, kill_supervisor, kill_all)
