"""The options that every command takes, before its name and behind it."""

from __future__ import annotations

import click

from thv_cli.console import TerminalConsole

__all__ = ["debugging", "with_global_options"]

_OPTIONS = {
    "debug": "Show debug messages, and the full traceback of an error (environment: THV_DEBUG).",
    "verbose": "Show more of what happens.",
    "quiet": "Show errors only.",
}
_NO = ("", "0", "false", "no", "off")


def debugging(value: str) -> bool:
    """Tell whether the value of ``THV_DEBUG`` or ``TOOLHIVE_DEBUG`` asks for debugging."""
    return value.strip().lower() not in _NO


def with_global_options(command: click.Command, *, hidden: bool = True) -> click.Command:
    """Return ``command``, it and its subcommands now taking each global option that they do not define themselves."""
    taken = {name for parameter in command.params for name in (parameter.name, *parameter.opts)}
    for name, text in _OPTIONS.items():
        if name not in taken and f"--{name}" not in taken:
            command.params.append(_option(name, text, hidden=hidden))
    if isinstance(command, click.Group):
        for child in command.commands.values():
            with_global_options(child)
    return command


def _option(name: str, text: str, *, hidden: bool) -> click.Option:
    return click.Option(
        [f"--{name}"], is_flag=True, is_eager=True, expose_value=False, hidden=hidden, help=text, callback=_take_effect
    )


def _take_effect(context: click.Context, option: click.Parameter, value: bool) -> None:
    console = context.find_object(TerminalConsole)
    if console is None or not value:
        return
    if option.name == "quiet":
        console.quiet = True
    else:
        console.speak_up(debug=option.name == "debug")
