"""Say amounts of bytes and instants as people read them in a table."""

from __future__ import annotations

from datetime import datetime

__all__ = ["amount", "brief", "moment"]

UNITS = ("", "k", "M", "G", "T")


def brief(count: int) -> str:
    """Say a number in three figures: ``0``, ``950``, ``1.2 k``, ``18 M``."""
    power = next((power for power in range(len(UNITS)) if count < 999.5 * 1000**power), len(UNITS) - 1)
    number = count / 1000**power
    shown = f"{number:.1f}" if power and number < 9.95 else f"{number:.0f}"
    return f"{shown} {UNITS[power]}".rstrip()


def amount(size: int) -> str:
    """Say a number of bytes: ``18 MB``."""
    number, _, unit = brief(size).partition(" ")
    return f"{number} {unit}B"


def moment(at: float) -> str:
    """Say an instant, in seconds since the epoch, in local time: of today the time alone, else the day too."""
    then, now = datetime.fromtimestamp(at).astimezone(), datetime.now().astimezone()
    return then.strftime("%H:%M:%S" if then.date() == now.date() else "%Y-%m-%d %H:%M")
