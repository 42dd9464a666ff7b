"""``thv proxy``: a way to a server that runs somewhere else, and one for clients that speak only over pipes."""

from __future__ import annotations

import signal
import sys
from typing import TYPE_CHECKING, Any

import click
from msgspec.structs import replace

from thv_supervisor.commands.completing import workload_names
from thv_supervisor.commands.serving_options import PROXIED, spelled_serving

if TYPE_CHECKING:
    from types import FrameType

    from thv_core.model.route import RouteReport
    from thv_core.model.run_config import RunConfig
    from thv_core.spi.console import Console

__all__ = ["proxy"]

MOST_WORKERS = 64
"""As many as the setting ``gateway_workers`` allows."""


class _ServerOrCommand(click.Group):
    """A group whose first word is a command of it, or else the name of a server."""

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        """Parse options on either side of the name of a server; a command parses its own."""
        if args[:1] and args[0] in self.commands:
            return super().parse_args(ctx, ["", *args])
        ctx.allow_interspersed_args = True
        return super().parse_args(ctx, args)

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        """Refuse words behind the name of a server, which are no command."""
        if args[0] not in self.commands:
            self._refuse_misspelt(ctx.params.get("server_name") or "", args[0])
            raise click.UsageError(f"one server is proxied at a time, and there is one more word: {args[0]!r}", ctx)
        return super().resolve_command(ctx, args)

    def _refuse_misspelt(self, word: str, name: str) -> None:
        from thv_core.errors import InvalidRequest
        from thv_core.model.document import nearest

        if meant := nearest(word, list(self.commands)):
            raise InvalidRequest(f"there is no command {word!r}", hint=f"Did you mean  thv proxy {meant} {name}?")


@click.group(
    cls=_ServerOrCommand,
    invoke_without_command=True,
    no_args_is_help=True,
    short_help="Give a server somewhere else an address of this machine.",
)
@click.argument("server_name", required=False, default="")
@click.option("--target-uri", default="", metavar="URL", help="The server's MCP endpoint, http or https.  [required]")
@click.option("--host", default="127.0.0.1", show_default=True, help="Where to listen: an address of loopback.")
@click.option("--port", default=0, type=click.IntRange(0, 65535), help="Where to listen; else a free one is chosen.")
@click.option(
    "--transport",
    default="auto",
    show_default=True,
    type=click.Choice(["auto", "streamable-http", "sse"]),
    help="How the server speaks; auto finds out.",
)
@click.option(
    "--workers",
    default=1,
    show_default=True,
    type=click.IntRange(1, MOST_WORKERS),
    help="How many processes carry the traffic.",
)
@spelled_serving(*PROXIED)
@click.pass_context
def proxy(context: click.Context, /, server_name: str, target_uri: str, **flags: Any) -> None:
    """Serve a server that runs somewhere else, at an address of this machine, until Ctrl-C.

    Prints the URL for MCP clients once the server answers. What clients send as Authorization is handed on to it.
    """
    if context.invoked_subcommand is not None:
        return
    if not server_name or not target_uri:
        raise click.UsageError("give the server a name, and its MCP endpoint by --target-uri", context)
    from thv_supervisor.proxying import remote_config
    from thv_supervisor.serving_flags import serving_keys

    console: Console = context.obj
    serving = serving_keys(flags, console.directory)
    config = remote_config(server_name, target_uri, {"host": flags["host"], "port": flags["port"], **serving})
    _serve(console, config, flags["transport"], flags["workers"])


@proxy.command(short_help="Speak to a workload over standard input and output.")
@click.argument("name", metavar="WORKLOAD", shell_complete=workload_names)
@click.pass_obj
def stdio(console: Console, name: str) -> None:
    """Carry MCP between standard input and output and a workload, for clients that speak nothing else.

    Ends at the end of standard input, when the calls in flight are answered. Standard output carries MCP alone.
    """
    from thv_supervisor.bridge_session import BridgeSession
    from thv_supervisor.client import ControlClient
    from thv_supervisor.stdio_bridge import Bridge
    from thv_supervisor.workload_urls import settled_place

    control = ControlClient(console.environment, console.message)
    session = BridgeSession(lambda: settled_place(control, name))
    Bridge(session, console.message).run(sys.stdin.buffer, sys.stdout.buffer)


def _serve(console: Console, config: RunConfig, transport: str, workers: int) -> None:
    from thv_core.kernel import compose
    from thv_core.services.resolving_secrets import resolve_headers
    from thv_core.services.serving import client_url
    from thv_core.spi.gateways import Gateway
    from thv_supervisor.file_limit import raise_file_limit
    from thv_supervisor.probing import spoken
    from thv_supervisor.proxying import START_SECONDS, proxied, remote_route
    from thv_supervisor.requesting import shell_values
    from thv_supervisor.serving_flags import header_references

    def ready(report: RouteReport) -> None:
        if not report.protocol_version:
            console.message(f"{config.name} lets in only clients that authorize themselves")
        console.line(client_url(replace(config, host=route.host, port=report.port)))

    _heed_signals()
    raise_file_limit()
    kernel = compose(console.environment, sys.platform)
    shell = shell_values(header_references(config.header_forward), console.environment)
    values = resolve_headers(config, kernel.secret_store, shell)
    console.going_on("waiting", f"for {config.remote_url} to answer, {START_SECONDS:g} s at most")
    found = spoken(config, values) if transport == "auto" else transport
    route = remote_route(replace(config, transport=found))
    proxied(route, kernel.drivers.get(Gateway, kernel.configuration.gateway), ready, values, workers)


def _heed_signals() -> None:
    # The directory of the proxy has to be removed; the gateway heeds SIGTERM itself once it serves.
    signal.signal(signal.SIGTERM, _leave)
    if signal.getsignal(signal.SIGHUP) is not signal.SIG_IGN:
        signal.signal(signal.SIGHUP, lambda number, frame: signal.raise_signal(signal.SIGTERM))


def _leave(number: int, frame: FrameType | None) -> None:
    sys.exit(0)
