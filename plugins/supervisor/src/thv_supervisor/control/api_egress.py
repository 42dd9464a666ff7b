"""The operations of the control API on what servers reached."""

from __future__ import annotations

from collections.abc import Awaitable, Callable

from starlette.background import BackgroundTask
from starlette.requests import Request
from starlette.responses import Response, StreamingResponse

from thv_core.errors import InvalidRequest
from thv_core.services.egress_report import By
from thv_supervisor.control.api_wire import LINES, answer, is_true, tail
from thv_supervisor.control.egress_reading import Wanted, egress_lines, egress_sums
from thv_supervisor.control.ground import Ground
from thv_supervisor.wire import EGRESS

__all__ = ["EgressHandlers"]


class EgressHandlers:
    """One method for each operation."""

    def __init__(self, ground: Ground) -> None:
        self._ground = ground

    def table(self) -> list[tuple[str, str, Callable[[Request], Awaitable[Response]]]]:
        """Return method, path and handler of each operation."""
        return [("GET", EGRESS, self.records), ("GET", f"{EGRESS}/report", self.report)]

    async def records(self, request: Request) -> Response:
        """Stream records: ``?workload=NAME``, ``?denied=true``, ``?tail=LINES`` and ``?follow=true``."""
        wanted = Wanted(
            workload=request.query_params.get("workload", ""),
            denied=is_true(request, "denied"),
            tail=tail(request),
            follow=is_true(request, "follow"),
        )
        lines = await egress_lines(wanted, self._ground)
        # Whoever hangs up leaves the stream where it is, with the files that it holds open.
        return StreamingResponse(lines, media_type=LINES, background=BackgroundTask(lines.close))

    async def report(self, request: Request) -> Response:
        """Return what was reached, summed up ``?by=workload``, ``group`` or ``host``; also ``?workload=NAME``."""
        text = request.query_params.get("by", By.WORKLOAD)
        if text not in [*By]:
            raise InvalidRequest(f"by={text} is not one of {', '.join(By)}")
        workload = request.query_params.get("workload", "")
        return answer({"by": text, "sums": await egress_sums(By(text), workload, self._ground)})
