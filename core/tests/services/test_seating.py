"""The processes that client sessions have for themselves: which start, which end, and what the gateway is told."""

from __future__ import annotations

import dataclasses

import msgspec

from thv_core.model.plan import Deployment
from thv_core.model.profile import Network, Outbound, PermissionProfile
from thv_core.model.route import Route, RouteReport, RouteState
from thv_core.model.run_config import RunConfig
from thv_core.model.status import Desired
from thv_core.model.workload import Successor, SwapKind, SwapPhase, Workload
from thv_core.services.reconciling import Act, Situation, Step
from thv_core.services.routing import outlets
from thv_core.services.seating import next_seat, seated, seats, surplus, unseated
from thv_core.spi.runtimes import Observed, ObservedState, Stdio

CONFIG = RunConfig(name="time", image="uvx://t@1", stdio_sessions="per-client")
WORKLOAD = Workload(name="time", config=CONFIG, request_id="r", generation=7, provisional=False)


def seen(generation: int, state: ObservedState = ObservedState.RUNNING) -> Observed:
    stdio = Stdio(stdin=f"/{generation}/i", stdout=f"/{generation}/o", lock=f"/{generation}/l")
    return Observed(deployment=Deployment(workload="time", generation=generation), state=state, stdio=stdio)


def wanting(*names: str, known: bool = True) -> dict[str, RouteReport]:
    report = RouteReport(workload="time", incarnation="time.7", state=RouteState.READY, seats=names if known else None)
    return {"time.7": report}


def life(generation: int) -> Deployment:
    return Deployment(workload="time", generation=generation)


def test_a_seat_that_is_wanted_is_recorded_first_and_started_then() -> None:
    assert next_seat(Situation(WORKLOAD, (seen(7),), wanting("a"))) == Step(Act.SEAT, reason="a")
    recorded = seated(WORKLOAD, "a", 9)
    assert next_seat(Situation(recorded, (seen(7),), wanting("a"))) == Step(Act.SEAT, life(9))
    assert next_seat(Situation(recorded, (seen(7), seen(9)), wanting("a"))).act is Act.READY


def test_a_seat_that_nobody_wants_ends() -> None:
    recorded = seated(WORKLOAD, "a", 9)
    unwanted = Situation(recorded, (seen(7), seen(9)), wanting())
    assert (next_seat(unwanted), surplus(unwanted)) == (Step(Act.UNSEAT), (life(9),))
    assert not unseated(recorded, 9).seats


def test_nothing_ends_while_the_gateway_does_not_know_what_it_wants() -> None:
    recorded = seated(WORKLOAD, "a", 9)
    assert next_seat(Situation(recorded, (seen(7), seen(9)), wanting(known=False))).act is Act.READY


def test_a_seat_whose_process_ended_is_cleared_away_and_started_anew_while_it_is_wanted() -> None:
    recorded = seated(WORKLOAD, "a", 9)
    ended = (seen(7), seen(9, ObservedState.EXITED))
    assert next_seat(Situation(recorded, ended, wanting("a"))) == Step(Act.UNSEAT)
    assert next_seat(Situation(WORKLOAD, (seen(7),), wanting("a"))).act is Act.SEAT


def test_a_seat_whose_start_is_under_way_is_neither_started_again_nor_ended() -> None:
    recorded = seated(WORKLOAD, "a", 9)
    begun = Situation(recorded, (seen(7),), wanting("a"), seating=frozenset({9}))
    assert next_seat(begun).act is Act.READY
    assert next_seat(dataclasses.replace(begun, reports=wanting())).act is Act.READY
    assert next_seat(dataclasses.replace(begun, reports=wanting("a", "b"))) == Step(Act.SEAT, reason="b")


def test_all_seats_of_a_workload_that_is_to_end_go_first_and_at_once() -> None:
    for desired in (Desired.STOPPED, Desired.REMOVED):
        ending = msgspec.structs.replace(seated(seated(WORKLOAD, "a", 9), "b", 10), desired=desired)
        leaving = Situation(ending, (seen(7), seen(9)), wanting("a", "b"))
        assert (next_seat(leaving), surplus(leaving)) == (Step(Act.UNSEAT), (life(9), life(10)))


def test_seats_of_a_life_that_failed_do_not_outlast_it_while_none_becomes_ready() -> None:
    again = msgspec.structs.replace(seated(WORKLOAD, "a", 9), generation=11)
    assert next_seat(Situation(again, (seen(9),))) == Step(Act.UNSEAT)
    assert next_seat(Situation(unseated(again, 9))).act is Act.START


def test_a_change_whose_requests_wait_does_not_wait_for_seats() -> None:
    successor = Successor(
        config=CONFIG,
        generation=12,
        request_id="r2",
        kind=SwapKind.INSTEAD,
        phase=SwapPhase.ASKED,
        formerly=Desired.RUNNING,
    )
    changing = msgspec.structs.replace(seated(WORKLOAD, "a", 9), successor=successor)
    assert not surplus(Situation(changing, (seen(7), seen(9)), wanting()))


def test_the_sockets_of_a_seat_that_is_being_started_are_the_gateways_already() -> None:
    network = PermissionProfile(name="n", network=Network(outbound=Outbound(allow_host=("a.test",))))
    config = msgspec.structs.replace(CONFIG, permission_profile=network)
    recorded = seated(msgspec.structs.replace(WORKLOAD, config=config), "a", 9)
    begun = Situation(recorded, (seen(7),), wanting("a"), seating=frozenset({9}))
    assert outlets(begun, frozenset()) == {"time.7", "time.9"}


def test_only_a_workload_that_is_ready_gets_seats() -> None:
    starting = RouteReport(workload="time", incarnation="time.7", state=RouteState.STARTING, seats=("a",))
    assert next_seat(Situation(WORKLOAD, (seen(7),), {"time.7": starting})).act is Act.WAIT
    assert next_seat(Situation(WORKLOAD)).act is Act.START


def test_a_shared_server_has_no_seats_whatever_the_gateway_says() -> None:
    shared = msgspec.structs.replace(WORKLOAD, config=msgspec.structs.replace(CONFIG, stdio_sessions="shared"))
    assert next_seat(Situation(shared, (seen(7),), wanting("a"))).act is Act.READY


def test_seats_of_a_former_life_go_with_it_and_not_before() -> None:
    taken_over = msgspec.structs.replace(seated(WORKLOAD, "a", 9), generation=8)
    report = RouteReport(workload="time", incarnation="time.8", state=RouteState.READY, seats=("a",))
    route = Route(workload="time", incarnation="time.8", port=1, log="/x", retiring=("time.7",))
    busy = Situation(taken_over, (seen(8), seen(7), seen(9)), {"time.8": report}, route)
    assert next_seat(busy).act is Act.READY
    over = Situation(taken_over, (seen(8), seen(9)), {"time.8": report}, route)
    assert next_seat(over) == Step(Act.UNSEAT)


def test_the_route_names_the_seats_that_run() -> None:
    recorded = seated(seated(WORKLOAD, "a", 9), "b", 10)
    (seat,) = seats(Situation(recorded, (seen(7), seen(9), seen(10, ObservedState.EXITED)), wanting("a", "b")))
    assert (seat.seat, seat.incarnation, seat.stdin, seat.lock) == ("a", "time.9", "/9/i", "/9/l")
