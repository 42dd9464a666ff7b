"""Whatever ends a command early, as an error that a person or a program can read, and an exit code."""

from __future__ import annotations

import itertools
import traceback
from collections.abc import Sequence

import click

from thv_cli.console import TerminalConsole
from thv_cli.usage import sentence, usage_error
from thv_core.errors import ThvError

__all__ = ["INTERRUPTED", "OUTPUT_CLOSED", "InternalError", "Interrupted", "own", "present", "translated", "wants_json"]

INTERRUPTED = 130
"""128 + SIGINT, what a shell reports of a program that Ctrl-C ended."""

OUTPUT_CLOSED = 141
"""128 + SIGPIPE, what a shell reports of a program whose reader has gone."""


class InternalError(ThvError):
    """Something happened that nobody foresaw."""

    code = "internal-error"


class Interrupted(ThvError):
    """The user pressed Ctrl-C, and knows it."""

    code = "interrupted"
    exit_code = INTERRUPTED


class Aborted(ThvError):
    """The user said no, or a question found nobody to answer it."""

    code = "aborted"


def own(arguments: Sequence[str]) -> list[str]:
    """Return the arguments that are meant for thv: those before ``--``."""
    return list(itertools.takewhile(lambda argument: argument != "--", arguments))


def wants_json(arguments: Sequence[str]) -> bool:
    """Tell whether a command line asks for JSON, so that an error can be JSON even if the rest does not parse."""
    ours = own(arguments)
    return "--format=json" in ours or ("--format", "json") in itertools.pairwise(ours)


def translated(error: BaseException) -> ThvError:
    """Return the error that says to a user what ``error`` means."""
    if isinstance(error, ThvError):
        return error
    if isinstance(error, click.UsageError):
        return usage_error(error)
    if isinstance(error, click.ClickException):
        return ThvError(sentence(error.format_message()))
    if isinstance(error, KeyboardInterrupt) or isinstance(error.__context__, KeyboardInterrupt):
        return Interrupted("interrupted")
    if isinstance(error, (click.Abort, EOFError)):
        return Aborted("aborted")
    detail = f": {error}" if str(error) else ""
    notes: list[str] = getattr(error, "__notes__", [])
    return InternalError(
        f"internal error: {type(error).__name__}{detail}", evidence=notes, hint="Run again with --debug."
    )


def present(error: BaseException, console: TerminalConsole, as_json: bool) -> int:
    """Print ``error`` to stderr and return the exit code; its traceback is shown in debugging only.

    Of an interruption nothing is said: whoever pressed Ctrl-C knows, and a command that undid something says so.
    """
    meant = translated(error)
    if console.debug and not isinstance(error, click.ClickException):
        console.report("".join(traceback.format_exception(error)).rstrip())
    if isinstance(meant, Interrupted):
        console.break_off()
    elif as_json:
        console.report(_one_line(meant))
    else:
        console.failure(_lines(meant))
    return meant.exit_code


def _lines(error: ThvError) -> str:
    first, *below = "\n".join((error.message, *error.evidence, error.hint)).splitlines()
    return "\n".join([first, *(f"  {line}" for line in below if line.strip())])


def _one_line(error: ThvError) -> str:
    import json  # not on the way to --help

    return json.dumps(error.document())
