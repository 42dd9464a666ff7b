"""The operations on what servers reached."""

from __future__ import annotations

from typing import Any, ClassVar

from litestar.response import Response

from thv_core.errors import InvalidRequest
from thv_core.model.document import Document
from thv_core.services.egress_report import By, EgressSum
from thv_supervisor.control.api.answering import Call, answer, queried
from thv_supervisor.control.api.operation import Answer, Contract, document, serves
from thv_supervisor.control.api.requests import Following
from thv_supervisor.control.api.streaming import Stream, without_blocking
from thv_supervisor.control.api.views import EgressLine
from thv_supervisor.control.egress_reading import Wanted, egress_lines, egress_sums
from thv_supervisor.control.ground import Ground
from thv_supervisor.wire import EGRESS, LINES

__all__ = ["EgressRoom"]


class EgressChosen(Following, frozen=True, kw_only=True):
    """Which connections: of one ``workload`` or of all, and ``denied`` ones only."""

    workload: str = ""
    denied: bool = False


class ReportChosen(Document, frozen=True, kw_only=True):
    """What is summed up: ``by`` workload, group or host; of one ``workload`` or of all."""

    by: str = By.WORKLOAD
    workload: str = ""


class EgressReport(Document, frozen=True, kw_only=True):
    """What was reached, summed up."""

    by: By
    sums: tuple[EgressSum, ...]


RECORDS = {200: Answer("Each connection as a line, oldest first.", LINES, EgressLine)}


class EgressRoom:
    """One method for each operation."""

    tag: ClassVar[str] = "egress"

    def __init__(self, ground: Ground) -> None:
        self._ground = ground

    @serves("GET", EGRESS, Contract(answers=RECORDS, query=EgressChosen, errors=(404, 504)))
    async def records(self, call: Call) -> Response[Any]:
        """Tell the connections of servers; with ``?follow=true`` also those to come."""
        chosen = queried(call, EgressChosen)
        wanted = Wanted(workload=chosen.workload, denied=chosen.denied, tail=chosen.lines, follow=chosen.follow)
        return Stream(without_blocking(await egress_lines(wanted, self._ground)), 200, LINES)

    @serves("GET", f"{EGRESS}/report", Contract(answers=document(EgressReport), query=ReportChosen, errors=(504,)))
    async def report(self, call: Call) -> Response[Any]:
        """Sum up what was reached."""
        chosen = queried(call, ReportChosen)
        if chosen.by not in [*By]:
            raise InvalidRequest(f"by={chosen.by} is not one of {', '.join(By)}")
        sums = await egress_sums(By(chosen.by), chosen.workload, self._ground)
        return answer(EgressReport(by=By(chosen.by), sums=tuple(sums)))
