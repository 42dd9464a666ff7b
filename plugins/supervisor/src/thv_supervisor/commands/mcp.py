"""``thv mcp``: look at a server and call its tools, as an MCP client would."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple, cast

import click

from thv_supervisor.commands.completing import workload_names
from thv_supervisor.commands.durations import Duration

if TYPE_CHECKING:
    from thv_core.spi.console import Console
    from thv_supervisor.mcp_client import McpClient

__all__ = ["mcp"]

GATEWAY_PATIENCE = 5.0
"""Seconds that a gateway may be away while it is replaced."""


MOST_NAMED = 10
"""Tools that are named to whoever asks for one that there is not."""


class Offer(NamedTuple):
    """One list of a server: the request for it, its key in the answer, and what is shown of each item."""

    title: str
    method: str
    key: str
    columns: tuple[str, ...] = ("NAME", "DESCRIPTION")
    fields: tuple[str, ...] = ("name",)


OFFERS: dict[str, tuple[Offer, ...]] = {
    "tools": (Offer("Tools", "tools/list", "tools"),),
    "resources": (
        Offer("Resources", "resources/list", "resources", ("NAME", "URI", "DESCRIPTION"), ("name", "uri")),
        Offer(
            "Resource templates",
            "resources/templates/list",
            "resourceTemplates",
            ("NAME", "URI TEMPLATE", "DESCRIPTION"),
            ("name", "uriTemplate"),
        ),
    ),
    "prompts": (Offer("Prompts", "prompts/list", "prompts"),),
}

Decorated = Callable[..., Any]


def reaching(command: Decorated) -> Decorated:
    """Add the options by which a server is reached, and its answer shown."""
    for option in reversed(_REACHING):
        command = option(command)
    return command


_REACHING = (
    click.option("--server", default="", metavar="NAME|URL", help="A workload, or the URL of a server."),
    click.option(
        "--timeout", default="30s", show_default=True, type=Duration(), help="How long to wait: 30s, 1m, 500ms."
    ),
    click.option(
        "--transport",
        default="auto",
        show_default=True,
        type=click.Choice(["auto", "streamable-http", "sse"]),
        help="How the server speaks.",
    ),
    click.option(
        "--protocol-era",
        "era",
        default="auto",
        show_default=True,
        type=click.Choice(["auto", "legacy", "modern"]),
        help="Which era of the protocol to speak: until 2025-11-25, or from 2026-07-28 on.",
    ),
    click.option("--format", "form", default="text", type=click.Choice(["text", "json"]), show_default=True),
)


@click.group(short_help="Look at a server and call its tools.")
def mcp() -> None:
    """Look at a server and call its tools, as an MCP client would."""


class _Kinds(click.Group):
    """A group of lists, which says where the name of a server belongs when it stands in the place of one."""

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        """Refuse a word that is no list, nor nearly one."""
        from thv_core.errors import InvalidRequest
        from thv_core.model.document import nearest

        if args[0] in self.commands or nearest(args[0], list(self.commands)) or ctx.resilient_parsing:
            return super().resolve_command(ctx, args)
        hint = f"Of a server:  thv mcp list --server {args[0]}   or one list of it:  thv mcp list tools {args[0]}"
        raise InvalidRequest(f"there is no list {args[0]!r}: {', '.join(self.commands)}", hint=hint)


@mcp.group("list", cls=_Kinds, invoke_without_command=True, short_help="List what a server offers.")
@reaching
@click.pass_context
def list_(context: click.Context, /, **flags: Any) -> None:
    """List what a server offers: its tools, resources and prompts, or one kind of them."""
    if context.invoked_subcommand is not None:
        # What stands before the kind holds for it as well.
        given = {name: flags[name] for name in flags if _is_given(context, name)}
        context.default_map = {context.invoked_subcommand: given}
        return
    _list(context.obj, _one("", flags["server"]), flags, tuple(OFFERS))


def _of_kind(kind: str) -> None:
    @list_.command(kind, short_help=f"List the {kind} of a server.")
    @click.argument("name", required=False, default="", shell_complete=workload_names)
    @reaching
    @click.pass_obj
    def list_kind(console: Console, /, **flags: Any) -> None:
        _list(console, _one(flags["name"], flags["server"]), flags, (kind,))

    list_kind.help = f"List the {kind} of a server, a workload by name or any by --server."


for _kind in OFFERS:
    _of_kind(_kind)


@mcp.command(short_help="Call a tool of a server.")
@click.argument("target", nargs=-1, required=True, metavar="[SERVER] TOOL", shell_complete=workload_names)
@click.option("--args", "arguments", default="", metavar="JSON", help="All arguments, as a JSON object.")
@click.option("--args-file", default="", metavar="FILE", help="All arguments, from a file; - is standard input.")
@click.option("--arg", "pairs", multiple=True, metavar="KEY=VALUE", help="One argument.")
@click.option("--ignore-tool-error", is_flag=True, help="Exit 0 even when the tool reports an error.")
@reaching
@click.pass_obj
def call(console: Console, /, **flags: Any) -> None:
    """Call a tool of a server and print its result."""
    server, tool = _target(flags["target"], flags["server"])
    with _client(console, server, flags) as client:
        given = _arguments(console, flags)
        given |= _typed(client, tool, flags["pairs"]) if flags["pairs"] else {}
        result = _result(client, tool, given)
    _show(console, result, flags["form"])
    if result.get("isError") and not flags["ignore_tool_error"]:
        raise click.exceptions.Exit(1)


def _result(client: McpClient, tool: str, given: dict[str, Any]) -> dict[str, Any]:
    """Return the result of a call.

    :raises NotFound: when the server refuses it, and offers no such tool.
    """
    from thv_core.errors import NotFound
    from thv_core.model.document import nearest
    from thv_supervisor.mcp_client import Refusal

    try:
        return client.request("tools/call", {"name": tool, "arguments": given})
    except Refusal as refusal:
        tools = [str(each["name"]) for each in client.offered("tools/list", "tools")]
        if tool in tools:
            raise
        meant = nearest(tool, tools)
        hint = f"Did you mean {meant}?" if meant else f"It has {', '.join(tools[:MOST_NAMED]) or 'none'}."
        raise NotFound(f"the server has no tool {tool}", evidence=[refusal.message], hint=hint) from None


def _client(console: Console, server: str, flags: dict[str, Any]) -> McpClient:
    from thv_core.errors import InvalidRequest
    from thv_supervisor.client import ControlClient
    from thv_supervisor.mcp_client import Manner, McpClient
    from thv_supervisor.workload_urls import served_place

    timeout, manner = flags["timeout"], Manner(flags["transport"], flags["era"])
    if manner == ("sse", "modern"):
        raise InvalidRequest("the modern era has no transport sse", hint="Leave one of the two out.")
    if "://" in server:
        return McpClient(server, timeout, manner=manner)
    control = ControlClient(console.environment, console.message)
    place = served_place(control, server)
    # A gateway serves both, whichever it shows.
    path = {"sse": "/sse", "streamable-http": "/mcp"}.get("streamable-http" if manner.era == "modern" else manner[0])
    return McpClient(place.with_path(path) if path else place, timeout, GATEWAY_PATIENCE, manner)


def _is_given(context: click.Context, name: str) -> bool:
    return context.get_parameter_source(name) is not click.core.ParameterSource.DEFAULT


def _list(console: Console, server: str, flags: dict[str, Any], kinds: tuple[str, ...]) -> None:
    lists = [each for kind in kinds for each in OFFERS[kind]]
    with _client(console, server, flags) as client:
        found = {each.key: client.offered(each.method, each.key) for each in lists}
    if flags["form"] == "json":
        console.document(found)
        return
    for number, each in enumerate(lists):
        if len(kinds) > 1 and (found[each.key] or each.key in kinds):
            console.line(("\n" if number else "") + each.title)
        if found[each.key] or each.key in kinds:
            console.table(each.columns, [_row(each, item) for item in found[each.key]])


def _row(each: Offer, item: dict[str, Any]) -> list[str]:
    return [str(item.get(field, "")) for field in each.fields] + [_first_line(item)]


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


def _first_line(item: dict[str, Any]) -> str:
    lines = str(item.get("description", "")).strip().splitlines()
    return lines[0] if lines else ""
