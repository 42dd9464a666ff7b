"""The operations of the control API on prepared packages."""

from __future__ import annotations

import math
from collections.abc import Awaitable, Callable

from starlette.requests import Request
from starlette.responses import Response

from thv_core.errors import InvalidRequest
from thv_supervisor.control.api_wire import answer
from thv_supervisor.control.caching import contents, prune
from thv_supervisor.control.reconciler import Reconciler
from thv_supervisor.wire import CACHE

__all__ = ["CacheHandlers"]

DAY = 86_400.0


class CacheHandlers:
    """One method for each operation."""

    def __init__(self, reconciler: Reconciler) -> None:
        self._reconciler = reconciler

    def table(self) -> list[tuple[str, str, Callable[[Request], Awaitable[Response]]]]:
        """Return method, path and handler of each operation."""
        return [("GET", CACHE, self.packages), ("DELETE", CACHE, self.discard)]

    async def packages(self, request: Request) -> Response:
        """List what is prepared, with the workloads that use it."""
        return answer(await contents(self._reconciler.ground))

    async def discard(self, request: Request) -> Response:
        """Remove what no workload uses; with ``?older_than=DAYS`` only what was not used for so long."""
        ground = self._reconciler.ground
        days = _days(request)
        since = ground.clock() - days * DAY if days else math.inf
        return answer(await prune(ground, self._reconciler.turn, since))


def _days(request: Request) -> float:
    text = request.query_params.get("older_than", "0")
    try:
        days = float(text)
    except ValueError:
        days = math.nan
    if not 0 <= days <= 100_000:
        raise InvalidRequest(f"older_than={text} is not a number of days")
    return days
