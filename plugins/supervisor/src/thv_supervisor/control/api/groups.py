"""The operations on groups."""

from __future__ import annotations

from typing import Any, ClassVar

from litestar.response import Response

from thv_supervisor.control.api.answering import Call, answer, empty, queried, received
from thv_supervisor.control.api.operation import Answer, Contract, document, serves
from thv_supervisor.control.api.requests import GroupRemoval, GroupRequest, MoveRequest
from thv_supervisor.control.api.views import CreateGroupAnswer, GroupList, GroupView
from thv_supervisor.control.grouping import Groups
from thv_supervisor.control.reconciler import Reconciler
from thv_supervisor.wire import GROUPS

__all__ = ["GroupRoom"]

ONE = f"{GROUPS}/{{name}}"
DONE = {204: Answer("It is done.")}


class GroupRoom:
    """One method for each operation."""

    tag: ClassVar[str] = "groups"

    def __init__(self, reconciler: Reconciler) -> None:
        self._groups = Groups(reconciler)
        self._store = reconciler.ground.store

    @serves("GET", GROUPS, Contract(answers=document(GroupList)))
    async def groups(self, call: Call) -> Response[Any]:
        """List the groups with their workloads, the default one first."""
        members = self._members()
        return answer(GroupList(groups=tuple(self._view(each.name, members) for each in self._groups.all())))

    @serves("POST", GROUPS, Contract(answers=document(CreateGroupAnswer, status=201), body=GroupRequest, errors=(409,)))
    async def create(self, call: Call) -> Response[Any]:
        """Create a group."""
        name = (await received(call, GroupRequest)).name
        self._groups.create(name)
        return answer(CreateGroupAnswer(name=name), 201)

    @serves("GET", ONE, Contract(answers=document(GroupView), errors=(404,)))
    async def get(self, call: Call) -> Response[Any]:
        """Return a group."""
        group = self._groups.get(call.path_params["name"])
        return answer(self._view(group.name, self._members()))

    @serves("DELETE", ONE, Contract(answers=DONE, query=GroupRemoval, errors=(404, 409, 504)))
    async def remove(self, call: Call) -> Response[Any]:
        """Delete a group; its workloads move to the default group, or are removed with ``?with-workloads=true``."""
        await self._groups.remove(call.path_params["name"], queried(call, GroupRemoval).with_workloads)
        return empty()

    @serves("PATCH", ONE, Contract(answers=DONE, body=GroupRequest, errors=(404, 409)))
    async def rename(self, call: Call) -> Response[Any]:
        """Rename a group."""
        asked = await received(call, GroupRequest)
        self._groups.rename(call.path_params["name"], asked.name)
        return empty()

    @serves("POST", f"{ONE}/workloads", Contract(answers=DONE, body=MoveRequest, errors=(404, 409)))
    async def move(self, call: Call) -> Response[Any]:
        """Move workloads into a group."""
        asked = await received(call, MoveRequest)
        self._groups.move(list(asked.names), call.path_params["name"])
        return empty()

    def _members(self) -> dict[str, list[str]]:
        members: dict[str, list[str]] = {}
        for each in self._store.all():
            members.setdefault(each.config.group, []).append(each.name)
        return members

    def _view(self, name: str, members: dict[str, list[str]]) -> GroupView:
        return GroupView(name=name, workloads=tuple(members.get(name, ())))
