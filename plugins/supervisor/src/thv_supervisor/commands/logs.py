"""``thv logs``: what a server, or the gateway about it, has written, and ``thv logs prune``."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Any

import click

from thv_supervisor.commands.completing import log_names
from thv_supervisor.wire import LOGS, workload_path

if TYPE_CHECKING:
    from thv_core.spi.console import Console

__all__ = ["logs"]

PRUNE = "prune"


@click.group(
    short_help="Show the log of a workload.",
    invoke_without_command=True,
    subcommand_metavar="",
    context_settings={"allow_interspersed_args": True},
)
@click.argument("name", metavar="NAME|prune", shell_complete=log_names)
@click.option("-f", "--follow", is_flag=True, help="Go on showing what is added.")
@click.option("-p", "--proxy", is_flag=True, help="What the gateway noted, instead of the server.")
@click.option("--tail", default=None, type=click.IntRange(0), metavar="LINES", help="Only the last lines.")
@click.pass_context
def logs(context: click.Context, name: str, follow: bool, proxy: bool, tail: int | None) -> None:
    """Show what a server wrote to its standard error.

    A workload that is called prune shows its log when an option is given, such as --proxy=false.
    """
    if context.invoked_subcommand:
        raise click.UsageError(f"got unexpected extra argument ({context.invoked_subcommand})")
    written = click.core.ParameterSource.COMMANDLINE
    optional = any(context.get_parameter_source(each) is written for each in ("follow", "proxy", "tail"))
    if name == PRUNE and not optional:
        context.invoke(prune)
        return
    query = [f"follow={'true' if follow else 'false'}", *([f"tail={tail}"] if tail is not None else [])]
    _show(context.obj, workload_path(name, f"{'proxy-logs' if proxy else 'logs'}?{'&'.join(query)}"))


@logs.command(short_help="Remove the logs that belong to no workload.")
@click.pass_obj
def prune(console: Console) -> None:
    """Remove the log files that belong to no workload any more, and print their paths."""
    from thv_supervisor.client import ControlClient

    client: Any = ControlClient(console.environment, console.message)
    pruned = client.call("POST", f"{LOGS}/prune")["pruned"]
    for path in pruned:
        console.line(path)
    if not pruned:
        console.message("There is no log of a removed workload")


def _show(console: Console, path: str) -> None:
    from thv_supervisor.client import ControlClient

    client = ControlClient(console.environment, console.message)
    for chunk in client.chunks(path):
        sys.stdout.buffer.write(chunk)
        sys.stdout.buffer.flush()
