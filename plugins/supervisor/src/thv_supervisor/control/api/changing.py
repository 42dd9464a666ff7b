"""The operations that create a workload, or change one: ToolHive's, and the one that the CLI uses."""

from __future__ import annotations

from typing import Any, ClassVar

import msgspec
from litestar.response import Response

from thv_core.errors import InvalidRequest, NotFound
from thv_core.model.request import RunRequest
from thv_core.model.workload import Workload
from thv_supervisor.control.admission import admit
from thv_supervisor.control.api.answering import Call, answer, received
from thv_supervisor.control.api.operation import Answer, Contract, document, serves
from thv_supervisor.control.api.requests import CreateRequest
from thv_supervisor.control.api.streaming import Stream
from thv_supervisor.control.api.telling import ending, story
from thv_supervisor.control.api.translating import as_run_request, kept
from thv_supervisor.control.api.views import Abandoned, CreateWorkloadAnswer, StoryLine
from thv_supervisor.control.api.workloads import ONE, gone
from thv_supervisor.control.keeping import STOP_GRACE
from thv_supervisor.control.reconciler import SETTLE_LIMIT, Reconciler
from thv_supervisor.control.replacing import refuse_changed
from thv_supervisor.control.settling import Settlement
from thv_supervisor.wire import LINES, RUNS, WORKLOADS

__all__ = ["ChangeRoom", "RunRoom"]

MADE = document(CreateWorkloadAnswer, "It exists, and is being started.", 201)
SWAPPED = document(CreateWorkloadAnswer, "It runs with its new configuration.")
TOLD = {201: Answer("Each step as a line, and at last the workload or the error.", LINES, StoryLine)}
RUN = Contract(answers=TOLD, body=RunRequest, errors=(404, 409, 422, 504), private=True)


class ChangeRoom:
    """Create and edit, as ToolHive has it."""

    tag: ClassVar[str] = "workloads"

    def __init__(self, reconciler: Reconciler) -> None:
        self._reconciler = reconciler

    @serves("POST", WORKLOADS, Contract(answers=MADE, body=CreateRequest, errors=(409, 422, 504)))
    async def create(self, call: Call) -> Response[Any]:
        """Create a workload and start it; it is answered once the server is known, and goes on afterwards."""
        asked = await received(call, CreateRequest)
        try:
            keeper = await self._reconciler.submit(as_run_request(asked))
        except NotFound as error:
            raise _meant_badly(error) from None
        return answer(_made(self._reconciler.ground.store.get(keeper.name)), 201)

    @serves("POST", f"{ONE}/edit", Contract(answers=SWAPPED, body=CreateRequest, errors=(404, 409, 422, 504)))
    async def edit(self, call: Call) -> Response[Any]:
        """Change the configuration of a workload without a failed call; it is answered when it took effect.

        What an edit has no field for stays as it is: labels, middleware, the runtime. A new configuration that does not
        become ready is rolled back.
        """
        asked = await received(call, CreateRequest)
        current = self._reconciler.ground.store.get(call.path_params["name"])
        try:
            request = await self._edited(asked, current)
            refuse_changed(self._reconciler.ground.store.get(current.name), current)
            keeper = await self._reconciler.submit(request)
        except NotFound as error:
            raise _meant_badly(error) from None
        await ending(keeper)
        return answer(_made(self._reconciler.ground.store.get(keeper.name)))

    async def _edited(self, asked: CreateRequest, current: Workload) -> RunRequest:
        if asked.name not in ("", current.name):
            raise InvalidRequest(f"name: {current.name} cannot become {asked.name}", hint="Leave name out.")
        named = msgspec.structs.replace(asked, name=current.name, group=asked.group or current.config.group)
        request = msgspec.structs.replace(as_run_request(named, current.config.secrets), replaces=current.name)
        admitted = await admit(request, self._reconciler.ground, current)
        config = kept(admitted.config, current.config, asked)
        return RunRequest(request_id=request.request_id, run_config=config, replaces=current.name)


class RunRoom:
    """Runs, as the CLI of this machine's user asks for them: with values of its shell, and told step by step."""

    tag: ClassVar[str] = "runs"

    def __init__(self, reconciler: Reconciler, settlement: Settlement) -> None:
        self._reconciler = reconciler
        self._settlement = settlement

    @serves("POST", RUNS, RUN)
    async def run(self, call: Call) -> Response[Any]:
        """Run a server or change a workload, and tell what happens until it is ready or has failed."""
        asked = await received(call, RunRequest)
        if not self._reconciler.knows(asked):
            self._settlement.adopt_network(asked.network)
        keeper = await self._reconciler.submit(asked)
        return Stream(story(keeper, self._reconciler), 201, LINES)

    @serves("DELETE", f"{RUNS}/{{request_id}}", Contract(answers=document(Abandoned), errors=(504,), private=True))
    async def abandon(self, call: Call) -> Response[Any]:
        """Undo a run that its caller gave up; it is answered when nothing of it is left."""
        names = await self._reconciler.abandon(call.path_params["request_id"])
        for name in names:
            await self._reconciler.until(name, gone, STOP_GRACE + SETTLE_LIMIT)
        return answer(Abandoned(removed=tuple(names)))


def _made(workload: Workload) -> CreateWorkloadAnswer:
    return CreateWorkloadAnswer(name=workload.name, port=workload.config.port)


def _meant_badly(error: NotFound) -> InvalidRequest:
    """Return what a request did wrong that names something which is not there: what it is about is another thing."""
    return InvalidRequest(error.message, evidence=error.evidence, hint=error.hint)
