"""The route of a workload."""

from __future__ import annotations

import msgspec
import pytest

from thv_core.model.plan import Deployment
from thv_core.model.profile import Inbound, Network, Outbound, PermissionProfile
from thv_core.model.route import Liveness, Route, RouteReport, RouteState
from thv_core.model.run_config import MiddlewareConfig, RunConfig
from thv_core.model.status import Desired, Status
from thv_core.model.workload import Successor, SwapKind, SwapPhase, Workload
from thv_core.services.reconciling import Situation
from thv_core.services.routing import Terms, outlets, route, routed
from thv_core.spi.runtimes import Observed, ObservedState, Stdio

CONFIG = RunConfig(
    name="time", image="uvx://t@1", port=19001, additional_middleware_configs=(MiddlewareConfig(type="audit"),)
)
OBSERVED = Observed(
    deployment=Deployment(workload="time", generation=3),
    state=ObservedState.RUNNING,
    stdio=Stdio(stdin="in", stdout="out", lock="lock"),
)


TERMS = Terms("/log", 5.0, 50.0, Liveness(interval=1.0, timeout=2.0, failures=3))


def made(**changes: object) -> object:
    config = msgspec.structs.replace(CONFIG, **changes)
    return route(Workload(name="time", config=config, request_id="r"), OBSERVED, TERMS)


def test_a_server_that_speaks_stdio_is_reached_through_its_pipes() -> None:
    found = made()
    assert (found.incarnation, found.host, found.port, found.log) == ("time.3", "127.0.0.1", 19001, "/log")
    assert (found.stdin, found.stdout, found.lock) == ("in", "out", "lock")
    assert (found.transport, found.target_port, found.allow_host) == ("stdio", 0, ())
    assert (found.start_timeout, found.request_timeout) == (5.0, 50.0)
    assert found.liveness == TERMS.liveness
    assert found.middleware == (MiddlewareConfig(type="audit"),)


def test_an_http_server_is_reached_at_its_port_by_the_names_of_its_profile() -> None:
    profile = PermissionProfile(network=Network(inbound=Inbound(allow_host=("box",))))
    found = made(transport="streamable-http", target_port=8000, permission_profile=profile)
    assert (found.transport, found.target_port, found.allow_host) == ("streamable-http", 8000, ("box",))


def test_the_name_of_loopback_is_its_address() -> None:
    assert made(host="localhost").host == "127.0.0.1"
    assert made(host="::1").host == "::1"


# The whole route -----------------------------------------------------------------------------------------------------


REACHING = PermissionProfile(network=Network(outbound=Outbound(allow_host=("a.example",))))


def lived(generation: int, state: ObservedState = ObservedState.RUNNING) -> Observed:
    label = str(generation)
    return Observed(
        deployment=Deployment(workload="time", generation=generation),
        state=state,
        stdio=Stdio(stdin=label, stdout=label, lock=label),
    )


def workload(kind: SwapKind | None = None, phase: SwapPhase = SwapPhase.STARTING, **more: object) -> Workload:
    successor = None
    if kind is not None:
        config = msgspec.structs.replace(CONFIG, port=19002, permission_profile=REACHING)
        successor = Successor(config=config, generation=5, request_id="s", kind=kind, phase=phase)
    fields = {"generation": 4, "status": Status.RUNNING, **more}
    return Workload(name="time", config=CONFIG, request_id="r", successor=successor, **fields)


EXITED = ObservedState.EXITED
PRESENT = route(workload(), lived(4), TERMS)


def test_nobody_is_served_by_what_should_not_run() -> None:
    for desired in (Desired.STOPPED, Desired.REMOVED):
        assert routed(Situation(workload(desired=desired), (lived(4),), route=PRESENT), TERMS) is None


def test_what_should_run_has_a_route_as_soon_as_it_is_there_and_keeps_it_when_it_is_not() -> None:
    assert routed(Situation(workload()), TERMS) is None
    assert routed(Situation(workload(), (lived(4),)), TERMS) == PRESENT
    assert routed(Situation(workload(), (lived(4, EXITED),), route=PRESENT), TERMS) == PRESENT


