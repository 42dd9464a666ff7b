"""What the watch does, on real processes that stand for a sandbox."""

from __future__ import annotations

import subprocess
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import msgspec
import pytest

from thv_core.spi import Deployment
from thv_sandbox import usage, watching
from thv_sandbox.instances import DeploymentFiles, Instance, Instances
from thv_sandbox.processes import alive, boot_identity, descendants, identity
from thv_sandbox.usage import exceeds
from thv_sandbox.watching import Watch, note_memory
from thv_testkit.waiting import eventually

MEBIBYTE = 1 << 20
DEPLOYMENT = Deployment(workload="notes", generation=1)


@pytest.fixture
def files(tmp_path: Path) -> DeploymentFiles:
    found = Instances(tmp_path).files(DEPLOYMENT)
    found.create()
    return found


@pytest.fixture
def instance() -> Iterator[Instance]:
    """Give an instance whose first process has one child, which has one."""
    script = "sh -c 'sleep 1000; true'; true"
    with subprocess.Popen(["sh", "-c", script], start_new_session=True) as process:
        eventually(lambda: len(descendants(process.pid)) == 2)
        server = identity(process.pid)
        assert server is not None
        yield Instance(
            deployment=DEPLOYMENT,
            boot=boot_identity(),
            server=server,
            monitor=server,
            started_at=1.0,
            started=True,
            memory=4096 * MEBIBYTE,
        )
        for pid in (*descendants(process.pid), process.pid):
            subprocess.run(["kill", "-KILL", str(pid)], check=False, stderr=subprocess.DEVNULL)


def states(instance: Instance) -> set[str]:
    """Return the state letters of the descendants (proc_pid_stat(5))."""
    pids = descendants(instance.server.pid)
    return {Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] for pid in pids}


def test_usage_is_compared_with_the_limit(instance: Instance) -> None:
    assert exceeds(instance.server.pid, 1, ())
    assert not exceeds(instance.server.pid, 4096 * MEBIBYTE, ())


def test_memory_that_processes_share_is_counted_once(tmp_path: Path) -> None:
    program = "import os,mmap,time\nm=mmap.mmap(-1,64<<20)\nm.write(b'x'*(64<<20))\n" + "os.fork()\n" * 3
    program += "assert m[:]\nprint(1,flush=True)\ntime.sleep(100)\n"
    with subprocess.Popen(
        ["sh", "-c", '/usr/bin/python3 -c "$0"; true', program], stdout=subprocess.PIPE, start_new_session=True
    ) as process:
        assert process.stdout is not None
        for _ in range(8):
            process.stdout.readline()
        exceeded = {size: exceeds(process.pid, size * MEBIBYTE, ()) for size in (48, 300)}
        for pid in (*descendants(process.pid), process.pid):
            subprocess.run(["kill", "-KILL", str(pid)], check=False)
    assert exceeded == {48: True, 300: False}


def test_a_sandbox_that_uses_too_much_is_ended_with_a_note(instance: Instance, files: DeploymentFiles) -> None:
    watch = Watch(0.01)
    watch.begin(msgspec.structs.replace(instance, memory=MEBIBYTE // 4, watched=True), files)
    eventually(lambda: not alive(instance.server))
    assert files.notes() == ("ended: it used more than 262144 bytes of memory",)
    eventually(lambda: watch._thread is None)


def test_a_sandbox_that_a_control_group_limits_is_not_ended_by_looking(
    instance: Instance, files: DeploymentFiles
) -> None:
    watch = Watch(1000)
    watch.begin(msgspec.structs.replace(instance, memory=1), files)
    watch.look()
    assert alive(instance.server)
    assert files.notes() == ()


def test_a_flood_stops_the_processes_for_a_while_and_shortens_the_log(
    instance: Instance, files: DeploymentFiles, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(watching, "LOG_LIMIT", 1000)
    watch = Watch(1000)
    watch.begin(instance, files)
    files.log.write_bytes(b"x" * 1500)
    watch.look()
    assert files.notes() == ()
    files.log.write_bytes(b"x" * 2500)
    watch.look()
    eventually(lambda: states(instance) == {"T"})
    assert files.slowed.exists()
    assert files.notes() == (
        "floods its log (2500 bytes so far) and is slowed down; only the last 1000 bytes are kept",
    )
    for _ in range(watching._PAUSE_LOOKS):
        watch.look()
    eventually(lambda: states(instance) == {"S"})
    assert not files.slowed.exists()


def test_what_a_killed_predecessor_had_stopped_goes_on(instance: Instance, files: DeploymentFiles) -> None:
    watching._stop(instance, files)
    eventually(lambda: states(instance) == {"T"})
    Watch(1000).begin(instance, files)
    eventually(lambda: states(instance) == {"S"})
    assert not files.slowed.exists()


def test_the_notes_of_control_groups_say_whether_it_ended(
    instance: Instance, files: DeploymentFiles, tmp_path: Path
) -> None:
    (tmp_path / "memory.events").write_text("oom_kill 3\n")
    grouped = msgspec.structs.replace(instance, group=str(tmp_path), memory=8 * MEBIBYTE)
    note_memory(grouped, files, ended=False)
    assert files.notes() == ("processes of it were killed, 3 so far: together they used more than 8 MiB",)
    note_memory(grouped, files, ended=True)
    assert files.notes() == ("ended: it used more than 8 MiB of memory",)


def test_the_thread_ends_with_the_last_sandbox_and_begins_with_the_next(
    instance: Instance, files: DeploymentFiles
) -> None:
    watch = Watch(0.01)
    for _ in range(2):
        watch.begin(instance, files)
        assert watch._thread is not None
        watch._watched.clear()
        eventually(lambda: watch._thread is None)


def test_looking_is_cheap(instance: Instance, files: DeploymentFiles) -> None:
    watch = Watch(1000)
    watch.begin(msgspec.structs.replace(instance, watched=True), files)
    before = time.process_time()
    for _ in range(100):
        watch.look()
    assert (time.process_time() - before) / 100 < 0.005


def test_a_watch_whose_thread_failed_begins_anew_for_a_sandbox_that_it_knows(
    instance: Instance, files: DeploymentFiles
) -> None:
    watch = Watch(0.01)
    ended = threading.Thread()
    watch._watched[DEPLOYMENT.label] = watching._Watched(instance=instance, files=files)
    watch._thread = ended
    watch.begin(instance, files)
    assert watch._thread is not ended
    watch._watched.clear()
    eventually(lambda: watch._thread is None)


def test_asking_for_parts_is_bounded_and_then_all_counts(instance: Instance) -> None:
    pid = descendants(instance.server.pid)[0]
    assert usage._proportional(pid, time.thread_time() + 10) < usage._resident(pid)
    assert usage._proportional(pid, time.thread_time() - 1) == usage._resident(pid)
