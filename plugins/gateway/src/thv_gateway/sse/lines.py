"""The open streams of one workload: a message finds its own by whichever listener it comes."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine

from thv_core.model.identity import Identity
from thv_gateway.sse.line import SseLine

__all__ = ["MOST_LINES", "SseLines"]

MOST_LINES = 2000
"""So many streams of one workload may be open at once."""


class SseLines:
    """Every open stream by its id, and what is done for streams beside the requests of clients.

    ``is_receding`` tells that no more are opened, and that each ends as soon as nothing is being answered on it.
    """

    def __init__(self) -> None:
        self.is_receding = False
        self._open: dict[str, SseLine] = {}
        self._tasks: set[asyncio.Task[None]] = set()

    def __len__(self) -> int:
        """How many streams are open."""
        return len(self._open)

    def find(self, name: str) -> SseLine | None:
        """Return the stream of an id."""
        return self._open.get(name)

    def open(self, identity: Identity | None) -> SseLine | None:
        """Return a new stream for a principal; ``None`` when there is no room for it."""
        if self.is_receding or len(self._open) >= MOST_LINES:
            return None
        line = SseLine(identity)
        self._open[line.id] = line
        return line

    def forget(self, line: SseLine) -> None:
        """Take note that a stream has ended."""
        self._open.pop(line.id, None)

    def rest(self, line: SseLine) -> None:
        """End a stream on which nothing is being answered, if that is what is waited for."""
        if self.is_receding and not line.exchanges:
            line.close()

    def recede(self) -> None:
        """Open no more streams, and end each as soon as nothing is being answered on it."""
        self.is_receding = True
        for line in list(self._open.values()):
            self.rest(line)

    def close(self) -> None:
        """End everything at once."""
        self.is_receding = True
        for line in list(self._open.values()):
            line.close()
        for task in self._tasks:
            task.cancel()

    def spawn(self, work: Coroutine[object, object, None]) -> asyncio.Task[None]:
        """Do something beside, until it is done or everything ends."""
        task = asyncio.get_running_loop().create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        return task
