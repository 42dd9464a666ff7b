"""``thv status``: one workload in detail."""

from __future__ import annotations

from datetime import UTC, datetime
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

FIRST = ("name", "status", "health", "package", "url", "port", "transport", "proxy_mode", "group", "uptime")
"""The keys of the JSON document that ToolHive's has, too, in its order."""


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
        console.document(_document(view))
        return
    pairs = _pairs(view, _reach(client, view))
    width = max(LABELS, len(view["name"])) + 1
    for label, text in pairs:
        console.line(f"{label:<{width}}{text}")


def _document(view: dict[str, Any]) -> dict[str, Any]:
    whole = {**view, "transport": view["transport_type"], "uptime": _uptime(view["started_at"])}
    return {key: whole[key] for key in FIRST} | view


def _uptime(instant: str) -> str:
    """Say how long it has been since an ISO 8601 instant, as Go prints a duration: ``1h2m3s``; nothing for nothing."""
    if not instant:
        return ""
    seconds = max(int((datetime.now(UTC) - datetime.fromisoformat(instant)).total_seconds()), 0)
    hours, minutes = seconds // 3600, seconds // 60
    return f"{hours}h" * bool(hours) + f"{minutes % 60}m" * bool(minutes) + f"{seconds % 60}s"


def _pairs(view: dict[str, Any], reach: str) -> list[tuple[str, str]]:
    spoken = f", speaks {view['protocol_version']}" if view["protocol_version"] else ""
    spoken += f" ({' and '.join(view['eras'])})" if spoken and view.get("eras") else ""
    return [
        (view["name"], _doing(view)),
        *_if_any("reason", view["status_context"]),
        *_if_any("health", view["health"] if view["health"] != "unknown" else ""),
        ("package", f"{view['package']}   {view['runtime']}, {view['transport_type']}{spoken}"),
        ("url", view["url"]),
        ("tools", ", ".join(view["tools"]) or "none known"),
        ("reach", reach),
        *_if_any("files", "" if view.get("remote") else _files(view)),
        *_if_any("limits", ", ".join(view["limits"])),
        *[("note", note) for note in view["notes"]],
        ("group", view["group"]),
        *_if_any("labels", ", ".join(f"{key}={value}" for key, value in sorted(view["labels"].items()))),
        ("created", ago(view["created_at"])),
        ("log", f"thv logs {view['name']}"),
    ]


def _if_any(label: str, text: str) -> list[tuple[str, str]]:
    return [(label, text)] if text else []


def _reach(client: Any, view: dict[str, Any]) -> str:
    from thv_core.errors import ThvError

    if view.get("remote"):
        return "it runs somewhere else, out of reach of any isolation here"
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
