"""Durations on the command line: seconds, or ToolHive's spelling ``1m30s``, ``500ms``."""

from __future__ import annotations

import re
from typing import Any

import click

__all__ = ["Duration"]

LONGEST = 86400.0
_UNITS = {"ms": 0.001, "s": 1.0, "m": 60.0, "h": 3600.0}
_PART = r"([0-9]{1,9}(?:\.[0-9]{1,9})?)(ms|s|m|h)"
_FORM = re.compile(f"(?:{_PART})+")


class Duration(click.ParamType[float]):
    """A number of seconds.

    :param usual: whether 0 is one, too, and means what is usual.
    :param longest: the most that it can be.
    """

    name = "duration"

    def __init__(self, usual: bool = False, longest: float = LONGEST) -> None:
        self._usual = usual
        self._longest = longest

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> float:
        """Return the seconds of a text, or of a number that is a default."""
        seconds = _seconds(str(value))
        if seconds is None:
            self.fail(f"{value!r} is not a duration; write 30, 30s, 1m30s or 500ms", param, ctx)
        if not (0 < seconds <= self._longest or (self._usual and not seconds)):
            self.fail(f"{value!r} is not between 0 and {self._longest / 3600:g}h", param, ctx)
        return seconds


def _seconds(text: str) -> float | None:
    if _FORM.fullmatch(text):
        return sum(float(amount) * _UNITS[unit] for amount, unit in re.findall(_PART, text))
    try:
        return float(text)
    except ValueError:
        return None
