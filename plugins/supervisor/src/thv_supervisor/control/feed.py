"""What happens to all workloads, for whoever listens: bounded, live, and never a brake for those who tell."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator

from thv_core.model.document import Document
from thv_core.model.events import Progress, WorkloadEvent

__all__ = ["Feed", "WorkloadProgress"]

MOST_WAITING = 1000


class WorkloadProgress(Document, frozen=True, kw_only=True):
    """A step of the start or the change of one workload."""

    workload: str
    progress: Progress


Happening = WorkloadEvent | WorkloadProgress


class Feed:
    """The events of all workloads; a listener that falls behind by :data:`MOST_WAITING` is let go."""

    def __init__(self) -> None:
        self._listeners: set[asyncio.Queue[Happening]] = set()

    def tell(self, event: Happening) -> None:
        """Tell every listener. Call it on the event loop."""
        for queue in list(self._listeners):
            if queue.full():
                self._listeners.discard(queue)
            else:
                queue.put_nowait(event)

    def listen(self) -> AsyncGenerator[Happening, None]:
        """Return what happens from this call on; it ends for a listener that fell behind."""
        queue: asyncio.Queue[Happening] = asyncio.Queue(MOST_WAITING)
        self._listeners.add(queue)
        return self._heard(queue)

    async def _heard(self, queue: asyncio.Queue[Happening]) -> AsyncGenerator[Happening, None]:
        try:
            while queue in self._listeners or not queue.empty():
                yield await queue.get()
        finally:
            self._listeners.discard(queue)
