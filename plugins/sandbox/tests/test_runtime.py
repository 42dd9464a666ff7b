"""What the sandbox does beyond the contract of runtimes."""

from __future__ import annotations

import dataclasses
import os
import signal
import subprocess
import threading
import time
from pathlib import Path
from typing import Any

import msgspec
import pytest

from thv_core.errors import InvalidRequest, RuntimeUnavailable, SettingsError, StartFailed, TimedOut, Unsupported
from thv_core.spi import (
    Deployment,
    DeploymentPlan,
    Environment,
    Grant,
    Namespace,
    Network,
    Observed,
    ObservedState,
    Outbound,
    PackageRoot,
    Surroundings,
)
from thv_sandbox import binary, cgroups, ending, instances, launching, probing, sockets, spawning
from thv_sandbox import runtime as runtime_module
from thv_sandbox.binary import Bubblewrap
from thv_sandbox.instances import DeploymentFiles, Instance, Instances
from thv_sandbox.processes import ProcessIdentity, alive, boot_identity, children, identity
from thv_sandbox.runtime import SandboxRuntime
from thv_testkit.runtime_fixtures import unasked
from thv_testkit.waiting import eventually

DEPLOYMENT = Deployment(workload="sandboxed", generation=1)


@pytest.fixture
def runtime(surroundings: Surroundings) -> SandboxRuntime:
    return SandboxRuntime(surroundings)


@pytest.fixture
def files(surroundings: Surroundings) -> DeploymentFiles:
    return Instances(surroundings.state).files(DEPLOYMENT)


@pytest.fixture(autouse=True)
def nothing_is_left_behind(runtime: SandboxRuntime):
    yield
    for each in runtime.observe():
        runtime.remove(each.deployment)


def shell(tmp_path: Path, script: str, **changes: object) -> DeploymentPlan:
    (tmp_path / "package").mkdir(exist_ok=True)
    root = PackageRoot(path=str(tmp_path / "package"), command=("/bin/sh",))
    plan = DeploymentPlan(deployment=DEPLOYMENT, command=("/bin/sh", "-c", script), root=root)
    return msgspec.structs.replace(plan, **changes)


def exited(runtime: SandboxRuntime) -> Observed:
    (found,) = eventually(lambda: [each for each in runtime.observe() if each.state is ObservedState.EXITED])
    return found


def test_a_setting_is_refused(surroundings: Surroundings) -> None:
    with pytest.raises(SettingsError, match="speed"):
        SandboxRuntime.from_settings({"speed": 3}, surroundings)


def test_the_probe_names_the_bubblewrap_in_use(runtime: SandboxRuntime) -> None:
    probe = runtime.probe()
    assert probe.ready
    assert "bubblewrap 0." in probe.detail
    assert "bwrap" in probe.detail


def test_a_machine_that_refuses_is_described_and_nothing_runs_unisolated(
    surroundings: Surroundings, tmp_path: Path
) -> None:
    broken = tmp_path / "bwrap"
    broken.write_text("#!/bin/sh\necho 'bwrap: setting up uid map: Permission denied' >&2\nexit 1\n")
    broken.chmod(0o755)
    runtime = SandboxRuntime(surroundings, lambda: Bubblewrap(path=str(broken), version="0.8.0", origin="system"))
    probe = runtime.probe()
    assert not probe.ready
    assert "setting up uid map: Permission denied" in probe.detail
    assert str(broken) in probe.detail
    assert probe.hint
    for call in (
        lambda: runtime.prepare(shell(tmp_path, "true"), print),
        lambda: runtime.deploy(shell(tmp_path, "true"), unasked),
    ):
        with pytest.raises(RuntimeUnavailable):
            call()
    assert not list(surroundings.state.iterdir())


