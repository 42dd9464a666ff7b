"""``thv run``: create and start a workload, and wait until it answers."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import click

from thv_supervisor.commands.completing import profile_names, transport_names
from thv_supervisor.wire import PREFIX, WORKLOADS

if TYPE_CHECKING:
    from thv_core.spi.console import Console

__all__ = ["ENDING", "run"]

ENDING = 150.0
"""Seconds that the end of a server may take, beyond its grace."""


@click.command(short_help="Run an MCP server in isolation.")
@click.argument("server", required=False, default="")
@click.argument("args", nargs=-1)
@click.option("--name", default="", help="Name of the workload; else derived from the server.")
@click.option("-e", "--env", "env_vars", multiple=True, metavar="KEY=VALUE", help="Set a variable of the server.")
@click.option("--secret", "secrets", multiple=True, metavar="NAME,target=ENV", help="Give a secret; env:NAME is yours.")
@click.option(
    "--transport",
    default="",
    metavar="TYPE",
    shell_complete=transport_names,
    help="How the server speaks: stdio, or streamable-http.",
)
@click.option(
    "--target-port", default=0, type=click.IntRange(0, 65535), help="Where a server that speaks HTTP listens."
)
@click.option("--proxy-port", default=0, type=click.IntRange(0, 65535), help="Port of the gateway; else chosen.")
@click.option(
    "--permission-profile",
    "profile",
    default="",
    metavar="NAME|FILE",
    shell_complete=profile_names,
    help="What the server may do.",
)
@click.option("-v", "--volume", "volumes", multiple=True, metavar="HOST:SERVER[:ro]", help="Grant a path.")
@click.option("--allow-network", multiple=True, metavar="HOST[:PORT]", help="What the server may reach.")
@click.option("--allow-read", multiple=True, metavar="PATH", help="What of yours the server may read.")
@click.option("--allow-write", multiple=True, metavar="PATH", help="What of yours the server may write.")
@click.option("--allow-socket", is_flag=True, help="Grant paths that contain Unix sockets.")
@click.option("--allow-scripts", is_flag=True, help="Let the package run its install scripts, isolated.")
@click.option("--from-config", "config_file", default="", metavar="FILE", help="Run an exported RunConfig.")
@click.pass_obj
def run(console: Console, /, **flags: Any) -> None:
    """Run an MCP server in isolation and wait until it answers.

    SERVER says where it comes from, such as uvx://mcp-server-time. What follows -- goes to the server.
    Prints the URL for MCP clients.
    """
    from thv_supervisor.client import ControlClient
    from thv_supervisor.requesting import request_from

    request = request_from(flags, console.environment, console.directory)
    client = ControlClient(console.environment, console.message)
    try:
        follow(console, client, "POST", WORKLOADS, request)
    except KeyboardInterrupt:
        abandon(console, client, request)
        raise


def follow(console: Console, client: Any, method: str, path: str, body: object = None) -> None:
    """Show each step of a start, and print the URL at its end."""
    for document in client.story(method, path, body):
        if "progress" in document:
            progress = document["progress"]
            show = console.step if progress["done"] else console.going_on
            show(progress["step"], progress["text"], progress["seconds"])
        else:
            console.line(document["ready"]["url"])


def abandon(console: Console, client: Any, request: dict[str, object]) -> None:
    """Remove what an interrupted start has left, and say so."""
    removed = client.call("DELETE", f"{PREFIX}/requests/{request['request_id']}", limit=ENDING)["removed"]
    for name in removed:
        console.message(f"interrupted: {name} was removed")
    console.message("nothing is left of it")
