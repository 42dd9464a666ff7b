"""End the three processes; servers live on."""

from __future__ import annotations

import time

from thv_core.errors import TimedOut
from thv_core.state.paths import Paths
from thv_supervisor.client import ControlClient
from thv_supervisor.launching import is_supervised
from thv_supervisor.wire import SHUTDOWN

__all__ = ["end_processes"]

ENDING = 20.0
"""Seconds that calls in flight, and the end of the three processes, may take."""

PAUSE = 0.05


def end_processes(client: ControlClient, paths: Paths) -> None:
    """Ask control to end the three processes, and wait until they have.

    :raises TimedOut: when they have not.
    """
    client.call("POST", SHUTDOWN)
    ends = time.monotonic() + ENDING
    while is_supervised(paths):
        if time.monotonic() > ends:
            raise TimedOut(f"the processes of thv did not end within {ENDING:g} s", hint="Try again in a moment.")
        time.sleep(PAUSE)
