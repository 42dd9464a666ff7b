"""What is different for a route that several processes of one gateway serve."""

from __future__ import annotations

from typing import Protocol

from thv_core.model.route import Route
from thv_gateway.web.app import Application
from thv_gateway.web.listeners import Listener

__all__ = ["Several", "is_common"]


class Several(Protocol):
    """The part of this process in such a route."""

    def listener(self, workload: str, app: Application) -> Listener | None:
        """Return what listens for requests that other processes hand on."""
        ...

    def adapt(self, workload: str, app: Application) -> None:
        """Let an application answer what this process can, and hand on the rest."""
        ...


def is_common(route: Route) -> bool:
    """Tell whether every process serves a route: its server is reached by URL, and needs no stream of its own here.

    Pipes and sockets in namespaces belong to one process alone.
    """
    return bool(route.target_url) and route.transport == "streamable-http" and not route.terms.socket
