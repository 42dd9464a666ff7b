"""Durations as Go writes them: ``30s``, ``1h30m``, ``500ms``, ``1.5h``; a number without a unit is none, except 0."""

from __future__ import annotations

import re

__all__ = ["duration_seconds", "duration_text"]

_UNITS = {"ns": 1e-9, "us": 1e-6, "µs": 1e-6, "μs": 1e-6, "ms": 1e-3, "s": 1.0, "m": 60.0, "h": 3600.0}
_PART = r"([0-9]{1,9}(?:\.[0-9]{0,9})?|\.[0-9]{1,9})(ns|us|µs|μs|ms|s|m|h)"
_FORM = re.compile(f"(?:{_PART})+")


def duration_seconds(text: str) -> float | None:
    """Return the seconds of a duration, or ``None`` when the text is none (Go, ``time.ParseDuration``)."""
    if text == "0":
        return 0.0
    if not _FORM.fullmatch(text):
        return None
    return sum(float(amount) * _UNITS[unit] for amount, unit in re.findall(_PART, text))


def duration_text(seconds: float) -> str:
    """Return a number of seconds as Go writes it: ``1h30m0s``, ``1.5s``; nothing for 0."""
    if not seconds:
        return ""
    whole, rest = divmod(seconds, 60)
    hours, minutes = divmod(int(whole), 60)
    return f"{hours}h" * bool(hours) + f"{minutes}m" * bool(whole) + f"{round(rest, 6):g}s"
