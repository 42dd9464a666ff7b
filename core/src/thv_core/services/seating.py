"""Decide which processes a workload needs beside its own, one for each client session. Pure.

The gateway names the seats that it wants; each becomes a life of the workload with a number of its own, recorded before
it starts. A seat belongs to the life in whose place it answers: when another life takes over, its seats go with it.
"""

from __future__ import annotations

import msgspec

from thv_core.model.plan import Deployment
from thv_core.model.route import Seat
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

__all__ = ["next_seat", "seated", "seats", "seats_per_client", "unseated"]

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
    """Return the next step of a workload whose own life is as it should be: toward the seats that are wanted."""
    step = next_step(situation)
    if step.act is not Act.READY:
        return step
    return _surplus(situation) or _missing(situation) or step


def _surplus(situation: Situation) -> Step | None:
    """Return the step that ends a seat which nobody wants, whose process ended, or whose life is over."""
    workload = situation.workload
    wanted = _wanted(situation)
    kept = {workload.generation, *(each.deployment.generation for each in retiring(situation))}
    for each in workload.seats:
        deployment = _deployment(workload, each)
        life = life_of(situation, deployment)
        has_ended = life is not None and not is_running(life)
        is_unwanted = each.beside == workload.generation and wanted is not None and each.seat not in wanted
        if each.beside not in kept or has_ended or is_unwanted:
            return Step(Act.UNSEAT, deployment)
    return None


def _missing(situation: Situation) -> Step | None:
    """Return the step that starts a seat: one that is recorded and not there, or one that is wanted."""
    workload = situation.workload
    mine = {each.seat: each for each in workload.seats if each.beside == workload.generation}
    for each in mine.values():
        deployment = _deployment(workload, each)
        if life_of(situation, deployment) is None:
            return Step(Act.SEAT, deployment)
    unmet = next((name for name in _wanted(situation) or () if name not in mine), "")
    return Step(Act.SEAT, reason=unmet) if unmet else None


def _wanted(situation: Situation) -> tuple[str, ...] | None:
    report = report_of(situation, current(situation))
    if report is None:
        return None
    return report.seats if seats_per_client(situation.workload) else ()


def _deployment(workload: Workload, seat: SeatLife) -> Deployment:
    return Deployment(workload=workload.name, generation=seat.generation)
