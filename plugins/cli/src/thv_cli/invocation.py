"""The composition root of the ``thv`` command: streams, environment and directory enter here and nowhere else."""

from __future__ import annotations

import io
import os
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TextIO

import click

import thv_core
from thv_cli.command_tree import CommandTree
from thv_cli.console import TerminalConsole
from thv_cli.failures import INTERRUPTED, OUTPUT_CLOSED, own, present, wants_json
from thv_cli.global_options import debugging
from thv_cli.installation import installed_plugins
from thv_cli.programs import COMPLETION_VARIABLES

__all__ = ["root", "run", "run_process"]

_DEBUG = ("THV_DEBUG", "TOOLHIVE_DEBUG")


def run_process() -> int:
    """Run the command line of this process, and return its exit code."""
    console = TerminalConsole(_stream(sys.stdout), _stream(sys.stderr), dict(os.environ), _directory(os.environ))
    name = Path(sys.argv[0]).stem
    code = run(sys.argv[1:], console, name if name in COMPLETION_VARIABLES else "thv")
    if code == OUTPUT_CLOSED:
        _discard_output()
    return code


def run(arguments: Sequence[str], console: TerminalConsole, name: str = "thv") -> int:
    """Run one command line, print whatever ends it early, and return the exit code."""
    try:
        return _run(arguments, console, name)
    except BrokenPipeError:
        return OUTPUT_CLOSED
    except KeyboardInterrupt:  # a second Ctrl-C, while the end of the first was printed
        return INTERRUPTED


def root(environment: Mapping[str, str]) -> CommandTree:
    """Build the root command, which looks for plugins when it must."""
    version = click.version_option(thv_core.__version__, message="thv %(version)s", help="Show the version and exit.")
    tree = CommandTree(lambda: installed_plugins(environment))
    return version(tree)


def _run(arguments: Sequence[str], console: TerminalConsole, name: str) -> int:
    try:
        if console.environment.get(COMPLETION_VARIABLES[name]):
            return _complete(console, name)
        if "--debug" in own(arguments) or any(debugging(console.environment.get(each, "")) for each in _DEBUG):
            console.speak_up()
        code = _invoke(arguments, console, name)
        console.flush()
    except (Exception, KeyboardInterrupt) as error:
        # A pipe that broke is nobody's error if it is the output, and somebody's if it is not.
        if isinstance(error, BrokenPipeError) and console.is_unread():
            return OUTPUT_CLOSED
        return present(error, console, as_json=wants_json(arguments))
    return code


def _invoke(arguments: Sequence[str], console: TerminalConsole, name: str) -> int:
    tree = root(console.environment)
    try:
        with tree.make_context(name, list(arguments), obj=console) as context:
            tree.invoke(context)
    except click.exceptions.NoArgsIsHelpError as error:
        console.line(error.format_message())
    except click.exceptions.Exit as ending:
        return ending.exit_code
    return 0


def _complete(console: TerminalConsole, name: str) -> int:
    from thv_cli.completing import answer  # only a shell asks for it

    try:
        return answer(root(console.environment), console, name)
    except Exception:  # whatever goes wrong must not be printed into the line that the user is typing
        return 1


def _stream(stream: TextIO | None) -> TextIO:
    """Return a stream that takes any text: characters that its encoding lacks are escaped, and none is closed."""
    if stream is None:
        return io.StringIO()
    reconfigure = getattr(stream, "reconfigure", None)
    if reconfigure is not None:
        reconfigure(errors="backslashreplace")
    return stream


def _directory(environment: Mapping[str, str]) -> Path:
    try:
        return Path.cwd()
    except FileNotFoundError:  # somebody removed it; only commands that look into it may fail
        return Path(environment.get("PWD", "/"))


def _discard_output() -> None:
    """Let the interpreter's last flush go nowhere, where it would complain about the closed pipe."""
    nowhere = os.open(os.devnull, os.O_WRONLY)
    for descriptor in (1, 2):
        os.dup2(nowhere, descriptor)
