"""The story of a start or a change, told line by line."""

from __future__ import annotations

from collections.abc import AsyncGenerator

from thv_core.errors import ThvError, Unavailable
from thv_core.model.events import Progress
from thv_supervisor.control.api.answering import line
from thv_supervisor.control.keeping import Keeper
from thv_supervisor.control.reconciler import Reconciler

__all__ = ["ending", "story"]


async def story(keeper: Keeper, reconciler: Reconciler) -> AsyncGenerator[bytes, None]:
    """Yield a line for each step, and at the end one with the workload or with the error."""
    async for happening in keeper.happenings.listen():
        if isinstance(happening, Progress):
            yield line({"progress": happening})
        elif isinstance(happening, ThvError):
            yield line({"error": happening.document()})
        else:
            yield line({"ready": reconciler.view(keeper.name)})


async def ending(keeper: Keeper) -> None:
    """Wait until a story ends well.

    :raises ThvError: the error that ended it.
    :raises Unavailable: when its end was not heard.
    """
    async for happening in keeper.happenings.listen():
        if isinstance(happening, ThvError):
            raise happening
        if happening is None:
            return
    raise Unavailable(f"how {keeper.name} fares was not heard to the end", hint=f"thv status {keeper.name}")
