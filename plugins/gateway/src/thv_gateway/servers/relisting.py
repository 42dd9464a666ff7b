"""List the tools of a server anew when it says that they have changed; it may say so faster than it answers."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Awaitable, Callable, Coroutine

from thv_gateway.pipes.pipe import ServerAbsent

__all__ = ["AGAIN_SECONDS", "Relisting"]

AGAIN_SECONDS = 1.0
"""So long at least from one list to the next."""


class Relisting:
    """One list at a time, and one more when there was a change meanwhile.

    :param relist: lists the tools and takes note of them.
    :param spawn: runs it beside everything else.
    """

    def __init__(
        self, relist: Callable[[], Awaitable[None]], spawn: Callable[[Coroutine[object, object, None]], None]
    ) -> None:
        self._relist = relist
        self._spawn = spawn
        self._is_stale = self._is_at_work = False

    def changed(self) -> None:
        """Take note that the tools are others."""
        self._is_stale = True
        if not self._is_at_work:
            self._is_at_work = True
            self._spawn(self._work())

    async def _work(self) -> None:
        # Who is gone has no tools; another life of it is listed by another one.
        with contextlib.suppress(ServerAbsent):
            while self._is_stale:
                self._is_stale = False
                await self._relist()
                await asyncio.sleep(AGAIN_SECONDS)
        self._is_at_work = False
