"""The operations on prepared packages."""

from __future__ import annotations

import math
from typing import Annotated, Any, ClassVar

import msgspec
from litestar.response import Response

from thv_core.model.document import Document
from thv_supervisor.control.api.answering import Call, answer, queried
from thv_supervisor.control.api.operation import Contract, document, serves
from thv_supervisor.control.caching import CacheContents, Pruning, contents, prune
from thv_supervisor.control.reconciler import Reconciler
from thv_supervisor.wire import CACHE

__all__ = ["CacheRoom"]

DAY = 86_400.0


class PruneChosen(Document, frozen=True, kw_only=True):
    """Only what was not used for ``older_than`` days."""

    older_than: Annotated[float, msgspec.Meta(ge=0, le=100_000, description="a number of days")] = 0.0


class CacheRoom:
    """One method for each operation."""

    tag: ClassVar[str] = "cache"

    def __init__(self, reconciler: Reconciler) -> None:
        self._reconciler = reconciler

    @serves("GET", CACHE, Contract(answers=document(CacheContents)))
    async def packages(self, call: Call) -> Response[Any]:
        """List what is prepared, with the workloads that use it."""
        return answer(await contents(self._reconciler.ground))

    @serves("DELETE", CACHE, Contract(answers=document(Pruning), query=PruneChosen))
    async def discard(self, call: Call) -> Response[Any]:
        """Remove what no workload uses; with ``?older_than=DAYS`` only what was not used for so long."""
        ground = self._reconciler.ground
        days = queried(call, PruneChosen).older_than
        since = ground.clock() - days * DAY if days else math.inf
        return answer(await prune(ground, self._reconciler.turn, since))
