"""The operations on several workloads at once, by their names or by their group."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any, ClassVar

from litestar.response import Response

from thv_core.errors import InvalidRequest, NotFound, ThvError
from thv_supervisor.control.api.answering import Call, accepted, received
from thv_supervisor.control.api.operation import TEXT, Answer, Contract, serves
from thv_supervisor.control.api.requests import BulkRequest
from thv_supervisor.control.grouping import Groups
from thv_supervisor.control.keeping import STOP_GRACE
from thv_supervisor.control.reconciler import Reconciler
from thv_supervisor.wire import WORKLOADS

__all__ = ["BulkRoom"]

BEGUN = Contract(answers={202: Answer("It is begun for each of them.", TEXT)}, body=BulkRequest)


class BulkRoom:
    """ToolHive's bulk operations; one that fails keeps no other from its turn."""

    tag: ClassVar[str] = "workloads"

    def __init__(self, reconciler: Reconciler) -> None:
        self._reconciler = reconciler

    @serves("POST", f"{WORKLOADS}/restart", BEGUN)
    async def restart(self, call: Call) -> Response[Any]:
        """Start several workloads anew."""
        return await self._each(call, self._reconciler.start)

    @serves("POST", f"{WORKLOADS}/stop", BEGUN)
    async def stop(self, call: Call) -> Response[Any]:
        """Stop several workloads."""
        return await self._each(call, lambda name: self._reconciler.stop(name, STOP_GRACE))

    @serves("POST", f"{WORKLOADS}/delete", BEGUN)
    async def remove(self, call: Call) -> Response[Any]:
        """Remove several workloads."""
        return await self._each(call, self._reconciler.remove)

    async def _each(self, call: Call, act: Callable[[str], Awaitable[Any]]) -> Response[Any]:
        names = self._chosen(await received(call, BulkRequest))
        failures: list[str] = []
        for name in names:
            try:
                await act(name)
            except ThvError as error:
                failures.append(f"{name}: {error.message}")
        if failures:
            raise InvalidRequest(f"{len(failures)} of {len(names)} failed", evidence=failures)
        return accepted()

    def _chosen(self, asked: BulkRequest) -> list[str]:
        """Return the names that a request means.

        :raises InvalidRequest: when it gives both or neither, or names what does not exist; nothing is done then.
        """
        if bool(asked.names) == bool(asked.group):
            raise InvalidRequest("give either names or group", hint='Write {"names": ["one"]} or {"group": "default"}.')
        store = self._reconciler.ground.store
        if asked.group:
            self._require(asked.group)
            return [each.name for each in store.all() if each.config.group == asked.group]
        names = list(dict.fromkeys(asked.names or ()))
        known = set(store.names())
        if unknown := [name for name in names if name not in known]:
            raise InvalidRequest("there are no workloads of these names", evidence=unknown)
        return names

    def _require(self, group: str) -> None:
        try:
            Groups(self._reconciler).get(group)
        except NotFound as error:
            raise InvalidRequest(error.message, hint=error.hint) from None