def test_what_was_given_up_has_no_route() -> None:
    given_up = workload(status=Status.ERROR)
    assert routed(Situation(given_up, (lived(3, EXITED),), route=PRESENT), TERMS) is None


def test_a_next_life_beside_is_the_candidate_with_its_own_port() -> None:
    found = routed(Situation(workload(SwapKind.BESIDE), (lived(4), lived(5))), TERMS)
    assert found is not None
    assert (found.incarnation, found.port, found.hold) == ("time.4", 19001, False)
    assert found.candidate is not None
    assert (found.candidate.incarnation, found.candidate.port) == ("time.5", 19002)


@pytest.mark.parametrize("phase", list(SwapPhase))
def test_requests_wait_from_the_hold_to_the_end(phase: SwapPhase) -> None:
    found = routed(Situation(workload(SwapKind.INSTEAD, phase), (lived(4),)), TERMS)
    assert found is not None
    assert found.hold is (phase is not SwapPhase.ASKED)


def test_the_route_of_what_was_ended_for_a_change_holds_until_the_next_life_is_ready() -> None:
    found = routed(Situation(workload(SwapKind.INSTEAD), (lived(4, EXITED), lived(5)), route=PRESENT), TERMS)
    assert found is not None
    assert (found.incarnation, found.hold) == ("time.4", True)
    assert found.candidate is not None


def test_requests_wait_when_what_runs_ends_by_itself_during_a_change() -> None:
    found = routed(Situation(workload(SwapKind.BESIDE), (lived(4, EXITED),), route=PRESENT), TERMS)
    assert found is not None
    assert found.hold


def test_what_served_nobody_is_changed_without_a_hold() -> None:
    starting = workload(SwapKind.INSTEAD, status=Status.STARTING)
    assert routed(Situation(starting), TERMS) is None
    for former in (None, PRESENT):
        found = routed(Situation(starting, (lived(4, EXITED), lived(5)), route=former), TERMS)
        assert found is not None
        assert (found.incarnation, found.hold, found.candidate) == ("time.5", False, None)


def test_a_hold_and_a_candidate_end_with_the_change() -> None:
    former = msgspec.structs.replace(PRESENT, hold=True, candidate=route(workload(), lived(5), TERMS))
    assert routed(Situation(workload(), (lived(4),), route=former), TERMS) == PRESENT


def test_the_former_life_retires_from_the_promotion_to_the_end_of_its_calls() -> None:
    former: Route = msgspec.structs.replace(PRESENT, candidate=route(workload(), lived(5), TERMS))
    promoted = workload(generation=5)
    found = routed(Situation(promoted, (lived(4), lived(5)), route=former), TERMS)
    assert found is not None
    assert (found.incarnation, found.retiring) == ("time.5", ("time.4",))
    quiet = RouteReport(workload="time", incarnation="time.4", state=RouteState.READY, quiet=True)
    after = routed(Situation(promoted, (lived(4), lived(5)), {"time.4": quiet}, found), TERMS)
    assert after is not None
    assert after.retiring == ()


# Sockets -------------------------------------------------------------------------------------------------------------


def test_each_life_has_the_sockets_that_its_configuration_asks_for() -> None:
    situation = Situation(workload(SwapKind.BESIDE), (lived(4), lived(5)))
    assert outlets(situation, frozenset()) == {"time.5"}
    assert outlets(Situation(workload(), (lived(4),)), frozenset({"time.4"})) == frozenset()


def test_a_life_that_retires_keeps_its_sockets_until_it_ends() -> None:
    observed = (lived(3), lived(4))
    assert outlets(Situation(workload(), observed), frozenset({"time.3"})) == {"time.3"}
    assert outlets(Situation(workload(), (lived(3, EXITED), lived(4))), frozenset({"time.3"})) == frozenset()
