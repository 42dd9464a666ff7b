"""The proxy log of one route: a line for each notable event, never a message's content."""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from pathlib import Path

__all__ = ["ProxyLog"]

MAX_BYTES = 4 * 1024 * 1024
BURST = 50
_LONGEST = 300
_REFILL_PER_SECOND = 5.0


class ProxyLog:
    """Appends lines to a 0600 file: at most :data:`BURST` at once, then five a second; it is rotated once, to ``.1``.

    A log that cannot be written never disturbs the traffic.
    """

    def __init__(self, path: str, clock: Callable[[], float] = time.time) -> None:
        self._path = path
        self._clock = clock
        self._tokens = float(BURST)
        self._filled = clock()
        self._suppressed = 0

    def write(self, event: str, detail: str = "") -> None:
        """Append ``TIME EVENT DETAIL``; line breaks and control characters are replaced."""
        if not self._take():
            self._suppressed += 1
            return
        if self._suppressed:
            self._append("suppressed", f"{self._suppressed} lines")
            self._suppressed = 0
        self._append(event, detail)

    def _append(self, event: str, detail: str) -> None:
        stamp = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(self._clock()))
        text = "".join(
            letter if letter.isprintable() else "?" for letter in f"{stamp} {event} {detail[:_LONGEST]}".rstrip()
        )
        try:
            descriptor = os.open(self._path, os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC, 0o600)
            try:
                os.write(descriptor, text.encode("utf-8", "replace") + b"\n")
                grown = os.fstat(descriptor).st_size > MAX_BYTES
            finally:
                os.close(descriptor)
            if grown:
                Path(self._path).replace(f"{self._path}.1")
        except OSError:
            return

    def _take(self) -> bool:
        now = self._clock()
        self._tokens = min(float(BURST), self._tokens + max(0.0, now - self._filled) * _REFILL_PER_SECOND)
        self._filled = now
        if self._tokens < 1:
            return False
        self._tokens -= 1
        return True
