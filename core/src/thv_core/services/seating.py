"""Decide which processes a workload needs beside its own, one for each client session. Pure.

The gateway names the seats that it wants; each becomes a life of the workload with a number of its own, recorded before
it starts. A seat belongs to the life in whose place it answers: when another life takes over, its seats go with it.
"""

from __future__ import annotations

import msgspec

from thv_core.model.plan import Deployment
from thv_core.model.route import Seat
from thv_core.model.status import Desired
from thv_core.model.workload import SeatLife, Workload
from thv_core.services.reconciling import (
    Act,
    Situation,
    Step,
    current,
    is_running,
    life_of,
    next_step,
    report_of,
    retiring,
)

__all__ = ["next_seat", "seated", "seats", "seats_per_client", "surplus", "unseated"]

PER_CLIENT = "per-client"


def seats_per_client(workload: Workload) -> bool:
    """Tell whether each client session gets a process of its own."""
    return workload.config.stdio_sessions == PER_CLIENT


def seated(workload: Workload, seat: str, generation: int) -> Workload:
    """Return the workload with one more seat, of its current life."""
    return msgspec.structs.replace(
        workload, seats=(*workload.seats, SeatLife(seat=seat, generation=generation, beside=workload.generation))
    )


def unseated(workload: Workload, generation: int) -> Workload:
    """Return the workload without the seat of that number."""
    left = tuple(each for each in workload.seats if each.generation != generation)
    return msgspec.structs.replace(workload, seats=left)


def seats(situation: Situation) -> tuple[Seat, ...]:
    """Return the seats of the current life that run, for the route."""
    workload = situation.workload
    found: list[Seat] = []
    for each in workload.seats:
        life = life_of(situation, _deployment(workload, each))
        if each.beside == workload.generation and life is not None and is_running(life):
            found.append(
                Seat(
                    seat=each.seat,
                    incarnation=life.deployment.label,
                    stdin=life.stdio.stdin,
                    stdout=life.stdio.stdout,
                    lock=life.stdio.lock,
                )
            )
    return tuple(found)


def next_seat(situation: Situation) -> Step:
    """Return the next step of a workload with its seats: what is over ends first, what is wanted starts last."""
    if surplus(situation):
        return Step(Act.UNSEAT)
    step = next_step(situation)
    return (_missing(situation) or step) if step.act is Act.READY else step


def surplus(situation: Situation) -> tuple[Deployment, ...]:
    """Return the seats that nobody wants, whose process ended, or whose life is over; none whose start is under way.

    Requests that wait for the end of a change are not kept waiting for seats.
    """
    workload = situation.workload
    if workload.desired is not Desired.RUNNING:
        left = workload.seats
    elif workload.successor is not None:
        left = ()
    else:
        left = tuple(each for each in workload.seats if _is_over(situation, each))
    return tuple(_deployment(workload, each) for each in left if each.generation not in situation.seating)


def _is_over(situation: Situation, seat: SeatLife) -> bool:
    workload, wanted = situation.workload, _wanted(situation)
    kept = {workload.generation, *(each.deployment.generation for each in retiring(situation))}
    life = life_of(situation, _deployment(workload, seat))
    has_ended = life is not None and not is_running(life)
    is_unwanted = seat.beside == workload.generation and wanted is not None and seat.seat not in wanted
    return seat.beside not in kept or has_ended or is_unwanted


def _missing(situation: Situation) -> Step | None:
    """Return the step that starts a seat: one that is recorded and not there, or one that is wanted."""
    workload = situation.workload
    for each in workload.seats:
        deployment = _deployment(workload, each)
        is_due = each.beside == workload.generation and each.generation not in situation.seating
        if is_due and life_of(situation, deployment) is None:
            return Step(Act.SEAT, deployment)
    # The gateway names the seats of each life differently: one that a retiring life has is no new one.
    known = {each.seat for each in workload.seats}
    unmet = next((name for name in _wanted(situation) or () if name not in known), "")
    return Step(Act.SEAT, reason=unmet) if unmet else None


def _wanted(situation: Situation) -> tuple[str, ...] | None:
    report = report_of(situation, current(situation))
    if report is None:
        return None
    return report.seats if seats_per_client(situation.workload) else ()


def _deployment(workload: Workload, seat: SeatLife) -> Deployment:
    return Deployment(workload=workload.name, generation=seat.generation)
