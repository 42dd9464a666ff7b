"""The root of all commands: it lists every installed command and imports only the one that is asked for."""

from __future__ import annotations

import difflib
import itertools
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import cached_property
from typing import TYPE_CHECKING

import click

from thv_cli.flag_values import without_flag_values
from thv_cli.global_options import with_global_options
from thv_cli.summaries import Summary, summary
from thv_cli.visible import cell
from thv_core.errors import InvalidRequest
from thv_core.loading.blame import broken
from thv_core.loading.commands import load_command

if TYPE_CHECKING:
    from click.shell_completion import CompletionItem

    from thv_core.loading.catalog import Catalog, Plugin

__all__ = ["ALIASES", "OTHERS", "SECTIONS", "CommandTree"]

ALIASES: Mapping[str, str] = {"ls": "list"}
"""Other names of commands: understood, but not listed."""

SECTIONS: Mapping[str, tuple[str, ...]] = {
    "Servers": (
        *("search", "run", "list", "status", "logs", "stop", "start", "restart", "rm", "group", "apply", "diff"),
        "export",
    ),
    "Use and access": ("mcp", "proxy", "inspector", "client", "secret", "profile", "egress"),
    "This installation": (
        *("config", "runtime", "registry", "cache", "plugins", "serve", "service", "completion", "version"),
    ),
}
"""Where a person looks for a command, in the order of use; a name that is in no section comes last."""

OTHERS = "More"


class CommandTree(click.Group):
    """A group whose subcommands are the plugins of kind ``command``.

    A command that is refused, or that cannot work, is listed with the reason, fails with an error that names its
    distribution, and disturbs no other.
    """

    def __init__(self, scan: Callable[[], Catalog], params: Sequence[click.Parameter] = ()) -> None:
        super().__init__(
            "thv",
            help="Run MCP servers in isolation, behind one gateway.",
            epilog="thv COMMAND --help says more about a command.",
            params=list(params),
            context_settings={"help_option_names": ["-h", "--help"]},
        )
        with_global_options(self, hidden=False)
        self._scan = scan

    @cached_property
    def catalog(self) -> Catalog:
        """What is installed, scanned once and only when a command is looked for."""
        return self._scan()

    def list_commands(self, ctx: click.Context) -> list[str]:
        """Name every command, usable or not."""
        return sorted(self._offers())

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """Import the command of a name or alias; ``None`` when nobody offers it.

        :raises PluginRefused: when it may not be imported.
        :raises PluginBroken: when its import fails, or gives something else than a command.
        """
        name = ALIASES.get(cmd_name, cmd_name)
        if name not in self._offers():
            return None
        return with_global_options(_imported(self.catalog.find("command", name)))

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        """Take ``help COMMAND`` for ``COMMAND --help``, and parse the options before the command."""
        meant = [*args[1:], "--help"] if args[:1] == ["help"] else args
        leading = list(itertools.takewhile(lambda argument: argument.startswith("-"), meant))
        return super().parse_args(ctx, [*without_flag_values(self, leading), *meant[len(leading) :]])

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        """Find the command that the first argument names.

        :raises InvalidRequest: when there is none; the hint is the nearest name, or what to install.
        """
        name, command, rest = args[0], self.get_command(ctx, args[0]), args[1:]
        if command is None:
            if not ctx.resilient_parsing:
                raise self._unknown(name, f"{ctx.command_path} --help")
            return None, None, rest
        return name, command, without_flag_values(command, rest)

    def invoke(self, ctx: click.Context) -> object:
        """Run the chosen command; whatever it raises is annotated with the distribution that it came from."""
        try:
            return super().invoke(ctx)
        except Exception as error:
            plugin = self._ready().get(ALIASES.get(ctx.invoked_subcommand or "", ctx.invoked_subcommand or ""))
            if plugin:
                error.add_note(f"in the command {plugin.name} of {plugin.origin}")
            raise

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Write one line for each command, in sections."""
        lines = dict(self._lines())
        column = max(map(len, lines), default=0)
        for title, names in _sections(lines):
            with formatter.section(title):
                formatter.write_dl([(f"{name:<{column}}", lines[name]) for name in names])

    def shell_complete(self, ctx: click.Context, incomplete: str) -> list[CompletionItem]:
        """Complete the names of commands and options without importing a command."""
        from click.shell_completion import CompletionItem  # only a shell asks for it

        names = [CompletionItem(name, help=text) for name, text in self._lines() if name.startswith(incomplete)]
        # Not super(): the completion of a group imports each of its commands.
        return names + click.Command.shell_complete(self, ctx, incomplete)

    def _offers(self) -> dict[str, list[Plugin]]:
        offers: dict[str, list[Plugin]] = {}
        for plugin in self.catalog.of_kind("command"):
            offers.setdefault(plugin.name, []).append(plugin)
        return offers

    def _ready(self) -> dict[str, Plugin]:
        return {plugin.name: plugin for plugin in self.catalog.ready("command")}

    def _lines(self) -> Iterator[tuple[str, str]]:
        ready = self._ready()
        for name, offered in self._offers().items():
            known = summary(ready[name].value) if name in ready else Summary(broken=offered[0].reason)
            origin = (ready.get(name) or offered[0]).origin
            if not known.hidden:
                text = f"cannot be used: {origin}: {known.broken}" if known.broken else known.text
                yield cell(name), cell(text + "".join(f"; also {alias}" for alias in _aliases(name)))

    def _unknown(self, name: str, ask: str) -> InvalidRequest:
        from thv_core.loading.first_party import advice  # only when something is already wrong

        meant = difflib.get_close_matches(name, [*self._offers(), *ALIASES], n=1)
        near = f"Did you mean {meant[0]}?      {ask}" if meant else ask
        return InvalidRequest(f"there is no command {name!r}", hint=advice("command", name) or near)


def _aliases(name: str) -> list[str]:
    return [alias for alias, command in ALIASES.items() if command == name]


def _sections(names: Mapping[str, str]) -> Iterator[tuple[str, list[str]]]:
    listed = {name for section in SECTIONS.values() for name in section}
    for title, section in (*SECTIONS.items(), (OTHERS, tuple(sorted(set(names) - listed)))):
        present = [name for name in section if name in names]
        if present:
            yield title, present


def _imported(plugin: Plugin) -> click.Command:
    found = load_command(plugin)
    if not isinstance(found, click.Command):
        raise broken(plugin, f"is not a click command but of type {type(found).__name__}")
    return found
