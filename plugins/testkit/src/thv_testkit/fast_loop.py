"""An event loop whose seconds are shorter than those of the clock on the wall, for tests of what waits long."""

from __future__ import annotations

import asyncio
import selectors
import time

__all__ = ["fast_loop"]


class _FastSelector(selectors.DefaultSelector):
    """Waits a fraction of what it is told."""

    speed = 1.0

    def select(self, timeout: float | None = None) -> list[tuple[selectors.SelectorKey, int]]:
        return super().select(None if timeout is None else timeout / self.speed)


class _FastLoop(asyncio.SelectorEventLoop):
    def __init__(self, speed: float) -> None:
        selector = _FastSelector()
        selector.speed = speed
        self._speed = speed
        super().__init__(selector)

    def time(self) -> float:
        return time.monotonic() * self._speed


def fast_loop(speed: float) -> asyncio.AbstractEventLoop:
    """Return an event loop of which ``speed`` seconds pass in one; threads and processes are as fast as ever."""
    return _FastLoop(speed)
