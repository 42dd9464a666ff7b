"""Slow readers make their server wait instead of losing messages; those that do not read at all are given up."""

from __future__ import annotations

import time
from typing import Protocol

__all__ = ["ALONE_SECONDS", "SHARED_SECONDS", "STALL_SECONDS", "Pressure"]

SHARED_SECONDS = 5.0
"""So long a client may take nothing while others wait for the same server."""

ALONE_SECONDS = 30.0
"""So long it may when nobody else waits."""

STALL_SECONDS = 20.0
"""So long a client may take to catch up while others wait, however steadily it reads."""

_PAUSE = 0.02


class Pressed(Protocol):
    """A mailbox in which much waits."""

    def overflow(self) -> None:
        """Give its reader up."""
        ...


class Pressure:
    """The mailboxes of one server in which so much waits that it must not be read any further.

    ``of`` maps each to when that began and when something was last taken, on the monotonic clock.
    """

    def __init__(self) -> None:
        self.of: dict[Pressed, tuple[float, float]] = {}

    def begin(self, mailbox: Pressed) -> None:
        """Take note that much waits in a mailbox."""
        if mailbox not in self.of:
            now = time.monotonic()
            self.of[mailbox] = now, now

    def taken(self, mailbox: Pressed, *, is_low: bool) -> None:
        """Take note that something was taken from a mailbox, and whether little waits there now."""
        if is_low:
            self.end(mailbox)
        elif mailbox in self.of:
            self.of[mailbox] = self.of[mailbox][0], time.monotonic()

    def end(self, mailbox: Pressed) -> None:
        """Take note that a mailbox needs no more room."""
        self.of.pop(mailbox, None)

    def rest(self, *, alone: bool) -> float:
        """Return for how many seconds the server should not be read, after giving up those who read too slowly.

        :param alone: whether nobody else waits for the server.
        """
        now = time.monotonic()
        for mailbox, (began, last) in list(self.of.items()):
            stalls = not alone and now - began > STALL_SECONDS
            if stalls or now - last > (ALONE_SECONDS if alone else SHARED_SECONDS):
                self.end(mailbox)
                mailbox.overflow()
        return _PAUSE if self.of else 0.0
