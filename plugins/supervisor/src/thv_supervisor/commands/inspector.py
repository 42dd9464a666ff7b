"""``thv inspector``: look at a workload with the MCP Inspector."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import click

from thv_supervisor.commands.completing import workload_names
from thv_supervisor.wire import WORKLOADS

if TYPE_CHECKING:
    from thv_core.spi.console import Console

__all__ = ["inspector"]


@click.command(short_help="Look at a workload with the MCP Inspector.")
@click.argument("name", shell_complete=workload_names)
@click.option(
    "-u", "--ui-port", default=6274, show_default=True, type=click.IntRange(1, 65535), help="Port of its page."
)
@click.option(
    "-p",
    "--mcp-proxy-port",
    default=6277,
    show_default=True,
    type=click.IntRange(1, 65535),
    help="Port of what servers draw.",
)
@click.pass_obj
def inspector(console: Console, name: str, ui_port: int, mcp_proxy_port: int) -> None:
    """Run the MCP Inspector for the workload NAME until Ctrl-C, and print the URL of its page with its token.

    It is fetched from npm on its first use and needs Node 22.19 or newer. It runs on this machine and is not isolated.
    """
    from thv_supervisor import inspecting
    from thv_supervisor.commands.attaching import ended_by_signals

    view = _running(console, name)
    if ui_port == mcp_proxy_port:
        raise click.UsageError("--ui-port and --mcp-proxy-port are the same")
    inspection = inspecting.Inspection(view["url"], view["proxy_mode"], ui_port, mcp_proxy_port)
    console.message("the inspector runs on this machine with your Node, not isolated; end it with Ctrl-C")
    console.going_on("starting", f"{inspecting.INSPECTOR}, which npm fetches if it is new here")
    with (
        ended_by_signals(True),
        inspecting.inspector(inspection, console.environment) as (page, ended),
    ):
        console.line(page)
        code = _until_interrupted(ended)
    if code is None:
        console.message("the inspector has ended; nothing of it is left running")
    else:
        context = click.get_current_context()
        console.message(f"the inspector ended by itself with code {code}")
        context.exit(1)


def _until_interrupted(ended: Any) -> int | None:
    try:
        return int(ended())
    except KeyboardInterrupt:
        return None


def _running(console: Console, name: str) -> dict[str, Any]:
    from thv_core.errors import NotFound, NotReady
    from thv_core.model.document import nearest
    from thv_supervisor.client import ControlClient

    client = ControlClient(console.environment, console.message)
    views = {view["name"]: view for view in client.call("GET", f"{WORKLOADS}?all=true")["workloads"]}
    if name not in views:
        meant = nearest(name, list(views))
        hint = f"Did you mean {meant}?" if meant else "thv list --all shows every workload."
        raise NotFound(f"there is no workload named {name}", hint=hint)
    view: dict[str, Any] = views[name]
    if view["status"] != "running":
        raise NotReady(f"{name} is {view['status']}", hint=f"thv start {name}")
    return view
