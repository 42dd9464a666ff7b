"""``thv profile``: what a permission profile says, and what that lets a server do."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import click

from thv_supervisor.commands.completing import profile_names, workload_names
from thv_supervisor.wire import workload_path

if TYPE_CHECKING:
    from thv_core.model.run_config import RunConfig
    from thv_core.services.explaining import Pair
    from thv_core.spi.console import Console
    from thv_supervisor.client import ControlClient

__all__ = ["profile"]


def _profiles_and_workloads(context: click.Context, parameter: click.Parameter, incomplete: str) -> list[str]:
    return [*profile_names(context, parameter, incomplete), *workload_names(context, parameter, incomplete)]


@click.group(short_help="See what permission profiles allow.")
def profile() -> None:
    """See what permission profiles say, and what a server with one can do."""


@profile.command(short_help="Show a profile as JSON.")
@click.argument("name", metavar="NAME|FILE|WORKLOAD", shell_complete=_profiles_and_workloads)
@click.pass_obj
def show(console: Console, name: str) -> None:
    """Show a profile as JSON, with everything that it leaves to its default: a whole one to begin with.

    That of a workload has what the flags of its start added to it.
    """
    import msgspec

    from thv_supervisor.profiles import is_profile, profile_named

    if is_profile(name, console.directory):
        shown = profile_named(name, console.directory)
    else:
        shown = _config(_client(console), name).permission_profile
    console.document(msgspec.to_builtins(shown))


@profile.command(short_help="Say in words what a server can do.")
@click.argument("name", metavar="NAME|FILE|WORKLOAD", shell_complete=_profiles_and_workloads)
@click.option("--format", "form", default="text", type=click.Choice(["text", "json"]), show_default=True)
@click.pass_obj
def explain(console: Console, name: str, form: str) -> None:
    """Say in words what a server with a profile can do, or a workload."""
    from thv_supervisor.profiles import is_profile, profile_named

    if is_profile(name, console.directory):
        from thv_core.services.explaining import explanation, profile_grants

        chosen = profile_named(name, console.directory)
        _tell(console, "A server with this profile", explanation(chosen, profile_grants(chosen)), form)
    else:
        _tell(console, name, _of_workload(console, name), form)


def _of_workload(console: Console, name: str) -> Sequence[Pair]:
    from thv_core.model.plan import grants_of
    from thv_core.services.explaining import explanation

    client = _client(console)
    config = _config(client, name)
    view = client.call("GET", workload_path(name, "status"))
    return explanation(config.permission_profile, grants_of(config), view["limits"])


def _client(console: Console) -> ControlClient:
    from thv_supervisor.client import ControlClient

    return ControlClient(console.environment, console.message)


def _config(client: ControlClient, name: str) -> RunConfig:
    import msgspec

    from thv_core.errors import NotFound
    from thv_core.model.run_config import RunConfig
    from thv_supervisor.profiles import meant_profile

    try:
        exported: Any = client.call("GET", workload_path(name, "export"))
    except NotFound as error:
        hint = meant_profile(name) or error.hint
        raise NotFound(f"there is no profile, file or workload {name}", hint=hint) from None
    return msgspec.convert(exported, RunConfig)


def _tell(console: Console, title: str, pairs: Sequence[Pair], form: str) -> None:
    if form == "json":
        console.document(dict(pairs))
        return
    console.line(title)
    for label, text in pairs:
        console.line(f"  {label:<13}  {text}")
