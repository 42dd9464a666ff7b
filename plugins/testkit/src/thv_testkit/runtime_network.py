"""The part of the conformance class of runtimes that joins the network namespaces of servers to the gateway."""

# ruff: noqa: D102 - the name of a test is its sentence

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path

import pytest

from thv_core.errors import NotFound, Unavailable, Unsupported
from thv_core.spi import Deployment, DeploymentPlan, Grant, Namespace, Network, Outbound, Runtime
from thv_testkit.conversations import Conversation
from thv_testkit.interruptions import died_in
from thv_testkit.runtime_fixtures import PlanMaker, RuntimeFixtures, unasked
from thv_testkit.waiting import eventually

__all__ = ["RuntimeNetworkContract"]

_OUTWARD = Network(outbound=Outbound(allow_host=("example.com",)))
_PORT = 8917
_START_WITHIN = 1.0
"""Seconds in which a server that is not held would have come to its first instruction."""


class RuntimeNetworkContract(RuntimeFixtures):
    """What every runtime does with ``connect``; :class:`thv_testkit.runtimes.RuntimeContract` includes it."""

    @pytest.mark.parametrize("changes", [{"network": _OUTWARD}, {"port": _PORT}, {"network": _OUTWARD, "port": _PORT}])
    def test_the_sockets_of_a_server_are_made_once_before_its_first_instruction(
        self, runtime: Runtime, plan_for: PlanMaker, tmp_path: Path, changes: dict[str, object]
    ) -> None:
        held = tmp_path / "shared" / "held"
        held.parent.mkdir()
        # A server may run as somebody else.
        held.parent.chmod(0o777)
        grant = Grant(source=str(held.parent), target=str(held.parent), writable=True)
        plan = plan_for("--hold", str(held), grants=(grant,), **changes)
        if _refuses(runtime, plan):
            return
        ran: list[bool] = []
        observed = runtime.deploy(plan, lambda _: ran.append(_comes(held)))
        assert ran == [False]
        with Conversation(observed.stdio) as server:
            assert server.count()[0] == 1
        assert held.exists()

    def test_a_server_that_reaches_nothing_and_has_no_port_gets_no_sockets(
        self, runtime: Runtime, plan_for: PlanMaker
    ) -> None:
        for generation, mode in enumerate(("", "none"), start=1):
            listed = Outbound(allow_host=("example.com",) if mode == "none" else ())
            life = Deployment(workload="conformance", generation=generation)
            runtime.deploy(plan_for(deployment=life, network=Network(mode=mode, outbound=listed)), unasked)

    def test_the_namespace_is_that_of_a_live_process(self, runtime: Runtime, plan_for: PlanMaker) -> None:
        plan = plan_for(network=_OUTWARD)
        if _refuses(runtime, plan):
            return
        seen: list[tuple[int, bool]] = []
        runtime.deploy(plan, lambda space: seen.append((_number(space), _is_alive(space))))
        assert seen[0][1], "the process of the namespace did not live, or had started at another time"
        found = runtime.namespace(plan.deployment)
        assert _is_alive(found)
        assert _number(found) == seen[0][0], "the namespace of the running server is not the one that was connected"

    def test_a_second_instance_finds_the_namespace(self, runtime: Runtime, again: Runtime, plan_for: PlanMaker) -> None:
        plan = plan_for(port=_PORT)
        if _refuses(runtime, plan):
            return
        seen: list[int] = []
        runtime.deploy(plan, lambda space: seen.append(_number(space)))
        assert _number(again.namespace(plan.deployment)) == seen[0]

    def test_what_does_not_run_has_no_namespace(self, runtime: Runtime, plan_for: PlanMaker) -> None:
        plan = plan_for(network=_OUTWARD)
        if _refuses(runtime, plan):
            return
        with pytest.raises(NotFound):
            runtime.namespace(Deployment(workload="unknown", generation=7))
        runtime.deploy(plan, lambda _: None)
        runtime.stop(plan.deployment, 5)
        with pytest.raises(NotFound):
            runtime.namespace(plan.deployment)

    def test_deploying_a_running_server_makes_no_sockets(
        self, runtime: Runtime, again: Runtime, plan_for: PlanMaker
    ) -> None:
        plan = plan_for(network=_OUTWARD, port=_PORT)
        if _refuses(runtime, plan):
            return
        first = runtime.deploy(plan, lambda _: None)
        assert runtime.deploy(plan, unasked) == first
        assert again.deploy(plan, unasked) == first

    @pytest.mark.parametrize("error", [Unavailable("the gateway refused"), ValueError("a mistake")], ids=repr)
    def test_what_connecting_raises_comes_through_and_nothing_is_left(
        self, runtime: Runtime, again: Runtime, plan_for: PlanMaker, error: Exception
    ) -> None:
        plan = plan_for(network=_OUTWARD)
        if _refuses(runtime, plan):
            return
        spaces: list[Namespace] = []

        def fail(space: Namespace) -> None:
            spaces.append(space)
            raise error

        with pytest.raises(type(error)) as caught:
            runtime.deploy(plan, fail)
        assert caught.value is error
        assert not runtime.observe()
        assert not again.observe()
        eventually(lambda: not _is_alive(spaces[0]))
        with Conversation(runtime.deploy(plan, lambda _: None).stdio) as server:
            assert server.count()[0] == 1

    def test_a_start_that_was_interrupted_while_it_was_connected_never_was(
        self, runtime: Runtime, again: Runtime, plan_for: PlanMaker, tmp_path: Path
    ) -> None:
        plan = plan_for(network=_OUTWARD, port=_PORT)
        if _refuses(runtime, plan):
            return
        noted = tmp_path / "namespace"

        def deploy(die: Callable[[], None]) -> None:
            def interrupted(space: Namespace) -> None:
                noted.write_text(f"{space.pid} {space.start}")
                die()

            runtime.deploy(plan, interrupted)

        died_in(deploy)
        assert not again.observe()
        pid, start = map(int, noted.read_text().split())
        eventually(lambda: not _is_alive(Namespace(pid=pid, start=start)))
        connected: list[Namespace] = []
        with Conversation(again.deploy(plan, connected.append).stdio) as server:
            assert server.count()[0] == 1
        assert len(connected) == 1


def _refuses(runtime: Runtime, plan: DeploymentPlan) -> bool:
    """Tell whether the runtime has no namespaces to enter; then assert that it says so."""
    if runtime.capabilities.network:
        return False
    with pytest.raises(Unsupported):
        runtime.prepare(plan, lambda _: None)
    with pytest.raises(Unsupported):
        runtime.deploy(plan, unasked)
    with pytest.raises(Unsupported):
        runtime.namespace(plan.deployment)
    assert not runtime.observe()
    return True


def _comes(file: Path) -> bool:
    deadline = time.monotonic() + _START_WITHIN
    while not file.exists():
        if time.monotonic() > deadline:
            return False
        time.sleep(0.01)
    return True


def _number(space: Namespace) -> int:
    return Path(f"/proc/{space.pid}/ns/net").stat().st_ino


def _is_alive(space: Namespace) -> bool:
    try:
        fields = Path(f"/proc/{space.pid}/stat").read_text().rpartition(")")[2].split()
    except OSError:
        return False
    return fields[0] != "Z" and int(fields[19]) == space.start
