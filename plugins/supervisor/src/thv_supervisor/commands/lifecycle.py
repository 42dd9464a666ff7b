"""``thv start``, ``restart``, ``stop`` and ``rm``."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any
from urllib.parse import quote

import click

from thv_supervisor.commands.completing import workload_names
from thv_supervisor.commands.run import follow

if TYPE_CHECKING:
    from thv_core.spi.console import Console

__all__ = ["restart", "rm", "start", "stop"]

WORKLOADS = "/api/v1beta/workloads"
names_argument = click.argument("names", nargs=-1, metavar="[NAME]...", shell_complete=workload_names)
all_option = click.option("-a", "--all", "everything", is_flag=True, help="All workloads.")


@click.command(short_help="Start workloads, or start them anew.")
@names_argument
@all_option
@click.pass_obj
def start(console: Console, names: tuple[str, ...], everything: bool) -> None:
    """Start workloads that are stopped, and running ones anew."""
    client, chosen = _chosen(console, names, everything)
    for name in chosen:
        follow(console, client, "POST", f"{WORKLOADS}/{quote(name)}/restart")


@click.command(short_help="Start workloads anew.")
@names_argument
@all_option
@click.pass_context
def restart(context: click.Context, names: tuple[str, ...], everything: bool) -> None:
    """Start workloads anew, running or not."""
    context.invoke(start, names=names, everything=everything)


@click.command(short_help="Stop workloads.")
@names_argument
@all_option
@click.option("--timeout", default=30, show_default=True, type=click.IntRange(0, 3600), help="Seconds of grace.")
@click.pass_obj
def stop(console: Console, names: tuple[str, ...], everything: bool, timeout: int) -> None:
    """Stop workloads: ask each to end, wait, then end it."""
    client, chosen = _chosen(console, names, everything)
    for name in chosen:
        client.call("POST", f"{WORKLOADS}/{quote(name)}/stop?timeout={timeout}")
        console.message(f"{name} is stopped")


@click.command(short_help="Remove workloads.")
@names_argument
@all_option
@click.option("-y", "--yes", is_flag=True, help="Do not ask before removing all.")
@click.pass_obj
def rm(console: Console, names: tuple[str, ...], everything: bool, yes: bool) -> None:
    """Remove workloads and everything that belongs to them."""
    client, chosen = _chosen(console, names, everything)
    if everything and chosen and not yes:
        click.confirm(f"Remove {', '.join(chosen)}?", abort=True, err=True)
    for name in chosen:
        client.call("DELETE", f"{WORKLOADS}/{quote(name)}")
        console.message(f"{name} is removed")


def _chosen(console: Console, names: tuple[str, ...], everything: bool) -> tuple[Any, list[str]]:
    from thv_supervisor.client import ControlClient

    if bool(names) == everything:
        raise click.UsageError("give the names of workloads, or --all")
    client = ControlClient(console.environment, console.message)
    if not everything:
        return client, list(names)
    return client, [view["name"] for view in client.call("GET", f"{WORKLOADS}?all=true")["workloads"]]
