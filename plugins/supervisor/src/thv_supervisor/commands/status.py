"""``thv status``: one workload in detail."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any
from urllib.parse import urlencode

import click

from thv_supervisor.commands.completing import workload_names
from thv_supervisor.commands.listing import ago
from thv_supervisor.wire import EGRESS, workload_path

if TYPE_CHECKING:
    from thv_core.spi.console import Console

__all__ = ["status"]

LABELS = 10
"""The least width of the labels; the name of the workload may be a longer one."""


@click.command(short_help="Show one workload.")
@click.argument("name", shell_complete=workload_names)
@click.option("--format", "form", default="text", type=click.Choice(["text", "json"]), show_default=True)
@click.pass_obj
def status(console: Console, name: str, form: str) -> None:
    """Show what a workload is doing, and why."""
    from thv_supervisor.client import ControlClient

    client = ControlClient(console.environment, console.message)
    view = client.call("GET", workload_path(name, "status"))
    if form == "json":
        console.document(view)
        return
    pairs = _pairs(view, _reach(client, view))
    width = max(LABELS, len(view["name"])) + 1
    for label, text in pairs:
        console.line(f"{label:<{width}}{text}")


def _pairs(view: dict[str, Any], reach: str) -> list[tuple[str, str]]:
    spoken = f", speaks {view['protocol_version']}" if view["protocol_version"] else ""
    pairs = [
        (view["name"], _doing(view)),
        ("package", f"{view['package']}   {view['runtime']}, {view['transport_type']}{spoken}"),
        ("url", view["url"]),
        ("tools", ", ".join(view["tools"]) or "none known"),
        ("reach", reach),
        ("files", _files(view)),
        *[("limits", ", ".join(view["limits"])) for _ in view["limits"][:1]],
        *[("note", note) for note in view["notes"]],
        ("group", view["group"]),
        ("created", ago(view["created_at"])),
        ("log", f"thv logs {view['name']}"),
    ]
    return [pairs[0], ("reason", view["status_context"]), *pairs[1:]] if view["status_context"] else pairs


def _reach(client: Any, view: dict[str, Any]) -> str:
    from thv_core.errors import ThvError

    if not view["reaches"]:
        return "nothing beyond itself"
    name = view["name"]
    try:
        found = client.call("GET", f"{EGRESS}/report?by=workload&{urlencode({'workload': name})}")["sums"]
    except ThvError:
        return str(view["reaches"])
    connections, denied = (sum(each[count] for each in found) for count in ("connections", "denied"))
    made = f"{connections} connection{'' if connections == 1 else 's'}, {denied} denied"
    return f"{view['reaches']}   {made}   thv egress log {name}"


def _files(view: dict[str, Any]) -> str:
    if not view["reads"]:
        return "none of yours"
    return f"reads {', '.join(view['reads'])}, writes {', '.join(view['writes']) or 'nothing'}"


def _doing(view: dict[str, Any]) -> str:
    count = view["restarts"]
    restarts = f"{count} restart{'' if count == 1 else 's'}"
    if not view["started_at"]:
        return f"{view['status']}, {restarts}"
    since = ago(view["started_at"]).removesuffix(" ago")
    process = f" (pid {view['pid']})" if view["pid"] else ""
    return f"{view['status']} for {since}{process}, {restarts}"
