"""The conformance class of runtimes (:class:`thv_core.spi.Runtime`)."""

# ruff: noqa: D102 - the name of a test is its sentence

from __future__ import annotations

import fcntl
import stat
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path

import pytest

from thv_core.errors import NotFound
from thv_core.spi import (
    Deployment,
    Environment,
    Grant,
    Observed,
    ObservedState,
    Probe,
    Progress,
    Runtime,
    Surroundings,
)
from thv_testkit.conversations import Conversation
from thv_testkit.interruptions import killed_after
from thv_testkit.runtime_fixtures import PlanMaker, unasked
from thv_testkit.runtime_limits import RuntimeLimitsContract
from thv_testkit.runtime_logs import RuntimeLogsContract
from thv_testkit.runtime_network import RuntimeNetworkContract
from thv_testkit.waiting import eventually

__all__ = ["PlanMaker", "RuntimeContract"]

_GRACE = 5.0
_MOMENTS = (0.0, 0.01, 0.03, 0.06, 0.12)
"""Seconds after which a start is interrupted: too early for any process, or just in the middle of it."""


class RuntimeContract(RuntimeLogsContract, RuntimeNetworkContract, RuntimeLimitsContract):
    """What every runtime does. Give the fixture ``runtime``, constructed from the fixture ``surroundings``.

    Override ``again`` when a second instance needs settings, and ``plan_for`` when the servers of this runtime do not
    see the interpreter of the test at ``sys.executable``.
    """

    def test_the_probe_says_in_words_whether_it_can_isolate(self, runtime: Runtime) -> None:
        probe = runtime.probe()
        assert isinstance(probe, Probe)
        assert probe.detail
        assert probe.ready, f"{probe.detail}; {probe.hint}"

    def test_preparing_twice_is_no_error_and_reports_progress_only(self, runtime: Runtime, plan_for: PlanMaker) -> None:
        reports: list[Progress] = []
        runtime.prepare(plan_for(), reports.append)
        runtime.prepare(plan_for(), reports.append)
        assert all(isinstance(report, Progress) for report in reports)
        assert not runtime.observe()

    def test_a_deployed_server_answers(self, runtime: Runtime, plan_for: PlanMaker) -> None:
        with Conversation(runtime.deploy(plan_for(), unasked).stdio) as server:
            assert server.text("echo", text="hello\u2028world") == "hello\u2028world"

    def test_deploying_describes_a_running_server(self, runtime: Runtime, plan_for: PlanMaker) -> None:
        before = time.time()
        observed = runtime.deploy(plan_for(), unasked)
        assert observed.deployment == plan_for().deployment
        assert observed.state is ObservedState.RUNNING
        assert observed.exit_code is None
        assert before - 60 <= observed.started_at <= time.time() + 60

    def test_the_gateway_finds_private_fifos_and_a_lock_that_is_free(
        self, runtime: Runtime, plan_for: PlanMaker
    ) -> None:
        stdio = runtime.deploy(plan_for(), unasked).stdio
        for path in (stdio.stdin, stdio.stdout):
            mode = Path(path).stat().st_mode
            assert stat.S_ISFIFO(mode)
            assert not mode & 0o077
        lock = Path(stdio.lock)
        lock.touch()
        assert _is_free(lock)

    def test_deploying_twice_starts_one_process(self, runtime: Runtime, plan_for: PlanMaker) -> None:
        first = runtime.deploy(plan_for(), unasked)
        with Conversation(first.stdio) as server:
            counted, pid = server.count()
        second = runtime.deploy(plan_for(), unasked)
        assert (second.pid, second.stdio) == (first.pid, first.stdio)
        with Conversation(second.stdio) as server:
            assert server.count() == (counted + 1, pid)
        assert len(runtime.observe()) == 1

    def test_a_second_instance_finds_a_server_with_its_memory(
        self, runtime: Runtime, again: Runtime, plan_for: PlanMaker
    ) -> None:
        first = runtime.deploy(plan_for(), unasked)
        with Conversation(first.stdio) as server:
            counted, pid = server.count()
        (found,) = again.observe()
        assert found == first
        assert again.deploy(plan_for(), unasked) == first
        with Conversation(found.stdio) as server:
            assert server.count() == (counted + 1, pid)

    def test_a_second_instance_can_stop_and_remove_a_server(
        self, runtime: Runtime, again: Runtime, plan_for: PlanMaker
    ) -> None:
        deployment = runtime.deploy(plan_for(), unasked).deployment
        again.stop(deployment, _GRACE)
        assert _only(runtime).state is ObservedState.EXITED
        again.remove(deployment)
        assert not runtime.observe()

    def test_a_server_has_the_environment_that_it_was_given_and_not_ours(
        self, runtime: Runtime, plan_for: PlanMaker, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setenv("THV_TESTKIT_FOREIGN", "not granted")
        granted = {"GRANTED": "a value\nwith 'quotes', $HOME and ünicode", "EMPTY": ""}
        with Conversation(runtime.deploy(plan_for(environment=Environment(values=granted)), unasked).stdio) as server:
            names = server.tool("environment")["structuredContent"]["names"]
            assert set(granted) <= set(names)
            assert "THV_TESTKIT_FOREIGN" not in names
            for name, value in granted.items():
                assert server.tool("environment", name=name)["structuredContent"]["value"] == value

    def test_the_value_of_a_secret_is_in_no_argument_vector_file_or_representation(
        self, runtime: Runtime, plan_for: PlanMaker, surroundings: Surroundings
    ) -> None:
        secret = "shh-a-conformance-secret"  # noqa: S105 - a value to look for
        observed = runtime.deploy(plan_for(environment=Environment(values={"TOKEN": secret})), unasked)
        assert secret not in repr(observed) + repr(runtime) + repr(list(runtime.observe()))
        assert not [line for line in _argument_vectors() if secret.encode() in line]
        assert not [file for file in surroundings.state.rglob("*") if file.is_file() and _holds(file, secret)]

    def test_a_granted_folder_is_seen_at_its_target(
        self, runtime: Runtime, plan_for: PlanMaker, tmp_path: Path
    ) -> None:
        folder = _shared(tmp_path)
        (folder / "note").write_text("a note")
        granted = Grant(source=str(folder), target=str(folder), writable=True)
        with Conversation(runtime.deploy(plan_for(grants=(granted,)), unasked).stdio) as server:
            assert server.text("read", path=f"{folder}/note") == "a note"
            assert server.text("write", path=f"{folder}/answer", text="an answer") == "written"
        assert (folder / "answer").read_text() == "an answer"

    def test_servers_do_not_share_anything(self, runtime: Runtime, plan_for: PlanMaker) -> None:
        lives = [Deployment(workload="conformance", generation=2), Deployment(workload="conformance.2", generation=1)]
        observed = [runtime.deploy(plan_for(deployment=life), unasked) for life in lives]
        assert {each.deployment for each in runtime.observe()} == set(lives)
        for each in observed:
            with Conversation(each.stdio) as server:
                assert server.count()[0] == 1
        runtime.remove(lives[0])
        assert _only(runtime).deployment == lives[1]
        with Conversation(observed[1].stdio) as server:
            assert server.count()[0] == 2

    def test_workloads_can_be_deployed_at_the_same_time(self, runtime: Runtime, plan_for: PlanMaker) -> None:
        lives = [Deployment(workload=f"conformance-{number}", generation=1) for number in range(4)]
        threads = [threading.Thread(target=runtime.deploy, args=(plan_for(deployment=life), unasked)) for life in lives]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(60)
        running = {each.deployment for each in runtime.observe() if each.state is ObservedState.RUNNING}
        assert running == set(lives)

    def test_observing_goes_on_while_others_are_removed(
        self, runtime: Runtime, again: Runtime, plan_for: PlanMaker
    ) -> None:
        lives = [Deployment(workload=f"conformance-{number}", generation=1) for number in range(3)]
        for life in lives:
            runtime.deploy(plan_for(deployment=life), unasked)
        with ThreadPoolExecutor(1) as workers:
            removing = workers.submit(lambda: [runtime.remove(life) for life in lives])
            while not removing.done():
                assert {each.deployment for each in again.observe()} <= set(lives)
            removing.result()
        assert not again.observe()

    @pytest.mark.parametrize("arguments", [(), ("--stubborn",)], ids=["obedient", "stubborn"])
    def test_stopping_ends_every_process_and_the_exit_stays_observable(
        self, runtime: Runtime, plan_for: PlanMaker, tmp_path: Path, arguments: tuple[str, ...]
    ) -> None:
        held = _shared(tmp_path) / "held"
        granted = Grant(source=str(held.parent), target=str(held.parent), writable=True)
        observed = runtime.deploy(plan_for("--hold", str(held), *arguments, grants=(granted,)), unasked)
        with Conversation(observed.stdio) as server:
            server.count()
        assert not _is_free(held)
        grace = 0.5
        before = time.monotonic()
        runtime.stop(observed.deployment, grace)
        assert time.monotonic() - before < grace + 10
        assert _is_free(held), "a process of the server outlived stop()"
        after = _only(runtime)
        assert (after.deployment, after.state) == (observed.deployment, ObservedState.EXITED)
        runtime.stop(observed.deployment, grace)
        assert _only(runtime).state is ObservedState.EXITED

    def test_a_server_that_obeys_is_given_its_grace_and_no_longer(self, runtime: Runtime, plan_for: PlanMaker) -> None:
        deployment = runtime.deploy(plan_for(), unasked).deployment
        before = time.monotonic()
        runtime.stop(deployment, 60)
        assert time.monotonic() - before < 30

    def test_a_long_grace_ends_when_a_shorter_one_is_given(self, runtime: Runtime, plan_for: PlanMaker) -> None:
        observed = runtime.deploy(plan_for("--stubborn"), unasked)
        with Conversation(observed.stdio) as server:
            server.count()
        before = time.monotonic()
        with ThreadPoolExecutor(1) as pool:
            waiting = pool.submit(runtime.stop, observed.deployment, 12)
            time.sleep(0.3)
            assert not waiting.done()
            runtime.stop(observed.deployment, 0.2)
            waiting.result(30)
        assert time.monotonic() - before < 10
        assert _only(runtime).state is ObservedState.EXITED

    def test_an_exit_is_observed_with_its_code_if_that_is_known(
        self, runtime: Runtime, again: Runtime, plan_for: PlanMaker
    ) -> None:
        runtime.deploy(plan_for("--exit", "3"), unasked)
        exited = eventually(lambda: [each for each in runtime.observe() if each.state is ObservedState.EXITED])
        assert exited[0].exit_code in (3, None)
        assert again.observe() == exited

    def test_removing_kills_and_forgets(self, runtime: Runtime, plan_for: PlanMaker, tmp_path: Path) -> None:
        held = _shared(tmp_path) / "held"
        granted = Grant(source=str(held.parent), target=str(held.parent), writable=True)
        observed = runtime.deploy(plan_for("--hold", str(held), grants=(granted,)), unasked)
        with Conversation(observed.stdio) as server:
            server.count()
        runtime.remove(observed.deployment)
        assert eventually(lambda: _is_free(held))
        assert not runtime.observe()
        assert not Path(observed.stdio.stdin).exists()
        with pytest.raises(NotFound):
            list(runtime.logs(observed.deployment))
        runtime.remove(observed.deployment)

    def test_a_removed_life_can_be_lived_anew(self, runtime: Runtime, plan_for: PlanMaker) -> None:
        observed = runtime.deploy(plan_for(), unasked)
        with Conversation(observed.stdio) as server:
            assert server.count()[0] == 1
        runtime.remove(observed.deployment)
        with Conversation(runtime.deploy(plan_for(), unasked).stdio) as server:
            assert server.count()[0] == 1

    def test_an_unknown_deployment_is_no_error(self, runtime: Runtime) -> None:
        unknown = Deployment(workload="unknown", generation=7)
        runtime.stop(unknown, 0)
        runtime.remove(unknown)
        assert not runtime.observe()

    def test_a_start_that_was_interrupted_is_whole_or_never_was(
        self, runtime: Runtime, again: Runtime, plan_for: PlanMaker
    ) -> None:
        for generation, moment in enumerate(_MOMENTS, start=1):
            plan = plan_for(deployment=Deployment(workload="interrupted", generation=generation))
            killed_after(moment, partial(runtime.deploy, plan, unasked))
            listed = again.observe()
            assert all(each.state is ObservedState.RUNNING for each in listed)
            observed = again.deploy(plan, unasked)
            assert not listed or listed[0].pid == observed.pid
            with Conversation(observed.stdio) as server:
                assert server.count()[0] == 1, f"interrupted after {moment} seconds"
            assert len(again.observe()) == 1
            again.remove(plan.deployment)


def _only(runtime: Runtime) -> Observed:
    (observed,) = runtime.observe()
    return observed


def _shared(tmp_path: Path) -> Path:
    folder = tmp_path / "shared"
    folder.mkdir()
    # A server may run as somebody else.
    folder.chmod(0o777)
    return folder


def _is_free(file: Path) -> bool:
    with file.open("rb") as opened:
        try:
            fcntl.flock(opened, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return False
        return True


def _argument_vectors() -> Iterator[bytes]:
    for folder in Path("/proc").glob("[0-9]*"):
        try:
            yield (folder / "cmdline").read_bytes()
        except OSError:
            continue


def _holds(file: Path, text: str) -> bool:
    try:
        return text.encode() in file.read_bytes()
    except OSError:
        return False
