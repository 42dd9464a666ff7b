"""The operations on workloads that exist: list, look, start, stop, remove."""

from __future__ import annotations

from typing import Any, ClassVar

from litestar.response import Response

from thv_core.model.label import label
from thv_core.model.run_config import RunConfig
from thv_core.model.status import Status
from thv_core.model.workload import Workload, WorkloadView
from thv_supervisor.control.api.answering import Call, accepted, answer, queried
from thv_supervisor.control.api.operation import TEXT, Answer, Contract, document, serves
from thv_supervisor.control.api.requests import Chosen, CreateRequest, Following, Stopping, Waiting
from thv_supervisor.control.api.streaming import Stream, without_blocking
from thv_supervisor.control.api.telling import ending, story
from thv_supervisor.control.api.translating import as_create_request
from thv_supervisor.control.api.views import StoryLine, WorkloadList
from thv_supervisor.control.grouping import Groups
from thv_supervisor.control.keeping import STOP_GRACE
from thv_supervisor.control.log_reading import proxy_log, server_log
from thv_supervisor.control.reconciler import SETTLE_LIMIT, Reconciler
from thv_supervisor.wire import LINES, WORKLOADS

__all__ = ["ONE", "WorkloadRoom", "gone", "stopped"]

ONE = f"{WORKLOADS}/{{name}}"
BEGUN = Answer("It is begun; with ``wait``, it is done.", TEXT)
TOLD = Answer("It is begun. Whoever accepts lines is told each step.", LINES, StoryLine, TEXT)
LOG = Contract(answers={200: Answer("The log.", TEXT)}, query=Following, errors=(404, 504))
BROKEN = (400, 404, 409, 422, 504)
"""How a start may fail before it has begun, or before it is ready."""


class WorkloadRoom:
    """One method for each operation."""

    tag: ClassVar[str] = "workloads"

    def __init__(self, reconciler: Reconciler) -> None:
        self._reconciler = reconciler
        self._groups = Groups(reconciler)

    @serves("GET", WORKLOADS, Contract(answers=document(WorkloadList), query=Chosen, errors=(404,)))
    async def workloads(self, call: Call) -> Response[Any]:
        """List workloads: those that should run, whatever ails them, or all with ``?all=true``."""
        chosen = queried(call, Chosen)
        labels = [label(each) for each in chosen.label]
        if chosen.group:
            self._groups.get(chosen.group)
        await self._reconciler.look()
        views = [
            view
            for view in self._reconciler.views()
            if (chosen.all or view.status not in (Status.STOPPED, Status.STOPPING))
            and chosen.group in ("", view.group)
            and all(view.labels.get(key) == value for key, value in labels)
        ]
        return answer({"workloads": views})

    @serves("GET", ONE, Contract(answers=document(CreateRequest), errors=(404,)))
    async def get(self, call: Call) -> Response[Any]:
        """Return the configuration of a workload in the shape in which it is created."""
        return answer(as_create_request(self._workload(call).config))

    @serves("GET", f"{ONE}/status", Contract(answers=document(WorkloadView), errors=(404,)))
    async def status(self, call: Call) -> Response[Any]:
        """Return one workload."""
        await self._reconciler.look()
        return answer(self._reconciler.view(call.path_params["name"]))

    @serves("GET", f"{ONE}/export", Contract(answers=document(RunConfig), errors=(404,)))
    async def export(self, call: Call) -> Response[Any]:
        """Return the RunConfig of a workload."""
        return answer(self._workload(call).config)

    @serves("GET", f"{ONE}/logs", LOG)
    async def logs(self, call: Call) -> Response[Any]:
        """Return what a server wrote to its standard error; ``?tail=LINES`` and ``?follow=true``."""
        following = queried(call, Following)
        written = await server_log(self._workload(call), self._reconciler.ground, following.lines, following.follow)
        return Stream(without_blocking(written), 200, TEXT)

    @serves("GET", f"{ONE}/proxy-logs", LOG)
    async def proxy_logs(self, call: Call) -> Response[Any]:
        """Return what the gateway noted about a workload; ``?tail=LINES`` and ``?follow=true``."""
        following = queried(call, Following)
        noted = proxy_log(self._workload(call), self._reconciler.ground, following.lines, following.follow)
        return Stream(without_blocking(noted), 200, TEXT)

    @serves("POST", f"{ONE}/restart", Contract(answers={202: TOLD}, query=Waiting, errors=BROKEN))
    async def restart(self, call: Call) -> Response[Any]:
        """Start a workload anew; with ``?wait=true`` answer when it is ready.

        Whoever accepts lines hears of each step until it is ready or has failed.
        """
        waiting = queried(call, Waiting)
        keeper = await self._reconciler.start(call.path_params["name"])
        if LINES in call.headers.get("accept", ""):
            return Stream(story(keeper, self._reconciler), 202, LINES)
        if waiting.wait:
            await ending(keeper)
        return accepted()

    @serves("POST", f"{ONE}/stop", Contract(answers={202: BEGUN}, query=Stopping, errors=(404, 504)))
    async def stop(self, call: Call) -> Response[Any]:
        """Stop a workload with ``?timeout=SECONDS`` of grace; with ``?wait=true`` answer when it is."""
        name, stopping = call.path_params["name"], queried(call, Stopping)
        await self._reconciler.stop(name, stopping.timeout)
        if stopping.wait:
            await self._reconciler.until(name, stopped, stopping.timeout + SETTLE_LIMIT)
        return accepted()

    @serves("DELETE", ONE, Contract(answers={202: BEGUN}, query=Waiting, errors=(404, 504)))
    async def remove(self, call: Call) -> Response[Any]:
        """Remove a workload; with ``?wait=true`` answer when nothing of it is left."""
        name, waiting = call.path_params["name"], queried(call, Waiting)
        await self._reconciler.remove(name)
        if waiting.wait:
            await self._reconciler.until(name, gone, STOP_GRACE + SETTLE_LIMIT)
        return accepted()

    def _workload(self, call: Call) -> Workload:
        return self._reconciler.ground.store.get(call.path_params["name"])


def stopped(workload: Workload | None) -> bool:
    """Tell whether a workload has stopped, or is gone."""
    return workload is None or workload.status in (Status.STOPPED, Status.ERROR)


def gone(workload: Workload | None) -> bool:
    """Tell whether nothing of a workload is left."""
    return workload is None
