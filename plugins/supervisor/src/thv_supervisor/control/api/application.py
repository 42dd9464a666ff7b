"""The API as a whole: its rooms, and the applications for the control socket and for listeners."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import cache
from typing import NamedTuple

from litestar import Litestar
from litestar.plugins import PluginProtocol
from litestar.types import ASGIApp

from thv_supervisor.control.api.bulk import BulkRoom
from thv_supervisor.control.api.cache import CacheRoom
from thv_supervisor.control.api.changing import ChangeRoom, RunRoom
from thv_supervisor.control.api.describing import DescriptionRoom
from thv_supervisor.control.api.egress import EgressRoom
from thv_supervisor.control.api.events import EventRoom
from thv_supervisor.control.api.gate import Gate, Policy
from thv_supervisor.control.api.groups import GroupRoom
from thv_supervisor.control.api.listeners import Leases, ListenerRoom
from thv_supervisor.control.api.logs import LogRoom
from thv_supervisor.control.api.operation import Operation, Room, handlers, operations
from thv_supervisor.control.api.processes import ProcessRoom
from thv_supervisor.control.api.refusing import HANDLERS
from thv_supervisor.control.api.workloads import WorkloadRoom
from thv_supervisor.control.reconciler import Reconciler
from thv_supervisor.control.settling import Settlement

__all__ = ["BODY_LIMIT", "ControlApi", "control_api"]

BODY_LIMIT = 1 << 20


class ControlApi(NamedTuple):
    """What is served on the control socket, and what is called once control is to end and not only to be replaced."""

    application: ASGIApp
    farewell: Callable[[], None]


def control_api(reconciler: Reconciler, settlement: Settlement) -> ControlApi:
    """Return the API for the control socket: every operation, and the description of them."""
    ground = reconciler.ground

    @cache
    def public(described: bool) -> ASGIApp:
        return _application([each for each in every if not each.contract.private], described)

    ground.kernel.paths.discovery.unlink(missing_ok=True)
    leases = Leases(ground.kernel.paths, settlement, public)
    rooms: list[Room] = [
        WorkloadRoom(reconciler),
        ChangeRoom(reconciler),
        BulkRoom(reconciler),
        GroupRoom(reconciler),
        EventRoom(ground.feed),
        EgressRoom(ground),
        CacheRoom(reconciler),
        LogRoom(ground),
        RunRoom(reconciler, settlement),
        ListenerRoom(leases),
        ProcessRoom(ground, settlement, leases.farewell),
    ]
    every = [operation for room in rooms for operation in operations(room)]
    private = Gate(_application(every, described=True), Policy(nonce="", private=True), settlement)
    return ControlApi(private, leases.farewell)


class _Lean(Litestar):
    """Litestar without its plugins for pydantic and attrs.

    Nothing here uses these, and where they happen to be installed they would cost each start 10 MB and time.
    """

    @staticmethod
    def _get_default_plugins(plugins: list[PluginProtocol]) -> list[PluginProtocol]:
        return plugins


def _application(served: Sequence[Operation], described: bool) -> ASGIApp:
    description = operations(DescriptionRoom(served)) if described else []
    return _Lean(
        handlers([*served, *description]),
        openapi_config=None,
        logging_config=None,
        request_max_body_size=BODY_LIMIT,
        exception_handlers=HANDLERS,
    )
