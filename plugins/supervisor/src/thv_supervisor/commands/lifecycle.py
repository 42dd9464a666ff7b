"""``thv start``, ``restart``, ``stop`` and ``rm``."""

from __future__ import annotations

import sys
from collections.abc import Callable
from typing import TYPE_CHECKING, Any
from urllib.parse import urlencode

import click

from thv_supervisor.commands.completing import group_names, running_names, workload_names
from thv_supervisor.commands.run import ENDING, follow
from thv_supervisor.wire import WORKLOADS, workload_path

if TYPE_CHECKING:
    from thv_core.spi.console import Console
    from thv_supervisor.commands.together import Outcome

__all__ = ["restart", "rm", "start", "stop"]

GRACE = 30
"""Seconds that ``--timeout`` is by default."""

names_argument = click.argument("names", nargs=-1, metavar="[NAME]...", shell_complete=workload_names)
running_argument = click.argument("names", nargs=-1, metavar="[NAME]...", shell_complete=running_names)
all_option = click.option("-a", "--all", "everything", is_flag=True, help="All workloads.")
group_option = click.option("-g", "--group", default="", shell_complete=group_names, help="All workloads of a group.")
foreground_option = click.option("-f", "--foreground", is_flag=True, help="Show its log until Ctrl-C, then stop it.")


@click.command(short_help="Start workloads, or start them anew.")
@names_argument
@all_option
@group_option
@foreground_option
@click.pass_obj
def start(console: Console, names: tuple[str, ...], everything: bool, group: str, foreground: bool) -> None:
    """Start workloads that are stopped, and running ones anew."""
    client, chosen = _chosen(console, names, everything, group)
    if foreground:
        if len(chosen) != 1:
            raise click.UsageError("--foreground is for one workload")
        _start_attached(console, client, next(iter(chosen)))
    elif len(chosen) == 1:
        follow(console, client, "POST", workload_path(next(iter(chosen)), "restart"))
    else:
        _start_several(console, client, chosen)


@click.command(short_help="Start workloads anew.")
@names_argument
@all_option
@group_option
@foreground_option
@click.pass_context
def restart(context: click.Context, /, **flags: Any) -> None:
    """Start workloads anew, running or not."""
    context.invoke(start, **flags)


@click.command(short_help="Stop workloads.")
@running_argument
@all_option
@group_option
@click.option("--timeout", default=GRACE, show_default=True, type=click.IntRange(0, 3600), help="Seconds of grace.")
@click.pass_obj
def stop(console: Console, names: tuple[str, ...], everything: bool, group: str, timeout: int) -> None:
    """Stop workloads: ask each to end, wait, then end it. One that does not run is no error."""
    client, chosen = _chosen(console, names, everything, group)
    views = _views(client, {}) if names else chosen
    idle = [name for name in chosen if views.get(name, {}).get("status") == "stopped"]
    for name in idle if names or len(idle) == len(chosen) else ():
        console.message(f"{name} is not running")
    running = {name: view for name, view in chosen.items() if name not in idle}
    _each(console, running, "is stopped", lambda name: _stop_one(client, name, timeout))


@click.command(short_help="Remove workloads.")
@names_argument
@all_option
@group_option
@click.option("-y", "--yes", is_flag=True, help="Do not ask before removing all.")
@click.pass_obj
def rm(console: Console, names: tuple[str, ...], everything: bool, group: str, yes: bool) -> None:
    """Remove workloads and everything that belongs to them."""
    client, chosen = _chosen(console, names, everything, group)
    if everything and chosen and not yes and not _confirmed(chosen):
        console.message("nothing is removed")
        return
    _each(
        console,
        chosen,
        "is removed",
        lambda name: client.call("DELETE", f"{workload_path(name)}?wait=true", limit=ENDING),
    )


def _stop_one(client: Any, name: str, timeout: int) -> None:
    client.call("POST", workload_path(name, f"stop?wait=true&timeout={timeout}"), limit=timeout + ENDING)


def _start_attached(console: Console, client: Any, name: str) -> None:
    from thv_supervisor.commands.attaching import attach, ended_by_signals

    def end() -> None:
        _stop_one(client, name, GRACE)
        console.message(f"{name} is stopped")

    with ended_by_signals(wanted=True):
        follow(console, client, "POST", workload_path(name, "restart"))
        attach(console, client, name, end)


def _start_several(console: Console, client: Any, chosen: dict[str, dict[str, Any]]) -> None:
    """Start several side by side: one line for each, and how many succeeded."""
    from thv_supervisor.commands.together import failed, together

    def ready(name: str) -> str:
        documents = client.story("POST", workload_path(name, "restart"))
        return next((str(each["ready"]["url"]) for each in documents if "ready" in each), "")

    outcomes: list[Outcome] = []
    for outcome in together(list(chosen), ready):
        outcomes.append(outcome)
        if outcome.failure is None:
            console.line(f"{outcome.name}  {outcome.result}")
        else:
            console.message(f"{outcome.name} did not start")
    failure = failed(outcomes)
    broken = sum(each.failure is not None for each in outcomes)
    if outcomes:
        console.message(f"Restart summary: {len(outcomes) - broken} succeeded, {broken} failed")
    if failure:
        raise failure


def _each(console: Console, chosen: dict[str, dict[str, Any]], done: str, act: Callable[[str], object]) -> None:
    """Do it to each workload, side by side; one that fails keeps no other from its turn, and fails the command."""
    from thv_supervisor.commands.together import failed, together

    outcomes: list[Outcome] = []
    for outcome in together(list(chosen), act):
        outcomes.append(outcome)
        if outcome.failure is None:
            console.message(f"{outcome.name} {done}")
    if failure := failed(outcomes):
        raise failure


def _confirmed(chosen: dict[str, dict[str, Any]]) -> bool:
    """Ask whether to remove all; without a terminal to ask, refuse."""
    from thv_core.errors import InvalidRequest

    if not sys.stdin.isatty():
        raise InvalidRequest("there is no terminal to ask whether to remove all", hint="thv rm --all --yes")
    return click.confirm(f"Remove {', '.join(chosen)}?", err=True)


def _chosen(
    console: Console, names: tuple[str, ...], everything: bool, group: str
) -> tuple[Any, dict[str, dict[str, Any]]]:
    """Return a client, and the workloads that are meant: those of names as they are, without a look at them."""
    from thv_supervisor.client import ControlClient

    if [bool(names), everything, bool(group)].count(True) != 1:
        raise click.UsageError("give the names of workloads, or --all, or --group")
    client = ControlClient(console.environment, console.message)
    if names:
        return client, {name: {} for name in names}
    found = _views(client, {"group": group} if group else {})
    if not found:
        console.message(f"No MCP servers found in group '{group}'" if group else "No MCP servers found")
    return client, found


def _views(client: Any, more: dict[str, str]) -> dict[str, dict[str, Any]]:
    query = urlencode({"all": "true", **more})
    return {view["name"]: view for view in client.call("GET", f"{WORKLOADS}?{query}")["workloads"]}
