"""``thv start``, ``restart``, ``stop`` and ``rm``."""

from __future__ import annotations

import sys
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import click

from thv_supervisor.commands.completing import workload_names
from thv_supervisor.commands.run import ENDING, follow
from thv_supervisor.wire import WORKLOADS, workload_path

if TYPE_CHECKING:
    from thv_core.spi.console import Console

__all__ = ["restart", "rm", "start", "stop"]

names_argument = click.argument("names", nargs=-1, metavar="[NAME]...", shell_complete=workload_names)
all_option = click.option("-a", "--all", "everything", is_flag=True, help="All workloads.")


@click.command(short_help="Start workloads, or start them anew.")
@names_argument
@all_option
@click.pass_obj
def start(console: Console, names: tuple[str, ...], everything: bool) -> None:
    """Start workloads that are stopped, and running ones anew."""
    client, chosen = _chosen(console, names, everything)
    _each(console, chosen, lambda name: follow(console, client, "POST", workload_path(name, "restart")))


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

    def stop_one(name: str) -> None:
        client.call("POST", workload_path(name, f"stop?timeout={timeout}"), limit=timeout + ENDING)
        console.message(f"{name} is stopped")

    _each(console, chosen, stop_one)


@click.command(short_help="Remove workloads.")
@names_argument
@all_option
@click.option("-y", "--yes", is_flag=True, help="Do not ask before removing all.")
@click.pass_obj
def rm(console: Console, names: tuple[str, ...], everything: bool, yes: bool) -> None:
    """Remove workloads and everything that belongs to them."""
    client, chosen = _chosen(console, names, everything)
    if everything and chosen and not yes:
        _need_terminal()
        click.confirm(f"Remove {', '.join(chosen)}?", abort=True, err=True)

    def remove_one(name: str) -> None:
        client.call("DELETE", workload_path(name), limit=ENDING)
        console.message(f"{name} is removed")

    _each(console, chosen, remove_one)


def _each(console: Console, names: list[str], act: Callable[[str], None]) -> None:
    """Do it to each workload; one that fails keeps no other from its turn, and fails the command at the end."""
    from thv_core.errors import ThvError

    failures: list[ThvError] = []
    for name in names:
        try:
            act(name)
        except ThvError as error:
            failures.append(error)
    if failures and len(names) == 1:
        raise failures[0]
    if failures:
        evidence = [line for failure in failures for line in str(failure).splitlines()]
        raise ThvError(f"{len(failures)} of {len(names)} failed", evidence=evidence)


def _need_terminal() -> None:
    from thv_core.errors import InvalidRequest

    if not sys.stdin.isatty():
        raise InvalidRequest("removing all is asked about, and there is no terminal to ask", hint="thv rm --all --yes")


def _chosen(console: Console, names: tuple[str, ...], everything: bool) -> tuple[Any, list[str]]:
    from thv_supervisor.client import ControlClient

    if bool(names) == everything:
        raise click.UsageError("give the names of workloads, or --all")
    client = ControlClient(console.environment, console.message)
    if not everything:
        return client, list(names)
    found = [view["name"] for view in client.call("GET", f"{WORKLOADS}?all=true")["workloads"]]
    if not found:
        console.message("No MCP servers found")
    return client, found
