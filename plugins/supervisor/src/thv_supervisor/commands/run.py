"""``thv run``: create and start a workload, and wait until it answers."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import click

from thv_supervisor.commands.completing import group_names, profile_names, transport_names
from thv_supervisor.commands.serving_options import spelled_serving
from thv_supervisor.wire import RUNS, run_path, workload_path

if TYPE_CHECKING:
    from thv_core.spi.console import Console

__all__ = ["ENDING", "follow", "run"]

ENDING = 150.0
"""Seconds that the end of a server may take, beyond its grace."""


@click.command(short_help="Run an MCP server in isolation.")
@click.argument("server", required=False, default="")
@click.argument("args", nargs=-1)
@click.option("--name", default="", help="Name of the workload; else derived from the server.")
@click.option("--image", default="", metavar="REF", help="The same as SERVER.")
@click.option("--group", default="default", show_default=True, shell_complete=group_names, help="A group that exists.")
@click.option("-l", "--label", "labels", multiple=True, metavar="KEY=VALUE", help="Attach a label.")
@click.option("-e", "--env", "env_vars", multiple=True, metavar="KEY=VALUE", help="Set a variable of the server.")
@click.option("--env-file", default="", metavar="FILE", help="Set variables from lines KEY=VALUE.")
@click.option("--env-file-dir", default="", metavar="DIRECTORY", help="The same from every file of a directory.")
@click.option("--secret", "secrets", multiple=True, metavar="NAME,target=ENV", help="Give a secret; env:NAME is yours.")
@click.option(
    "--transport",
    default="",
    metavar="TYPE",
    shell_complete=transport_names,
    help="How the server speaks: stdio, sse or streamable-http.",
)
@click.option(
    "--target-port", default=0, type=click.IntRange(0, 65535), help="Where a server that speaks HTTP listens."
)
@click.option("--host", default="127.0.0.1", show_default=True, help="Loopback address of the gateway.")
@click.option("--proxy-port", default=0, type=click.IntRange(0, 65535), help="Port of the gateway; else chosen.")
@click.option(
    "--permission-profile",
    "profile",
    default="",
    metavar="NAME|FILE",
    shell_complete=profile_names,
    help="What the server may do.",
)
@click.option(
    "--isolate-network/--no-isolate-network", default=True, help="Servers are always isolated; nothing else is offered."
)
@click.option("-v", "--volume", "volumes", multiple=True, metavar="HOST:SERVER[:ro]", help="Grant a path.")
@click.option("--allow-network", multiple=True, metavar="HOST[:PORT]", help="What the server may reach.")
@click.option("--allow-read", multiple=True, metavar="PATH", help="What of yours the server may read.")
@click.option("--allow-write", multiple=True, metavar="PATH", help="What of yours the server may write.")
@click.option("--allow-socket", is_flag=True, help="Grant paths that contain Unix sockets.")
@click.option("--allow-scripts", is_flag=True, help="Let the package run its install scripts, isolated.")
@spelled_serving()
@click.option("-f", "--foreground", is_flag=True, help="Show its log until Ctrl-C, then remove it.")
@click.option("--from-config", "config_file", default="", metavar="FILE", help="Run an exported RunConfig.")
@click.option("--drop-unsupported", is_flag=True, help="Leave out what a file asks for and nothing here offers.")
@click.pass_context
def run(context: click.Context, /, foreground: bool, **flags: Any) -> None:
    """Run an MCP server in isolation and wait until it answers.

    SERVER says where it comes from, such as uvx://mcp-server-time. What follows -- goes to the server.
    Prints the URL for MCP clients.
    """
    from thv_supervisor.client import ControlClient
    from thv_supervisor.commands.attaching import attach, ended_by_signals
    from thv_supervisor.requesting import request_from

    console: Console = context.obj
    written = click.core.ParameterSource.COMMANDLINE
    given = [name for name in flags if context.get_parameter_source(name) is written]
    request = request_from(flags, given, console)
    client = ControlClient(console.environment, console.message)
    with ended_by_signals(foreground):
        try:
            view = follow(console, client, "POST", RUNS, request)
        except KeyboardInterrupt:
            abandon(console, client, request)
            raise
        if foreground:
            attach(console, client, view["name"], lambda: _remove(console, client, view["name"]))


def follow(console: Console, client: Any, method: str, path: str, body: object = None) -> dict[str, Any]:
    """Show each step of a start, print the URL at its end, and return the view of the workload."""
    for document in client.story(method, path, body):
        if "progress" in document:
            progress = document["progress"]
            show = console.step if progress["done"] else console.going_on
            show(progress["step"], progress["text"], progress["seconds"])
        else:
            view: dict[str, Any] = document["ready"]
            console.line(view["url"])
            return view
    return {}


def abandon(console: Console, client: Any, request: dict[str, object]) -> None:
    """Remove what an interrupted start has left, and say so."""
    removed = client.call("DELETE", run_path(str(request["request_id"])), limit=ENDING)["removed"]
    for name in removed:
        console.message(f"interrupted: {name} was removed")
    console.message("nothing is left of it")


def _remove(console: Console, client: Any, name: str) -> None:
    client.call("DELETE", f"{workload_path(name)}?wait=true", limit=ENDING)
    console.message(f"{name} is removed")
