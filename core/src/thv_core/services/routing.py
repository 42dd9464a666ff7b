"""Compute the route of a workload for the gateway. Pure."""

from __future__ import annotations

from thv_core.model.route import Route
from thv_core.model.workload import Workload
from thv_core.spi.runtimes import Observed

__all__ = ["Timeouts", "route"]

Timeouts = tuple[float, float]
"""The seconds that a server may take to start, and a request to be answered."""


def route(workload: Workload, observed: Observed, log: str, timeouts: Timeouts) -> Route:
    """Return the route to a running server.

    :param log: the path of its proxy log.
    """
    return Route(
        workload=workload.name,
        incarnation=observed.deployment.label,
        host="127.0.0.1" if workload.config.host == "localhost" else workload.config.host,
        port=workload.config.port,
        stdin=observed.stdio.stdin,
        stdout=observed.stdio.stdout,
        lock=observed.stdio.lock,
        log=log,
        transport=workload.config.transport,
        target_port=workload.config.target_port,
        allow_host=workload.config.permission_profile.network.inbound.allow_host,
        middleware=workload.config.additional_middleware_configs,
        start_timeout=timeouts[0],
        request_timeout=timeouts[1],
    )
