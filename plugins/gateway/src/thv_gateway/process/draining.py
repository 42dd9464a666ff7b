"""Wait until this process has to end, and let it end well: calls in flight are finished, within bounds."""

from __future__ import annotations

import asyncio
from typing import Protocol

__all__ = ["DRAIN_SECONDS", "Drained", "drained"]

DRAIN_SECONDS = 5.0

_POLL_SECONDS = 0.05


class Drained(Protocol):
    """What carries the calls."""

    @property
    def busy(self) -> int:
        """How many requests are being answered."""
        ...

    def drain(self) -> None:
        """Take no new connections."""
        ...

    def abandon(self) -> None:
        """End the calls that are still in flight with an error."""
        ...


async def drained(calls: Drained, stop: asyncio.Event, drain: asyncio.Event) -> None:
    """Return at once when it has to stop; on a drain, when the calls in flight are finished."""
    waits = [asyncio.ensure_future(each.wait()) for each in (stop, drain)]
    await asyncio.wait(waits, return_when=asyncio.FIRST_COMPLETED)
    if drain.is_set() and not stop.is_set():
        calls.drain()
        loop = asyncio.get_running_loop()
        ends = loop.time() + DRAIN_SECONDS
        while calls.busy and loop.time() < ends and not stop.is_set():
            await asyncio.wait(waits[:1], timeout=_POLL_SECONDS)
        calls.abandon()
        # One turn of the loop for the errors to be written.
        await asyncio.wait(waits[:1], timeout=_POLL_SECONDS)
    for wait in waits:
        wait.cancel()
