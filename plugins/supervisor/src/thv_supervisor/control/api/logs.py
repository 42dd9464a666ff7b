"""The operations on log files."""

from __future__ import annotations

from typing import Any, ClassVar

from litestar.response import Response

from thv_supervisor.control.api.answering import Call, answer
from thv_supervisor.control.api.operation import Contract, document, serves
from thv_supervisor.control.api.views import PrunedLogs
from thv_supervisor.control.ground import Ground
from thv_supervisor.control.log_reading import prune_logs
from thv_supervisor.wire import LOGS

__all__ = ["LogRoom"]


class LogRoom:
    """One method for each operation."""

    tag: ClassVar[str] = "logs"

    def __init__(self, ground: Ground) -> None:
        self._ground = ground

    @serves("POST", f"{LOGS}/prune", Contract(answers=document(PrunedLogs)))
    async def prune(self, call: Call) -> Response[Any]:
        """Delete the log files of workloads that do not exist any more."""
        return answer(PrunedLogs(pruned=tuple(prune_logs(self._ground))))
