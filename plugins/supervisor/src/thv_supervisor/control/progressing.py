"""What happens to each workload, for whoever waits: a bounded history and live subscribers."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import AsyncIterator, Callable

from thv_core.errors import ThvError
from thv_core.model.events import Progress

__all__ = ["Happening", "Happenings"]

Happening = Progress | ThvError | None
"""A step, the error that ended the start, or ``None`` when the workload is ready."""

HISTORY = 200


class Happenings:
    """The story of one start or change, told from its beginning to every listener.

    :param also: told each step, on the event loop.
    """

    def __init__(self, also: Callable[[Progress], None] = lambda progress: None) -> None:
        self._also = also
        self._history: deque[Happening] = deque(maxlen=HISTORY)
        self._listeners: set[asyncio.Queue[Happening]] = set()
        self._loop = asyncio.get_running_loop()

    def restart(self) -> None:
        """Forget the story: a new start begins."""
        self._history.clear()

    def tell(self, happening: Happening) -> None:
        """Add to the story. Call it on the event loop."""
        self._history.append(happening)
        if isinstance(happening, Progress):
            self._also(happening)
        for queue in list(self._listeners):
            if queue.full():
                self._listeners.discard(queue)
            else:
                queue.put_nowait(happening)

    def report(self, progress: Progress) -> None:
        """Add a step to the story, from any thread."""
        self._loop.call_soon_threadsafe(self.tell, progress)

    async def listen(self) -> AsyncIterator[Happening]:
        """Yield the story so far and what follows, up to and including its end.

        A listener that falls far behind hears no end; it may listen again.
        """
        queue: asyncio.Queue[Happening] = asyncio.Queue(HISTORY * 2)
        for happening in self._history:
            queue.put_nowait(happening)
        self._listeners.add(queue)
        try:
            while queue in self._listeners or not queue.empty():
                happening = await queue.get()
                yield happening
                if not isinstance(happening, Progress):
                    return
        finally:
            self._listeners.discard(queue)
