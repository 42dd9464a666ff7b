"""``thv logs``: what a server, or the gateway about it, has written."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

import click

from thv_supervisor.commands.completing import workload_names
from thv_supervisor.wire import workload_path

if TYPE_CHECKING:
    from thv_core.spi.console import Console

__all__ = ["logs"]


@click.command(short_help="Show the log of a workload.")
@click.argument("name", shell_complete=workload_names)
@click.option("-f", "--follow", is_flag=True, help="Go on showing what is added.")
@click.option("-p", "--proxy", is_flag=True, help="What the gateway noted, instead of the server.")
@click.option("--tail", default=None, type=click.IntRange(0), metavar="LINES", help="Only the last lines.")
@click.pass_obj
def logs(console: Console, name: str, follow: bool, proxy: bool, tail: int | None) -> None:
    """Show what a server wrote to its standard error."""
    from thv_supervisor.client import ControlClient

    client = ControlClient(console.environment, console.message)
    query = [f"follow={'true' if follow else 'false'}", *([f"tail={tail}"] if tail is not None else [])]
    path = workload_path(name, f"{'proxy-logs' if proxy else 'logs'}?{'&'.join(query)}")
    for chunk in client.chunks(path):
        sys.stdout.buffer.write(chunk)
        sys.stdout.buffer.flush()
