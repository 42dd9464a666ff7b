"""``thv list``: the table of workloads."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any
from urllib.parse import urlencode

import click

from thv_supervisor.commands.completing import group_names, label_words
from thv_supervisor.wire import WORKLOADS

if TYPE_CHECKING:
    from thv_core.spi.console import Console

__all__ = ["ago", "list_workloads"]

COLUMNS = ("NAME", "PACKAGE", "STATUS", "URL", "PORT", "GROUP", "CREATED")
WIDE = ("RUNTIME", "TRANSPORT", "RESTARTS", "NETWORK", "MEMORY")
UNITS = ((86400, "day"), (3600, "hour"), (60, "minute"), (1, "second"))


@click.command("list", short_help="List workloads.")
@click.option("-a", "--all", "everything", is_flag=True, help="Also those that are stopped.")
@click.option("--group", default="", shell_complete=group_names, help="Those of one group only.")
@click.option(
    "-l", "--label", "labels", multiple=True, metavar="KEY=VALUE", shell_complete=label_words, help="With this label."
)
@click.option("--format", "form", default="text", type=click.Choice(["text", "json", "mcpservers"]), show_default=True)
@click.option("--wide", is_flag=True, help="More columns.")
@click.pass_obj
def list_workloads(console: Console, /, form: str, wide: bool, **chosen: Any) -> None:
    """List the workloads that should run, or all of them."""
    from thv_supervisor.client import ControlClient

    asked = _asked(**chosen)
    client = ControlClient(console.environment, console.message)
    views = client.call("GET", f"{WORKLOADS}?{urlencode(asked)}" if asked else WORKLOADS)["workloads"]
    if form == "text" and not views:
        group = chosen["group"]
        console.message(f"No MCP servers found in group '{group}'" if group else "No MCP servers found")
    else:
        _SHOWN[form](console, views, wide)


def _asked(everything: bool, group: str, labels: tuple[str, ...]) -> list[tuple[str, str]]:
    if labels:
        from thv_core.model.label import label

        for text in labels:
            label(text)
    every = [("all", "true")] if everything else []
    of_group = [("group", group)] if group else []
    return [*every, *of_group, *(("label", text) for text in labels)]


def _text(console: Console, views: list[dict[str, Any]], wide: bool) -> None:
    rows = [_row(view, wide) for view in views]
    console.table(COLUMNS + (WIDE if wide else ()), rows)


def _row(view: dict[str, Any], wide: bool) -> list[str]:
    keys = ["name", "package", "status", "url", "port", "group"]
    row = [str(view[key]) for key in keys] + [ago(view["created_at"])]
    if not wide:
        return row
    memory = next((text.removeprefix("memory ") for text in view["limits"] if text.startswith("memory ")), "")
    more = [str(view[key]) for key in ("runtime", "transport_type", "restarts")]
    return [*row, *more, "somewhere else" if view.get("remote") else view["reaches"] or "none", memory]


def _json(console: Console, views: list[dict[str, Any]], wide: bool) -> None:
    console.document(views)


def _mcpservers(console: Console, views: list[dict[str, Any]], wide: bool) -> None:
    servers = {view["name"]: {"url": view["url"], "type": view["proxy_mode"]} for view in views}
    console.document({"mcpServers": servers})


def ago(instant: str) -> str:
    """Say how long ago an ISO 8601 instant was, in one unit."""
    seconds = int((datetime.now(UTC) - datetime.fromisoformat(instant)).total_seconds())
    size, unit = next(((size, unit) for size, unit in UNITS if seconds >= size), UNITS[-1])
    count = max(seconds, 0) // size
    return f"{count} {unit}{'' if count == 1 else 's'} ago"


_SHOWN = {"text": _text, "json": _json, "mcpservers": _mcpservers}
