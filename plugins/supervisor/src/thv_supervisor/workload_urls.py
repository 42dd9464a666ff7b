"""Find where a workload is served, for those who speak to it themselves."""

from __future__ import annotations

import time
from collections.abc import Collection
from typing import TYPE_CHECKING, Any

from thv_core.errors import Unavailable
from thv_supervisor.places import Place
from thv_supervisor.wire import workload_path

if TYPE_CHECKING:
    from thv_supervisor.client import ControlClient

__all__ = ["served_place", "settled_place"]

START_SECONDS = 60.0
_PAUSE = 0.2
_SERVED = frozenset({"running", "unhealthy"})


def served_place(control: ControlClient, name: str) -> Place:
    """Return where a workload that runs is reached, as clients are shown it.

    :raises NotFound: when there is none of that name.
    :raises Unavailable: when it does not run.
    """
    return _place(control.call("GET", workload_path(name, "status")), name, ("running",))


def settled_place(control: ControlClient, name: str) -> Place:
    """Return where a workload takes requests, as soon as it is no longer starting; an unhealthy one says so itself.

    That is ``/mcp`` also where clients are shown ``/sse``: a gateway serves both.

    :raises NotFound: when there is none of that name.
    :raises Unavailable: when it is neither running nor about to.
    """
    ends = time.monotonic() + START_SECONDS
    view = control.call("GET", workload_path(name, "status"))
    while view["status"] == "starting" and time.monotonic() < ends:
        time.sleep(_PAUSE)
        view = control.call("GET", workload_path(name, "status"))
    return _place(view, name, _SERVED).with_path("/mcp")


def _place(view: dict[str, Any], name: str, statuses: Collection[str]) -> Place:
    if view["status"] not in statuses:
        raise Unavailable(f"{name} is {view['status']}", hint=f"thv start {name}")
    return Place(str(view["url"]), str(view.get("tls_certificate", "")))
