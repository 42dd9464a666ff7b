"""Looking names up with the resolver of this machine: bounded, each name once at a time, remembered for a moment."""

from __future__ import annotations

import asyncio
import socket
import time
from collections.abc import Awaitable, Callable, Sequence

from thv_egress.addresses import Address, literal

__all__ = ["Resolve", "Resolver", "UnknownName", "system_resolve"]

Resolve = Callable[[str], Awaitable[Sequence[str]]]
"""Returns the addresses of a name in the order of preference; raises ``OSError`` when it has none."""

REMEMBERED = 20.0
"""Seconds for which an answer is used again."""

MOST_REMEMBERED = 1024
MOST_AT_ONCE = 32
"""How many look-ups are under way in the whole process, also those that nobody waits for any more."""


class UnknownName(Exception):
    """A name has no address, or the resolver does not say; the message is the reason."""


async def system_resolve(host: str) -> Sequence[str]:
    """Ask the system's resolver, in the pool of threads that the loop has for this."""
    found = await asyncio.get_running_loop().getaddrinfo(host, None, type=socket.SOCK_STREAM)
    return [str(address[0]) for *_, address in found]


class Resolver:
    """Resolves names for every outlet of the process."""

    def __init__(self, resolve: Resolve = system_resolve) -> None:
        self._resolve = resolve
        self._remembered: dict[str, tuple[float, tuple[Address, ...]]] = {}
        self._running: dict[str, asyncio.Task[tuple[Address, ...]]] = {}

    async def addresses(self, host: str) -> tuple[Address, ...]:
        """Return the addresses of a name, at least one.

        :raises UnknownName: when there is none.
        """
        known = self._remembered.get(host)
        if known is not None and known[0] > time.monotonic():
            return known[1]
        task = self._running.get(host)
        if task is None:
            if len(self._running) >= MOST_AT_ONCE:
                raise UnknownName("too many names are being looked up")
            task = asyncio.get_running_loop().create_task(self._look_up(host))
            self._running[host] = task
            task.add_done_callback(lambda done: self._finished(host, done))
        # A look-up goes on when whoever asked first no longer waits: a thread is busy with it anyhow.
        return await asyncio.shield(task)

    async def _look_up(self, host: str) -> tuple[Address, ...]:
        try:
            texts = await self._resolve(host)
        except (OSError, UnicodeError) as error:
            raise UnknownName(f"the name does not resolve: {_words(error)}") from error
        found = tuple(dict.fromkeys(address for text in texts if (address := literal(text)) is not None))
        if not found:
            raise UnknownName("the name has no address that can be used")
        return found

    def _finished(self, host: str, task: asyncio.Task[tuple[Address, ...]]) -> None:
        del self._running[host]
        if task.cancelled() or task.exception() is not None:
            return
        while len(self._remembered) >= MOST_REMEMBERED:
            del self._remembered[next(iter(self._remembered))]
        self._remembered.pop(host, None)
        self._remembered[host] = time.monotonic() + REMEMBERED, task.result()


def _words(error: Exception) -> str:
    return getattr(error, "strerror", None) or str(error)