def test_another_system_is_told_so(runtime: SandboxRuntime, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("thv_sandbox.runtime.platform.system", lambda: "Darwin")
    probe = runtime.probe()
    assert not probe.ready
    assert "needs Linux" in probe.detail
    assert probe.hint


@pytest.mark.parametrize("mode", ["host", "my-network"])
def test_a_network_that_is_not_the_server_s_own_is_refused(runtime: SandboxRuntime, tmp_path: Path, mode: str) -> None:
    plan = shell(tmp_path, "true", network=Network(mode=mode, outbound=Outbound(allow_host=("example.com",))))
    for call in (lambda: runtime.prepare(plan, print), lambda: runtime.deploy(plan, unasked)):
        with pytest.raises(Unsupported, match=f"no network '{mode}'") as caught:
            call()
        assert "--allow-network" in caught.value.hint


def test_a_missing_command_is_evidence_and_leaves_nothing(
    runtime: SandboxRuntime, tmp_path: Path, files: DeploymentFiles
) -> None:
    with pytest.raises(StartFailed) as caught:
        runtime.deploy(shell(tmp_path, "", command=("/nowhere/server",)), unasked)
    assert any("/nowhere/server" in line and "No such file" in line for line in caught.value.evidence)
    assert not files.directory.exists()
    assert not runtime.observe()


def test_a_mount_that_bubblewrap_refuses_is_evidence(
    runtime: SandboxRuntime, tmp_path: Path, surroundings: Surroundings
) -> None:
    (tmp_path / "file").write_text("")
    impossible = Grant(source=str(tmp_path / "file"), target="/data/" + "x" * 300, writable=False)
    with pytest.raises(StartFailed) as caught:
        runtime.deploy(shell(tmp_path, "true", grants=(impossible,)), unasked)
    assert "File name too long" in caught.value.evidence[-1]
    assert not list(surroundings.state.iterdir())


def test_a_plan_that_is_refused_leaves_nothing(
    runtime: SandboxRuntime, tmp_path: Path, surroundings: Surroundings
) -> None:
    plan = shell(tmp_path, "true", environment=Environment(values={"LD_PRELOAD": "evil.so"}))
    for call in (lambda: runtime.prepare(plan, print), lambda: runtime.deploy(plan, unasked)):
        with pytest.raises(InvalidRequest, match="LD_PRELOAD"):
            call()
    assert not list(surroundings.state.iterdir())


def test_an_environment_that_no_process_can_have_is_refused_without_its_value(
    runtime: SandboxRuntime, tmp_path: Path
) -> None:
    with pytest.raises(StartFailed) as caught:
        runtime.deploy(shell(tmp_path, "true", environment=Environment(values={"TOKEN": "secret\0value"})), unasked)
    assert "secret" not in str(caught.value)
    assert not runtime.observe()


def test_a_server_that_ends_at_once_did_start(runtime: SandboxRuntime, tmp_path: Path) -> None:
    runtime.deploy(shell(tmp_path, "echo ended >&2; exit 7"), unasked)
    assert exited(runtime).exit_code == 7
    assert b"".join(runtime.logs(DEPLOYMENT)) == b"ended\n"
    assert runtime.deploy(shell(tmp_path, "exit 7"), unasked).state is ObservedState.EXITED


def test_a_server_that_catches_the_signal_can_tidy_up(runtime: SandboxRuntime, tmp_path: Path) -> None:
    runtime.deploy(
        shell(tmp_path, "trap 'echo tidied >&2; exit 9' TERM; echo ready >&2; while :; do sleep 0.05; done"), unasked
    )
    eventually(lambda: b"ready" in b"".join(runtime.logs(DEPLOYMENT)))
    runtime.stop(DEPLOYMENT, 10)
    assert exited(runtime).exit_code == 9
    assert b"tidied" in b"".join(runtime.logs(DEPLOYMENT))


def test_a_server_that_is_killed_has_the_code_of_the_signal(runtime: SandboxRuntime, tmp_path: Path) -> None:
    runtime.deploy(shell(tmp_path, "sleep 100"), unasked)
    runtime.stop(DEPLOYMENT, 0)
    assert exited(runtime).exit_code == 128 + signal.SIGKILL


def test_what_a_server_left_in_the_background_ends_with_it(
    runtime: SandboxRuntime, tmp_path: Path, files: DeploymentFiles
) -> None:
    runtime.deploy(shell(tmp_path, "sleep 100 & exit 4"), unasked)
    assert exited(runtime).exit_code == 4
    instance = files.read()
    assert instance is not None
    assert not alive(instance.server)


def test_background_processes_do_not_use_up_the_grace(runtime: SandboxRuntime, tmp_path: Path) -> None:
    script = "(trap '' TERM; sleep 100) & trap 'exit 0' TERM; echo ready >&2; while :; do sleep 0.05; done"
    runtime.deploy(shell(tmp_path, script), unasked)
    eventually(lambda: b"ready" in b"".join(runtime.logs(DEPLOYMENT)))
    before = time.monotonic()
    runtime.stop(DEPLOYMENT, 30)
    assert time.monotonic() - before < 10
    assert exited(runtime).exit_code == 0


def test_a_server_outlives_the_bubblewrap_that_watches_it(
    runtime: SandboxRuntime, tmp_path: Path, files: DeploymentFiles
) -> None:
    observed = runtime.deploy(shell(tmp_path, "exec sleep 100"), unasked)
    instance = files.read()
    assert instance is not None
    os.kill(instance.monitor.pid, signal.SIGKILL)
    eventually(lambda: not alive(instance.monitor))
    assert runtime.observe() == [observed]
    runtime.stop(DEPLOYMENT, 5)
    assert exited(runtime).exit_code is None
    assert identity(instance.monitor.pid) != instance.monitor


def test_a_deployment_from_before_a_reboot_has_exited_and_its_pid_is_left_alone(
    runtime: SandboxRuntime, tmp_path: Path, files: DeploymentFiles
) -> None:
    runtime.deploy(shell(tmp_path, "sleep 100"), unasked)
    instance = files.read()
    assert instance is not None
    groups = files.control_groups()
    files.write(msgspec.structs.replace(instance, boot="another boot"))
    assert exited(runtime).exit_code is None
    runtime.stop(DEPLOYMENT, 0)
    runtime.remove(DEPLOYMENT)
    assert alive(instance.server)
    os.kill(instance.server.pid, signal.SIGKILL)
    os.waitpid(instance.monitor.pid, 0)
    cgroups.remove(groups)


def test_a_pid_that_somebody_else_has_by_now_is_left_alone(
    runtime: SandboxRuntime, tmp_path: Path, files: DeploymentFiles
) -> None:
    runtime.deploy(shell(tmp_path, "exit 3"), unasked)
    exited(runtime)
    instance, ours = files.read(), identity(os.getpid())
    assert instance is not None
    assert ours is not None
    reused = msgspec.structs.replace(ours, start=ours.start - 1)
    files.write(msgspec.structs.replace(instance, server=reused, monitor=reused))
    assert exited(runtime).exit_code == 3
    runtime.stop(DEPLOYMENT, 0)
    runtime.remove(DEPLOYMENT)


def test_a_start_that_is_under_way_elsewhere_is_not_taken_for_an_interrupted_one(
    runtime: SandboxRuntime, surroundings: Surroundings, tmp_path: Path, files: DeploymentFiles
) -> None:
    with Instances(surroundings.state).locked(DEPLOYMENT.workload, 1):
        files.create()
        assert runtime.observe() == []
        assert files.directory.exists()
    assert runtime.observe() == []
    assert not files.directory.parent.exists()


def test_looking_waits_for_no_workload_that_somebody_is_busy_with(
    runtime: SandboxRuntime, surroundings: Surroundings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    observed = runtime.deploy(shell(tmp_path, "sleep 100"), unasked)
    instances = Instances(surroundings.state)
    starting = instances.files(Deployment(workload=DEPLOYMENT.workload, generation=2))

    def no_sleep(seconds: float) -> None:
        raise AssertionError(f"it waits for {seconds} seconds")

    with instances.locked(DEPLOYMENT.workload, 1):
        starting.create()
        monkeypatch.setattr("thv_sandbox.instances.time.sleep", no_sleep)
        assert runtime.observe() == [observed]
        assert starting.directory.exists()
    assert runtime.observe() == [observed]
    assert not starting.directory.exists()


def test_a_start_that_succeeds_during_a_look_is_not_overlooked(
    runtime: SandboxRuntime, surroundings: Surroundings, tmp_path: Path, files: DeploymentFiles
) -> None:
    observed = runtime.deploy(shell(tmp_path, "sleep 100"), unasked)
    instance = files.read()
    assert instance is not None
    files.write(msgspec.structs.replace(instance, started=False))

    class Finishing(Instances):
        def locked(self, workload: str, seconds: float):
            files.write(instance)
            return super().locked(workload, seconds)

    runtime._instances = Finishing(surroundings.state)
    with Instances(surroundings.state).locked(DEPLOYMENT.workload, 1):
        assert runtime.observe() == [observed]


def test_a_stop_that_waited_for_a_start_ends_what_was_started(
    runtime: SandboxRuntime, surroundings: Surroundings, files: DeploymentFiles, monkeypatch: pytest.MonkeyPatch
) -> None:
    waiting, sleep = threading.Event(), time.sleep
    monkeypatch.setattr("thv_sandbox.instances.time.sleep", lambda seconds: (waiting.set(), sleep(seconds)))
    stop = threading.Thread(target=runtime.stop, args=(DEPLOYMENT, 0))
    process = subprocess.Popen(["sleep", "100"])
    server = identity(process.pid)
    assert server is not None
    instance = Instance(
        deployment=DEPLOYMENT, boot=boot_identity(), server=server, monitor=server, started_at=1.0, started=True
    )
    with Instances(surroundings.state).locked(DEPLOYMENT.workload, 1):
        files.create()
        stop.start()
        assert waiting.wait(10)
        files.write(instance)
    stop.join(20)
    assert not alive(server)
    process.wait(10)


def test_a_workload_that_stays_busy_is_told_by_every_call_that_changes_it(
    runtime: SandboxRuntime,
    surroundings: Surroundings,
    tmp_path: Path,
    files: DeploymentFiles,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    for limit in ("_DEPLOY_SECONDS", "_REMOVE_SECONDS"):
        monkeypatch.setattr(f"thv_sandbox.runtime.{limit}", 0.05)
    plan = shell(tmp_path, "true")
    with Instances(surroundings.state).locked(DEPLOYMENT.workload, 1):
        files.create()
        for call in (
            lambda: runtime.deploy(plan, unasked),
            lambda: runtime.stop(DEPLOYMENT, 0),
            lambda: runtime.remove(DEPLOYMENT),
        ):
            with pytest.raises(TimedOut, match=DEPLOYMENT.workload):
                call()


def test_a_source_that_is_exchanged_during_the_start_is_not_followed(
    runtime: SandboxRuntime, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, text in (("granted", "a note"), ("private", "a secret")):
        (tmp_path / name).mkdir()
        (tmp_path / name / "note").write_text(text)
    # For another account, what was opened is bound elsewhere before bubblewrap is called.
    step = "carried" if os.getuid() == 0 else "_execute"
    original = getattr(spawning, step)

    def exchanging(*arguments: Any) -> Any:
        (tmp_path / "granted").rename(tmp_path / "moved")
        (tmp_path / "granted").symlink_to(tmp_path / "private")
        return original(*arguments)

    monkeypatch.setattr(spawning, step, exchanging)
    granted = Grant(source=str(tmp_path / "granted"), target="/data", writable=False)
    runtime.deploy(shell(tmp_path, "cat /data/note >&2", grants=(granted,)), unasked)
    exited(runtime)
    assert b"".join(runtime.logs(DEPLOYMENT)) == b"a note"


def test_a_source_that_is_exchanged_before_it_is_opened_is_refused_and_leaves_nothing(
    runtime: SandboxRuntime, tmp_path: Path, surroundings: Surroundings, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "granted").mkdir()
    create = DeploymentFiles.create

    def exchanging(files: DeploymentFiles) -> None:
        create(files)
        (tmp_path / "granted").rmdir()
        (tmp_path / "granted").symlink_to("/etc")

    monkeypatch.setattr(DeploymentFiles, "create", exchanging)
    granted = Grant(source=str(tmp_path / "granted"), target="/data", writable=False)
    with pytest.raises(StartFailed, match="which leads to /etc"):
        runtime.deploy(shell(tmp_path, "true", grants=(granted,)), unasked)
    assert not list(surroundings.state.iterdir())


def test_thv_s_own_folders_are_refused_and_so_is_the_state_of_the_sandbox(
    surroundings: Surroundings, tmp_path: Path
) -> None:
    (tmp_path / "config").mkdir()
    runtime = SandboxRuntime(dataclasses.replace(surroundings, forbidden=(tmp_path / "config",)))
    for folder in (tmp_path / "config", surroundings.state):
        plan = shell(tmp_path, "true", grants=(Grant(source=str(folder), target="/data", writable=False),))
        for call in (lambda plan=plan: runtime.prepare(plan, print), lambda plan=plan: runtime.deploy(plan, unasked)):
            with pytest.raises(InvalidRequest, match="thv's own files"):
                call()


def test_a_bubblewrap_that_never_answers_fails_in_time_and_leaves_nothing(
    surroundings: Surroundings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    mute = tmp_path / "bwrap"
    mute.write_text('#!/bin/sh\ncase "$*" in *"-- true") exit 0;; esac\nexec sleep 1000\n')
    mute.chmod(0o755)
    runtime = SandboxRuntime(surroundings, lambda: Bubblewrap(path=str(mute), version="0.8.0", origin="system"))
    monkeypatch.setattr(launching, "START_SECONDS", 0.3)
    before = time.monotonic()
    with pytest.raises(StartFailed, match="did not start"):
        runtime.deploy(shell(tmp_path, "true"), unasked)
    assert time.monotonic() - before < 10
    assert not list(surroundings.state.iterdir())


def test_the_limits_of_a_start_add_up_to_less_than_control_waits() -> None:
    asking = 2 * binary._SECONDS + probing._SECONDS
    failing = 2 * ending.KILL_SECONDS
    searching = sockets._SECONDS + instances.ALONE_SECONDS
    assert asking + searching + runtime_module._DEPLOY_SECONDS + launching.START_SECONDS + failing <= 55


def test_several_threads_that_start_one_deployment_start_one_server(runtime: SandboxRuntime, tmp_path: Path) -> None:
    found: list[Observed] = []
    plan = shell(tmp_path, "sleep 100")
    threads = [threading.Thread(target=lambda: found.append(runtime.deploy(plan, unasked))) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(30)
    assert len(found) == 4
    assert len({each.pid for each in found}) == 1


def test_no_thread_of_ours_keeps_a_server_alive(runtime: SandboxRuntime, tmp_path: Path) -> None:
    thread = threading.Thread(target=runtime.deploy, args=(shell(tmp_path, "sleep 100"), unasked))
    thread.start()
    thread.join(30)
    (observed,) = runtime.observe()
    assert observed.state is ObservedState.RUNNING


def test_files_are_private(runtime: SandboxRuntime, tmp_path: Path, files: DeploymentFiles) -> None:
    runtime.deploy(shell(tmp_path, "sleep 100"), unasked)
    modes = {path.name: path.stat().st_mode & 0o777 for path in files.directory.iterdir()}
    assert set(modes.values()) == {0o600}
    assert files.directory.stat().st_mode & 0o777 == 0o700


def test_a_name_that_is_a_path_is_refused(runtime: SandboxRuntime, tmp_path: Path) -> None:
    for name in ("..", "a/b", ""):
        with pytest.raises(InvalidRequest):
            runtime.remove(Deployment(workload=name, generation=1))


def test_a_server_whose_first_process_is_frozen_is_still_killed(runtime: SandboxRuntime, tmp_path: Path) -> None:
    observed = runtime.deploy(shell(tmp_path, "sleep 100"), unasked)
    for child in children(observed.pid):
        os.kill(child.pid, signal.SIGSTOP)
    runtime.stop(DEPLOYMENT, 0.2)
    assert exited(runtime).state is ObservedState.EXITED


def test_a_server_that_closes_its_log_to_us_gains_nothing(
    runtime: SandboxRuntime, tmp_path: Path, files: DeploymentFiles
) -> None:
    script = "chmod 0 /proc/self/fd/0 /proc/self/fd/1 /proc/self/fd/2; echo closed >&2; sleep 100"
    runtime.deploy(shell(tmp_path, script), unasked)
    eventually(lambda: b"closed" in b"".join(runtime.logs(DEPLOYMENT)))
    assert len(runtime.observe()) == 1
    assert {path.stat().st_mode & 0o777 for path in (files.stdin, files.stdout, files.log)} == {0o600}


def test_the_machine_is_preferred_to_a_server(runtime: SandboxRuntime, tmp_path: Path) -> None:
    runtime.deploy(shell(tmp_path, "cat /proc/self/oom_score_adj >&2; nice >&2; sleep 100"), unasked)
    lines = eventually(lambda: b"".join(runtime.logs(DEPLOYMENT)).split())
    assert int(lines[0]) >= 500


def test_a_network_that_cannot_be_connected_ends_the_start(
    runtime: SandboxRuntime, tmp_path: Path, surroundings: Surroundings
) -> None:
    spaces: list[Namespace] = []

    def refuse(space: Namespace) -> None:
        spaces.append(space)
        raise Unsupported("refused")

    with pytest.raises(Unsupported, match="refused"):
        runtime.deploy(shell(tmp_path, "sleep 100", port=8000), refuse)
    assert not alive(ProcessIdentity(pid=spaces[0].pid, start=spaces[0].start))
    assert not list(surroundings.state.iterdir())


def test_what_bubblewrap_said_is_told_rather_than_that_its_namespace_is_gone(
    runtime: SandboxRuntime, tmp_path: Path
) -> None:
    (tmp_path / "file").write_text("")
    impossible = Grant(source=str(tmp_path / "file"), target="/data/" + "x" * 300, writable=False)

    def late(space: Namespace) -> None:
        eventually(lambda: not alive(ProcessIdentity(pid=space.pid, start=space.start)))
        raise OSError("no such namespace")

    with pytest.raises(StartFailed) as caught:
        runtime.deploy(shell(tmp_path, "true", grants=(impossible,), port=8000), late)
    assert "File name too long" in caught.value.evidence[-1]


def test_a_server_whose_record_cannot_be_read_is_ended_not_forgotten(
    runtime: SandboxRuntime, tmp_path: Path, files: DeploymentFiles
) -> None:
    runtime.deploy(shell(tmp_path, "sleep 100"), unasked)
    instance = files.read()
    assert instance is not None
    files.instance.write_bytes(b'{"of": "another version"}')
    assert runtime.observe() == []
    assert not alive(instance.server)
    assert not files.directory.exists()


def test_the_limits_are_set_as_another_user_only_where_root_may_not(
    runtime: SandboxRuntime, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    acting: list[object] = []
    monkeypatch.setattr(launching, "acting_as", lambda account, work: acting.append(account))
    monkeypatch.setattr(launching.limits, "apply", lambda pid, limits, groups: None)
    runtime.deploy(shell(tmp_path, "sleep 100"), unasked)
    assert acting == []
    runtime.remove(DEPLOYMENT)

    def forbidden(*arguments: object) -> None:
        raise PermissionError

    monkeypatch.setattr(launching.limits, "apply", forbidden)
    runtime.deploy(shell(tmp_path, "sleep 100"), unasked)
    assert len(acting) == 1
