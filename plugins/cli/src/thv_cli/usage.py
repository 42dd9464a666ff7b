"""The usage errors of click in the words of thv."""

from __future__ import annotations

import re
import traceback
from collections.abc import Callable, Iterator, Sequence

import click

from thv_cli.elsewhere import feature_of
from thv_core.errors import InvalidRequest

__all__ = ["sentence", "usage_error"]

_WHOLE_NUMBER = "a whole number"
_NUMBER = "a number"


def usage_error(error: click.UsageError) -> InvalidRequest:
    """Return the error that says what cannot be meant, and whom to ask about it."""
    context = error.ctx or _parsing(error)
    # The two misspellings say what was possible; older click has it in the message only.
    possibilities: Sequence[str] = getattr(error, "possibilities", None) or ()
    message = error.message if possibilities else error.format_message()
    hints = [f"Did you mean {possibilities[0]}?"] if possibilities else []
    if isinstance(error, click.NoSuchOption):
        hints = _about_an_option(error.option_name, context, hints if _alike(error) else [])
    hints.append(f"{_words(context)} --help")
    return InvalidRequest(sentence(_reworded(message, error)), hint="      ".join(hints))


def _about_an_option(name: str, context: click.Context | None, meant: list[str]) -> list[str]:
    if feature := feature_of(name):
        return [f"It comes with {feature}, which this version does not have"]
    if context and _takes_arguments_of_a_server(context.command):
        return [*meant, "What belongs to the server goes behind --"]
    return meant


def _alike(error: click.NoSuchOption) -> bool:
    """Tell whether click's nearest option is near without its dashes, which every option has."""
    from thv_core.model.document import nearest

    possible = error.possibilities or ()
    return bool(possible and nearest(error.option_name.lstrip("-"), [possible[0].lstrip("-")]))


def _words(context: click.Context | None) -> str:
    """Return the words that call a command; click puts arguments of groups between them."""
    words: list[str] = []
    while context is not None:
        words.insert(0, context.info_name or "")
        context = context.parent
    return " ".join(words) or "thv"


def sentence(text: str) -> str:
    """Return ``text`` as the message of an error: one line that begins small and has no full stop."""
    one_line = " ".join(text.split())
    lower_case = one_line[:1].lower() + one_line[1:] if one_line[1:2].islower() else one_line
    return lower_case.removesuffix(".")


def _parsing(error: click.UsageError) -> click.Context | None:
    """Return the context of the command that was parsed, which click forgets when an option lacks its value."""
    found = [frame.f_locals.get("ctx") for frame, _ in traceback.walk_tb(error.__traceback__)]
    return next((each for each in reversed(found) if isinstance(each, click.Context)), None)


def _takes_arguments_of_a_server(command: click.Command) -> bool:
    return any(isinstance(each, click.Argument) and each.nargs == -1 and each.name == "args" for each in command.params)


def _reworded(message: str, error: click.UsageError) -> str:
    for pattern, words in _WORDINGS:
        if match := pattern.search(message):
            return message[: match.start()] + words(match, error)
    return message


def _not_a_number(match: re.Match[str], error: click.UsageError) -> str:
    wanted = _WHOLE_NUMBER if match["kind"] == "integer" else _NUMBER
    return f"{match['value']} is not {wanted}{_between(error)}"


def _out_of_range(match: re.Match[str], error: click.UsageError) -> str:
    return f"{match['value']} is not{_between(error)}"


def _between(error: click.UsageError) -> str:
    """Say which numbers are possible: `` between 0 and 9``, `` at least 0``, or nothing."""
    kind = getattr(getattr(error, "param", None), "type", None)
    if not isinstance(kind, (click.IntRange, click.FloatRange)):
        return ""
    bounds = list(_bounds(kind))
    closed = not (kind.min_open or kind.max_open)
    return f" between {kind.min} and {kind.max}" if closed and len(bounds) == 2 else " " + " and ".join(bounds)


def _bounds(kind: click.IntRange | click.FloatRange) -> Iterator[str]:
    if kind.min is not None:
        yield f"{'more than' if kind.min_open else 'at least'} {kind.min}"
    if kind.max is not None:
        yield f"{'less than' if kind.max_open else 'at most'} {kind.max}"


_WORDINGS: tuple[tuple[re.Pattern[str], Callable[[re.Match[str], click.UsageError], str]], ...] = (
    (re.compile(r"No such command (?P<name>.*)\.$"), lambda match, _: f"there is no command {match['name']}"),
    (re.compile(r"(?P<value>'[^']*') is not a valid (?P<kind>integer|float)( range)?\.$"), _not_a_number),
    (re.compile(r"(?P<value>\S+) is not in the range \S+\.$"), _out_of_range),
    (re.compile(r"\. Choose from:\s*(?P<choices>.*)$", re.DOTALL), lambda match, _: f": one of {match['choices']}"),
)
"""What click says, and what we say instead."""
