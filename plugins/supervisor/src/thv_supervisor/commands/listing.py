"""``thv list``: the table of workloads."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import click

from thv_supervisor.wire import WORKLOADS

if TYPE_CHECKING:
    from thv_core.spi.console import Console

__all__ = ["ago", "list_workloads"]

COLUMNS = ("NAME", "PACKAGE", "STATUS", "URL", "PORT", "GROUP", "CREATED")
WIDE = ("RUNTIME", "TRANSPORT", "RESTARTS")
UNITS = ((86400, "day"), (3600, "hour"), (60, "minute"), (1, "second"))


@click.command("list", short_help="List workloads.")
@click.option("-a", "--all", "everything", is_flag=True, help="Also those that are stopped.")
@click.option("--format", "form", default="text", type=click.Choice(["text", "json", "mcpservers"]), show_default=True)
@click.option("--wide", is_flag=True, help="More columns.")
@click.pass_obj
def list_workloads(console: Console, everything: bool, form: str, wide: bool) -> None:
    """List the workloads that should run, or all of them."""
    from thv_supervisor.client import ControlClient

    client = ControlClient(console.environment, console.message)
    query = "?all=true" if everything else ""
    _SHOWN[form](console, client.call("GET", f"{WORKLOADS}{query}")["workloads"], wide)


def _text(console: Console, views: list[dict[str, Any]], wide: bool) -> None:
    if not views:
        console.message("No MCP servers found")
        return
    rows = [_row(view, wide) for view in views]
    console.table(COLUMNS + (WIDE if wide else ()), rows)


def _row(view: dict[str, Any], wide: bool) -> list[str]:
    keys = ["name", "package", "status", "url", "port", "group"]
    row = [str(view[key]) for key in keys] + [ago(view["created_at"])]
    return row + [str(view[key]) for key in ("runtime", "transport_type", "restarts")] if wide else row


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
