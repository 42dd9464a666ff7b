"""``thv group``: name groups of workloads, and say which workload is in which."""

from __future__ import annotations

import shlex
import sys
from typing import TYPE_CHECKING, Any
from urllib.parse import urlencode

import click

from thv_supervisor.commands.completing import group_names, workload_names
from thv_supervisor.wire import GROUPS, WORKLOADS, group_path

if TYPE_CHECKING:
    from thv_core.spi.console import Console

__all__ = ["group"]

ENDING = 300.0
"""Seconds that the end of all members of a group may take."""


@click.group(short_help="Put workloads into groups.")
def group() -> None:
    """Put workloads into groups. Each is in exactly one; the group default always exists."""


@group.command(short_help="Make a group.")
@click.argument("name")
@click.pass_obj
def create(console: Console, name: str) -> None:
    """Make the group NAME: lower-case letters, digits, dashes, underscores, and single spaces between."""
    from thv_core.model.group import valid_group

    _client(console).call("POST", GROUPS, body={"name": valid_group(name)})
    console.message(f"group {name} is made")


@group.command("list", short_help="List the groups.")
@click.option("--format", "form", default="text", type=click.Choice(["text", "json"]), show_default=True)
@click.pass_obj
def list_groups(console: Console, form: str) -> None:
    """List the names of all groups."""
    groups = _client(console).call("GET", GROUPS)["groups"]
    if form == "json":
        console.document(groups)
    elif groups:
        console.table(("NAME",), [[each["name"]] for each in groups])
    else:
        console.message("No groups configured.")


@group.command(short_help="Remove a group.")
@click.argument("name", shell_complete=group_names)
@click.option("--with-workloads", is_flag=True, help="Remove its workloads too; else they go to the group default.")
@click.option("-y", "--yes", is_flag=True, help="Do not ask.")
@click.pass_obj
def rm(console: Console, name: str, with_workloads: bool, yes: bool) -> None:
    """Remove the group NAME; asks first when there are workloads in it."""
    _removable(name)
    client = _client(console)
    query = urlencode({"all": "true", "group": name})
    members = [view["name"] for view in client.call("GET", f"{WORKLOADS}?{query}")["workloads"]]
    if members and not yes and not _confirmed(console, name, members, with_workloads):
        console.message("Group deletion cancelled.")
        return
    suffix = "?with-workloads=true" if with_workloads else ""
    client.call("DELETE", f"{group_path(name)}{suffix}", limit=ENDING)
    console.message(f"group {name} is removed")


@group.command(short_help="Give a group another name.")
@click.argument("old", shell_complete=group_names)
@click.argument("new")
@click.pass_obj
def rename(console: Console, old: str, new: str) -> None:
    """Give the group OLD the name NEW. Its workloads stay in it and go on running."""
    from thv_core.model.group import valid_group

    _client(console).call("PATCH", group_path(old), body={"name": valid_group(new)})
    console.message(f"group {old} is now {new}")


@group.command(short_help="Move workloads to a group.")
@click.argument("workloads", nargs=-1, required=True, metavar="WORKLOAD...", shell_complete=workload_names)
@click.argument("name", metavar="GROUP", shell_complete=group_names)
@click.pass_obj
def move(console: Console, workloads: tuple[str, ...], name: str) -> None:
    """Move each WORKLOAD to GROUP. Nothing that runs is touched."""
    _client(console).call("POST", group_path(name, "workloads"), body={"names": list(workloads)})
    console.message(f"{', '.join(workloads)} {'is' if len(workloads) == 1 else 'are'} in group {name} now")


@group.command("run", hidden=True)
@click.argument("words", nargs=-1)
def run_group(words: tuple[str, ...]) -> None:
    """Refuse: groups of a registry are run no more."""
    from thv_core.errors import Unsupported

    raise Unsupported(
        "group run is deprecated and runs nothing",
        hint=f"thv group create {words[0] if words else 'GROUP'}   and for each server:  thv run --group GROUP SERVER",
    )


def _removable(name: str) -> None:
    from thv_core.errors import InvalidRequest
    from thv_core.model.group import DEFAULT_GROUP

    if name == DEFAULT_GROUP:
        raise InvalidRequest(
            f"the group '{DEFAULT_GROUP}' always exists",
            hint=f"Remove its workloads:  thv rm --group {DEFAULT_GROUP}",
        )


def _client(console: Console) -> Any:
    from thv_supervisor.client import ControlClient

    return ControlClient(console.environment, console.message)


def _confirmed(console: Console, name: str, members: list[str], with_workloads: bool) -> bool:
    """Say what will happen to the members, and ask; without a terminal to ask, refuse."""
    from thv_core.errors import InvalidRequest

    fate = "will be REMOVED" if with_workloads else "will be moved to the group 'default'"
    count = f"{len(members)} workload{'' if len(members) == 1 else 's'}"
    console.message(f"WARNING: this removes the group '{name}', and its {count} {fate}:")
    for member in members:
        console.message(f"  - {member}")
    if not sys.stdin.isatty():
        raise InvalidRequest(
            f"the group {name} has workloads, and there is no terminal to ask whether to go on",
            hint=f"thv group rm {shlex.quote(name)}{' --with-workloads' if with_workloads else ''} --yes",
        )
    return click.confirm("Are you sure you want to continue?", err=True)
