"""Find where a workload is served, for those who speak to it themselves."""

from __future__ import annotations

import time
from collections.abc import Collection
from typing import TYPE_CHECKING, Any

from thv_core.errors import Unavailable
from thv_supervisor.wire import workload_path

if TYPE_CHECKING:
    from thv_supervisor.client import ControlClient

__all__ = ["served_url", "settled_url"]

START_SECONDS = 60.0
_PAUSE = 0.2
_SERVED = frozenset({"running", "unhealthy"})


def served_url(control: ControlClient, name: str) -> str:
    """Return the URL of a workload that runs.

    :raises NotFound: when there is none of that name.
    :raises Unavailable: when it does not run.
    """
    return _url(control.call("GET", workload_path(name, "status")), name, ("running",))


def settled_url(control: ControlClient, name: str) -> str:
    """Return the URL of a workload, as soon as it is no longer starting; one that is unhealthy says so itself.

    :raises NotFound: when there is none of that name.
    :raises Unavailable: when it is neither running nor about to.
    """
    ends = time.monotonic() + START_SECONDS
    view = control.call("GET", workload_path(name, "status"))
    while view["status"] == "starting" and time.monotonic() < ends:
        time.sleep(_PAUSE)
        view = control.call("GET", workload_path(name, "status"))
    return _url(view, name, _SERVED)


def _url(view: dict[str, Any], name: str, statuses: Collection[str]) -> str:
    if view["status"] not in statuses:
        raise Unavailable(f"{name} is {view['status']}", hint=f"thv start {name}")
    return str(view["url"])
