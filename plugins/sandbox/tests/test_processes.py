from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from thv_sandbox.processes import (
    ProcessIdentity,
    alive,
    children,
    command_name,
    holders,
    identity,
    reap,
    send_signal,
    send_signal_within,
    wait_for_end,
)
from thv_testkit.waiting import eventually


@pytest.fixture
def sleeper() -> Iterator[subprocess.Popen[bytes]]:
    process = subprocess.Popen(["/bin/sleep", "100"])
    yield process
    process.kill()
    process.wait()


def identified(process: subprocess.Popen[bytes]) -> ProcessIdentity:
    found = identity(process.pid)
    assert found is not None
    return found


def test_a_process_is_alive_until_it_ended_even_as_a_zombie(sleeper: subprocess.Popen[bytes]) -> None:
    process = identified(sleeper)
    assert alive(process)
    send_signal(process, signal.SIGKILL)
    assert wait_for_end((process,), 5)
    assert not alive(process)
    assert identity(process.pid) == process


def test_a_zombie_is_buried_by_its_pid() -> None:
    pid = os.spawnv(os.P_NOWAIT, "/bin/true", ["true"])
    process = identity(pid)
    assert process is not None
    assert wait_for_end((process,), 5)
    reap(process)
    assert identity(pid) is None
    reap(process)


def test_a_reused_pid_is_nobody(sleeper: subprocess.Popen[bytes]) -> None:
    process = identified(sleeper)
    former = ProcessIdentity(pid=process.pid, start=process.start - 1)
    assert not alive(former)
    send_signal(former, signal.SIGKILL)
    reap(former)
    assert wait_for_end((former,), 0)
    assert sleeper.poll() is None


def test_waiting_is_bounded_and_ends_with_the_first(sleeper: subprocess.Popen[bytes]) -> None:
    process = identified(sleeper)
    assert not wait_for_end((process,), 0.01)
    other = subprocess.Popen(["/bin/true"])
    assert wait_for_end((process, identified(other)), 5)
    other.wait()


def test_children_and_names_are_found(sleeper: subprocess.Popen[bytes]) -> None:
    process = identified(sleeper)
    assert process in children(os.getpid())
    assert command_name(process) == "sleep"
    assert command_name(ProcessIdentity(pid=2**22 + 1, start=0)) == ""
    assert identity(0) is None


def test_holders_of_a_file_are_found_without_ourselves(tmp_path: Path) -> None:
    file = tmp_path / "file"
    assert holders(file) == ()
    with file.open("w") as opened:
        assert holders(file) == ()
        command = [sys.executable, "-c", "import sys; sys.stdin.read()"]
        with subprocess.Popen(command, stdin=subprocess.PIPE, pass_fds=[opened.fileno()]) as process:
            assert holders(file) == (identified(process),)


def test_only_what_is_in_the_namespace_of_the_first_process_is_signalled(sleeper: subprocess.Popen[bytes]) -> None:
    ours = identity(os.getpid())
    assert ours is not None
    command = ["unshare", "--user", "--pid", "--fork", "/bin/sleep", "100"]
    with subprocess.Popen(command) as outside:
        (inside,) = eventually(lambda: [each for each in children(outside.pid) if command_name(each) == "sleep"])
        send_signal_within(inside, sleeper.pid, signal.SIGKILL)
        send_signal_within(ProcessIdentity(pid=ours.pid, start=ours.start - 1), sleeper.pid, signal.SIGKILL)
        assert alive(identified(sleeper))
        send_signal_within(inside, inside.pid, signal.SIGKILL)
        eventually(lambda: not alive(inside))
    send_signal_within(ours, sleeper.pid, signal.SIGKILL)
    assert sleeper.wait(5) == -signal.SIGKILL
    send_signal_within(ours, sleeper.pid, signal.SIGKILL)
