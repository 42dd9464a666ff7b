"""``thv mcp``: look at a server and call its tools, as an MCP client would."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

import click

from thv_supervisor.commands.completing import workload_names
from thv_supervisor.wire import workload_path

if TYPE_CHECKING:
    from thv_core.spi.console import Console
    from thv_supervisor.mcp_client import McpClient

__all__ = ["mcp"]

GATEWAY_PATIENCE = 5.0
"""Seconds that a gateway may be away while it is replaced."""

server_option = click.option("--server", default="", metavar="NAME|URL", help="A workload, or the URL of a server.")
timeout_option = click.option(
    "--timeout",
    default=30.0,
    show_default=True,
    type=click.FloatRange(0, 86400, min_open=True),
    help="Seconds to wait for an answer.",
)
format_option = click.option("--format", "form", default="text", type=click.Choice(["text", "json"]), show_default=True)


@click.group(short_help="Look at a server and call its tools.")
def mcp() -> None:
    """Look at a server and call its tools, as an MCP client would."""


@mcp.group("list", short_help="List what a server offers.")
def list_() -> None:
    """List what a server offers."""


@list_.command("tools", short_help="List the tools of a server.")
@click.argument("name", required=False, default="", shell_complete=workload_names)
@server_option
@timeout_option
@format_option
@click.pass_obj
def list_tools(console: Console, name: str, server: str, timeout: float, form: str) -> None:
    """List the tools of a server, a workload by name or any by --server."""
    with _client(console, _one(name, server), timeout) as client:
        tools = client.pages("tools/list", "tools")
    if form == "json":
        console.document({"tools": tools})
    else:
        console.table(("NAME", "DESCRIPTION"), [[tool["name"], _first_line(tool)] for tool in tools])


@mcp.command(short_help="Call a tool of a server.")
@click.argument("target", nargs=-1, required=True, metavar="[SERVER] TOOL", shell_complete=workload_names)
@server_option
@click.option("--args", "arguments", default="", metavar="JSON", help="All arguments, as a JSON object.")
@click.option("--args-file", default="", metavar="FILE", help="All arguments, from a file; - is standard input.")
@click.option("--arg", "pairs", multiple=True, metavar="KEY=VALUE", help="One argument.")
@click.option("--ignore-tool-error", is_flag=True, help="Exit 0 even when the tool reports an error.")
@timeout_option
@format_option
@click.pass_obj
def call(console: Console, /, **flags: Any) -> None:
    """Call a tool of a server and print its result."""
    server, tool = _target(flags["target"], flags["server"])
    with _client(console, server, flags["timeout"]) as client:
        given = _arguments(console, flags)
        given |= _typed(client, tool, flags["pairs"]) if flags["pairs"] else {}
        result = client.request("tools/call", {"name": tool, "arguments": given})
    _show(console, result, flags["form"])
    if result.get("isError") and not flags["ignore_tool_error"]:
        raise click.exceptions.Exit(1)


def _client(console: Console, server: str, timeout: float) -> McpClient:
    from thv_core.errors import Unavailable
    from thv_supervisor.client import ControlClient
    from thv_supervisor.mcp_client import McpClient

    if "://" in server:
        return McpClient(server, timeout)
    control = ControlClient(console.environment, console.message)
    view = control.call("GET", workload_path(server, "status"))
    if view["status"] != "running":
        raise Unavailable(f"{server} is {view['status']}", hint=f"thv start {server}")
    return McpClient(view["url"], timeout, GATEWAY_PATIENCE)


def _one(name: str, server: str) -> str:
    if bool(name) == bool(server):
        raise click.UsageError("name one server: a workload, or --server with a workload or URL")
    return name or server


def _target(words: tuple[str, ...], server: str) -> tuple[str, str]:
    *servers, tool = words
    if len(servers) > 1:
        raise click.UsageError(f"expected a server and a tool, got {len(words)} words")
    return _one("".join(servers), server), tool


def _arguments(console: Console, flags: dict[str, Any]) -> dict[str, Any]:
    text, file = flags["arguments"], flags["args_file"]
    if text and file:
        raise click.UsageError("--args and --args-file exclude each other")
    if file:
        text = sys.stdin.read() if file == "-" else _read(console.directory / file)
    try:
        given = json.loads(text or "{}")
    except ValueError as error:
        raise click.UsageError(f"the arguments are not JSON: {error}") from None
    if not isinstance(given, dict):
        raise click.UsageError("the arguments are not a JSON object")
    return cast("dict[str, Any]", given)


def _read(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8")
    except OSError as error:
        raise click.UsageError(f"{path} cannot be read: {error.strerror}") from None


def _typed(client: McpClient, tool: str, pairs: tuple[str, ...]) -> dict[str, Any]:
    tools = client.pages("tools/list", "tools")
    schemas: dict[str, dict[str, Any]] = {each["name"]: each.get("inputSchema", {}) for each in tools}
    given: dict[str, Any] = {}
    for pair in pairs:
        key, separator, text = pair.partition("=")
        if not separator:
            raise click.UsageError(f"--arg {pair!r} is not KEY=VALUE")
        declared = schemas.get(tool, {}).get("properties", {}).get(key, {}).get("type", "string")
        given[key] = text if declared == "string" else _value(text)
    return given


def _value(text: str) -> Any:
    try:
        return json.loads(text)
    except ValueError:
        return text


def _show(console: Console, result: dict[str, Any], form: str) -> None:
    if form == "json":
        console.document(result)
        return
    for block in result.get("content", []):
        console.line(block["text"] if block.get("type") == "text" else json.dumps(block))


def _first_line(tool: dict[str, Any]) -> str:
    lines = str(tool.get("description", "")).strip().splitlines()
    return lines[0] if lines else ""
