"""Compute the route of a workload for the gateway. Pure."""

from __future__ import annotations

from dataclasses import dataclass

import msgspec

from thv_core.model.plan import Deployment
from thv_core.model.route import Liveness, Route
from thv_core.model.run_config import RunConfig
from thv_core.model.status import Desired, Status
from thv_core.model.workload import Successor, SwapKind, SwapPhase, Workload
from thv_core.services.reconciling import Situation, current, is_running, retiring, successor_life
from thv_core.services.seating import seats
from thv_core.services.serving import client_terms, forward_headers, request_timeout
from thv_core.services.swapping import is_served, succeeding
from thv_core.spi.runtimes import Observed

__all__ = ["Terms", "needs_outlet", "outlets", "route", "routed"]


@dataclass(frozen=True)
class Terms:
    """What every route of a workload has in common: its proxy log, and how patient the gateway is, in seconds."""

    log: str
    start_timeout: float
    request_timeout: float
    liveness: Liveness


def route(workload: Workload, observed: Observed, terms: Terms) -> Route:
    """Return the route to a running server."""
    return Route(
        workload=workload.name,
        incarnation=observed.deployment.label,
        host="127.0.0.1" if workload.config.host == "localhost" else workload.config.host,
        port=workload.config.port,
        stdin=observed.stdio.stdin,
        stdout=observed.stdio.stdout,
        lock=observed.stdio.lock,
        log=terms.log,
        transport=workload.config.transport,
        target_port=workload.config.target_port,
        target_url=workload.config.remote_url,
        # Until the gateway itself authorizes: whom the server lets in is between it and the client.
        forward_authorization=bool(workload.config.remote_url),
        allow_host=workload.config.permission_profile.network.inbound.allow_host,
        middleware=workload.config.additional_middleware_configs,
        start_timeout=terms.start_timeout,
        request_timeout=request_timeout(workload.config, terms.request_timeout),
        liveness=terms.liveness,
        terms=client_terms(workload.config),
        forward_headers=forward_headers(workload.config),
    )


def routed(situation: Situation, terms: Terms) -> Route | None:
    """Return the route that a workload should have now, or ``None`` when nobody is to be served.

    One whose server is not there (yet) keeps the route that it has, unless it was given up.
    """
    workload = situation.workload
    if workload.desired is not Desired.RUNNING:
        return None
    mine = current(situation)
    given_up = workload.status is Status.ERROR and workload.successor is None
    present = None if given_up else situation.route
    if mine is not None and is_running(mine):
        present = route(workload, mine, terms)
    if workload.successor is not None:
        present = _changing(situation, workload.successor, present, terms)
    if present is None:
        return None
    leaving = tuple(sorted(each.deployment.label for each in retiring(situation)))
    return msgspec.structs.replace(present, retiring=leaving, seats=seats(situation))


def _changing(situation: Situation, successor: Successor, present: Route | None, terms: Terms) -> Route | None:
    """Return the route with the next life beside it; of a workload that served nobody, the next life's alone."""
    mine, following = current(situation), successor_life(situation)
    runs = mine is not None and is_running(mine)
    candidate = None
    if following is not None and is_running(following):
        candidate = route(succeeding(situation.workload), following, terms)
    if present is None or not (runs or is_served(situation.workload)):
        return candidate or present
    hold = not runs or (successor.kind is SwapKind.INSTEAD and successor.phase is not SwapPhase.ASKED)
    return msgspec.structs.replace(present, hold=hold, candidate=candidate)


def needs_outlet(config: RunConfig) -> bool:
    """Tell whether a server of this configuration has sockets in its network namespace."""
    return config.permission_profile.network.reaches_out or bool(config.target_port)


def outlets(situation: Situation, named: frozenset[str]) -> frozenset[str]:
    """Return the lives of a workload that run, and the seats being started, whose sockets the gateway should have.

    :param named: those that the snapshot names now: a life that only retires keeps what it has.
    """
    workload = situation.workload
    needing = {workload.generation: needs_outlet(workload.config)}
    if workload.successor is not None:
        needing[workload.successor.generation] = needs_outlet(workload.successor.config)
    needing |= {each.generation: needs_outlet(workload.config) for each in workload.seats}
    lives = [each.deployment for each in situation.observed if is_running(each)]
    lives += [Deployment(workload=workload.name, generation=number) for number in sorted(situation.seating)]
    return frozenset(each.label for each in lives if needing.get(each.generation, each.label in named))
