"""The options that every command takes, before its name and behind it."""

from __future__ import annotations

import click

from thv_cli.console import TerminalConsole

__all__ = ["debugging", "with_global_options"]

_OPTIONS = {
    "debug": "Show debug messages, and the full traceback of an error (environment: THV_DEBUG).",
    "quiet": "Show errors only.",
}
_NO = ("", "0", "false", "no", "off")


class GlobalOption(click.Option):
    """An option of every command; only the root describes it, a subcommand names it in one line at the end."""

    def __init__(self, name: str, text: str, *, described: bool) -> None:
        super().__init__(
            [f"--{name}"], is_flag=True, is_eager=True, expose_value=False, help=text, callback=_take_effect
        )
        self._described = described

    def get_help_record(self, ctx: click.Context) -> tuple[str, str] | None:
        """Return the line of the option in the help of a command, or nothing."""
        return super().get_help_record(ctx) if self._described else None


def debugging(value: str) -> bool:
    """Tell whether the value of ``THV_DEBUG`` or ``TOOLHIVE_DEBUG`` asks for debugging."""
    return value.strip().lower() not in _NO


def with_global_options(command: click.Command, *, hidden: bool = True) -> click.Command:
    """Return ``command``, it and its subcommands now taking each global option that they do not define themselves.

    :param hidden: name them in one line of the help, instead of describing each.
    """
    taken = {name for parameter in command.params for name in (parameter.name, *parameter.opts)}
    added = [name for name in _OPTIONS if name not in taken and f"--{name}" not in taken]
    command.params += [GlobalOption(name, _OPTIONS[name], described=not hidden) for name in added]
    if hidden and added:
        named = f"Also: {' '.join(f'--{name}' for name in added)}"
        command.epilog = f"{command.epilog}\n\n{named}" if command.epilog else named
    if isinstance(command, click.Group):
        for child in command.commands.values():
            with_global_options(child)
    return command


def _take_effect(context: click.Context, option: click.Parameter, value: bool) -> None:
    console = context.find_object(TerminalConsole)
    if console is None or not value:
        return
    if option.name == "quiet":
        console.quiet = True
    else:
        console.speak_up()
