"""``thv serve``: the three processes in the foreground."""

from __future__ import annotations

import os
import sys
import time
from typing import TYPE_CHECKING

import click

from thv_supervisor.wire import PREFIX

if TYPE_CHECKING:
    from thv_core.spi.console import Console
    from thv_core.state.paths import Paths

__all__ = ["serve"]

ENDING = 20.0
"""Seconds that calls in flight, and the end of the three processes, may take."""

PAUSE = 0.05


@click.command(short_help="Run the processes of thv in the foreground.")
@click.option("--stop", is_flag=True, help="End the processes that run; servers live on.")
@click.pass_obj
def serve(console: Console, stop: bool) -> None:
    """Run control and gateway in the foreground; other commands start them in the background when needed.

    Servers live on when the processes end, and are found again when they start.
    """
    from thv_core.errors import AlreadyExists
    from thv_core.state.paths import Paths
    from thv_supervisor.launching import command, is_supervised, prepare

    paths = Paths.from_environment(console.environment, sys.platform)
    paths.ensure()
    supervised = is_supervised(paths)
    if stop:
        _stop(console, paths, supervised)
        return
    if supervised:
        raise AlreadyExists("the processes of thv run already", hint="End them with:  thv serve --stop")
    prepare(paths)
    console.message(f"control listens at {paths.control_socket}; end with Ctrl-C")
    os.execv(sys.executable, command(paths))  # noqa: S606 - our own interpreter


def _stop(console: Console, paths: Paths, supervised: bool) -> None:
    from thv_core.errors import TimedOut
    from thv_supervisor.client import ControlClient
    from thv_supervisor.launching import is_supervised

    if not supervised:
        console.message("the processes of thv do not run")
        return
    ControlClient(console.environment, console.message).call("POST", f"{PREFIX}/shutdown")
    ends = time.monotonic() + ENDING
    while is_supervised(paths):
        if time.monotonic() > ends:
            raise TimedOut(f"the processes of thv did not end within {ENDING:g} s", hint="Try again in a moment.")
        time.sleep(PAUSE)
    console.message("the processes of thv have ended; servers live on and are found again")
