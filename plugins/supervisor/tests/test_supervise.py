"""The real supervisor as a process of its own, with stand-ins for its two children.

The stand-ins lie in a package ``thv_supervisor`` on PYTHONPATH, beside a copy of the real ``supervise.py``: nothing
else is patched, so a supervisor that re-executes itself finds the same stand-ins again.
"""

from __future__ import annotations

import fcntl
import importlib.util
import itertools
import json
import os
import re
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from thv_supervisor import supervise
from thv_testkit.waiting import eventually

LIMIT = 40.0
NAMES = ("control", "gateway")
CHILD = """
import json, os, pathlib, signal, subprocess, sys, time

name = __spec__.name.rpartition(".")[2].partition("_")[0]
state = pathlib.Path(os.environ["STATE_OF_TEST"])
behaviour = state / f"{name}.behaves"
how = behaviour.read_text() if behaviour.exists() else ""


def note(what, **more):
    line = json.dumps({"what": what, "pid": os.getpid(), "at": time.monotonic(), **more}) + "\\n"
    with open(state / f"{name}.notes", "a") as notes:
        notes.write(line)


if how == "stubborn":
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
files = [os.readlink(f"/proc/self/fd/{each}") for each in os.listdir("/proc/self/fd") if
         os.path.exists(f"/proc/self/fd/{each}")]
blocked = [int(each) for each in signal.pthread_sigmask(signal.SIG_BLOCK, ())]
note("began", executable=sys.executable, parent=os.getppid(), files=files, blocked=blocked, path=sys.path)
if how == "exits":
    sys.exit(3)
if how == "leaves an orphan":
    orphan = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(60)"], start_new_session=True)
    note("left", orphan=orphan.pid)
    os._exit(0)
os.read(int(sys.argv[1]), 1)
note("saw the end")
"""


class Family:
    """A supervisor and its children, seen from outside."""

    def __init__(self, folder: Path) -> None:
        self.state = folder / "state"
        self.state.mkdir()
        self.errors = folder / "errors"
        self.link = self.state / "interpreter"
        self.link.symlink_to(sys.executable)
        self.modules = folder / "modules" / "thv_supervisor"
        self.modules.mkdir(parents=True)
        (self.modules / "__init__.py").touch()
        for module in ("control", "gateway_process"):
            (self.modules / f"{module}.py").write_text(CHILD)
        self.program()
        self.environment = {
            **os.environ,
            "PYTHONPATH": str(self.modules.parent),
            "STATE_OF_TEST": str(self.state),
            "PYTHONDONTWRITEBYTECODE": "1",
        }
        self.started: list[subprocess.Popen[bytes]] = []

    def program(self, **constants: float) -> None:
        source = Path(supervise.__file__).read_text(encoding="utf-8")
        for name, value in constants.items():
            source, count = re.subn(rf"^{name} = .*$", f"{name} = {value}", source, flags=re.MULTILINE)
            assert count == 1, name
        (self.modules / "supervise.py").write_text(source)

    def start(self) -> subprocess.Popen[bytes]:
        command = [sys.executable, "-P", "-m", "thv_supervisor.supervise", str(self.state)]
        with self.errors.open("ab") as errors:
            self.started.append(subprocess.Popen(command, env=self.environment, stderr=errors))
        return self.started[-1]

    def running(self) -> subprocess.Popen[bytes]:
        """Start it and wait until both children began."""
        process = self.start()
        for name in NAMES:
            eventually(lambda name=name: self.notes(name, "began"), LIMIT)
        return process

    def behave(self, name: str, how: str) -> None:
        (self.state / f"{name}.behaves").write_text(how)

    def notes(self, name: str, what: str) -> list[dict[str, Any]]:
        file = self.state / f"{name}.notes"
        lines = file.read_text().splitlines() if file.exists() else []
        return [note for note in map(json.loads, lines) if note["what"] == what]

    def began(self, name: str, times: int = 1) -> dict[str, Any]:
        """Wait for the start of that number, and return its note."""
        return eventually(lambda: self.notes(name, "began")[times - 1 :], LIMIT)[0]

    def locked(self) -> bool:
        with (self.state / "supervisor.lock").open("a") as lock:
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                return True
        return False

    def end(self) -> None:
        for process in self.started:
            process.kill()
            process.wait()
        for name in NAMES:
            for note in self.notes(name, "began") + self.notes(name, "left"):
                pid = note.get("orphan", note["pid"])
                if is_ours(pid, self.modules.parent):
                    os.kill(pid, signal.SIGKILL)


def is_ours(pid: int, modules: Path) -> bool:
    try:
        return str(modules).encode() in Path(f"/proc/{pid}/environ").read_bytes()
    except OSError:
        return False


def is_alive(pid: int) -> bool:
    return state_of(pid) not in ("", "Z")


def state_of(pid: int) -> str:
    """Return the letter of a process's state, empty when there is none."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except OSError:
        return ""


def parent_of(pid: int) -> int:
    try:
        return int(Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[1])
    except OSError:
        return 0


@pytest.fixture
def family(tmp_path: Path) -> Iterator[Family]:
    family = Family(tmp_path)
    yield family
    family.end()


def test_both_children_start_under_the_linked_interpreter_with_no_signal_blocked(family: Family) -> None:
    process = family.running()
    for name in NAMES:
        note = family.began(name)
        assert (note["parent"], note["executable"], note["blocked"]) == (process.pid, sys.executable, [])
        assert "" not in note["path"]


@pytest.mark.parametrize("name", NAMES)
def test_a_child_that_dies_is_started_again_and_the_other_is_left_alone(family: Family, name: str) -> None:
    process = family.running()
    first = family.began(name)["pid"]
    os.kill(first, signal.SIGKILL)
    assert family.began(name, 2)["pid"] != first
    assert family.began(name, 2)["parent"] == process.pid
    (other,) = set(NAMES) - {name}
    assert len(family.notes(other, "began")) == 1
    assert is_alive(family.began(other)["pid"])


def test_a_child_that_ends_at_once_waits_longer_each_time(family: Family) -> None:
    family.behave("control", "exits")
    family.running()
    family.began("control", 6)
    starts = [note["at"] for note in family.notes("control", "began")][:6]
    pauses = [later - earlier for earlier, later in itertools.pairwise(starts)]
    for pause, least in zip(pauses, (0.05, 0.1, 0.2, 0.4, 0.8), strict=True):
        assert pause >= least * 0.95
    assert len(family.notes("gateway", "began")) == 1


def test_the_delay_is_bounded_and_ends_with_a_stable_life(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    one = supervise.Supervisor(str(tmp_path), 0, (0, 0), {})
    delays: list[float] = []
    for _ in range(9):
        one.alive["control"] = 1
        one.began["control"] = supervise.time.monotonic()
        one.put_off("control")
        delays.append(one.delay["control"])
    assert delays == [0.05, 0.1, 0.2, 0.4, 0.8, 1.6, 3.2, 5.0, 5.0]
    one.alive["control"] = 1
    one.began["control"] = supervise.time.monotonic() - supervise.STABLE - 1
    one.put_off("control")
    assert one.delay["control"] == 0.0
    assert one.due["control"] <= supervise.time.monotonic()


def test_a_second_supervisor_ends_at_once_without_an_error_and_starts_nothing(family: Family) -> None:
    family.running()
    second = family.start()
    assert second.wait(LIMIT) == 0
    assert family.errors.read_bytes() == b""
    assert [len(family.notes(name, "began")) for name in NAMES] == [1, 1]
    assert family.started[0].poll() is None


def test_a_supervisor_starts_although_somebody_looks_at_its_lock_at_that_moment(family: Family) -> None:
    with (family.state / "supervisor.lock").open("w") as looking:
        fcntl.flock(looking, fcntl.LOCK_EX)
        process = family.start()
        with pytest.raises(subprocess.TimeoutExpired):
            process.wait(0.25)
    eventually(lambda: all(family.notes(name, "began") for name in NAMES), LIMIT)
    assert process.poll() is None


def test_a_killed_supervisor_lets_go_of_its_lock_while_stubborn_children_live(family: Family) -> None:
    family.behave("control", "stubborn")
    process = family.running()
    assert family.locked()
    lock = str(family.state / "supervisor.lock")
    for name in NAMES:
        assert lock not in family.began(name)["files"]
    process.kill()
    process.wait(LIMIT)
    assert not family.locked()


def test_children_of_a_killed_supervisor_see_the_end_of_the_lifeline(family: Family) -> None:
    process = family.running()
    process.kill()
    for name in NAMES:
        eventually(lambda name=name: family.notes(name, "saw the end"), LIMIT)


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_ends_both_children_and_then_the_supervisor(family: Family, number: signal.Signals) -> None:
    process = family.running()
    pids = [family.began(name)["pid"] for name in NAMES]
    process.send_signal(number)
    assert process.wait(LIMIT) == 0
    assert not any(is_alive(pid) for pid in pids)
    assert [family.notes(name, "saw the end") for name in NAMES] == [[], []]
    assert not family.locked()


def test_a_child_that_ignores_sigterm_is_killed_after_the_grace(family: Family) -> None:
    family.program(GRACE=0.3)
    family.behave("gateway", "stubborn")
    process = family.running()
    stubborn = family.began("gateway")["pid"]
    process.terminate()
    assert process.wait(LIMIT) == 0
    eventually(lambda: not is_alive(stubborn), LIMIT)
    assert family.notes("gateway", "saw the end") == []


def is_deleted(lock: Path) -> None:
    lock.unlink()


def is_replaced(lock: Path) -> None:
    lock.with_name("fresh").touch()
    lock.with_name("fresh").replace(lock)


@pytest.mark.parametrize("fate", [is_deleted, is_replaced])
def test_a_supervisor_whose_lock_file_is_gone_ends_with_both_children(
    family: Family, fate: Callable[[Path], None]
) -> None:
    family.program(LOOK=0.2)
    process = family.running()
    pids = [family.began(name)["pid"] for name in NAMES]
    with pytest.raises(subprocess.TimeoutExpired):
        process.wait(0.6)
    fate(family.state / "supervisor.lock")
    assert process.wait(LIMIT) == 0
    assert not any(is_alive(pid) for pid in pids)


def another_python(folder: Path) -> Path:
    path = folder / "another" / "python"
    path.parent.mkdir()
    path.symlink_to(Path(sys.executable).resolve())
    return path


def test_sighup_hands_children_and_lock_to_the_linked_interpreter(family: Family, tmp_path: Path) -> None:
    process = family.running()
    pids = {name: family.began(name)["pid"] for name in NAMES}
    python = another_python(tmp_path)
    family.link.unlink()
    family.link.symlink_to(python)
    process.send_signal(signal.SIGHUP)
    eventually(lambda: Path(f"/proc/{process.pid}/cmdline").read_bytes().startswith(str(python).encode()), LIMIT)
    assert family.locked()
    os.kill(pids["control"], signal.SIGKILL)
    again = family.began("control", 2)
    assert (again["parent"], again["executable"]) == (process.pid, str(python))
    assert str(family.state / "supervisor.lock") not in again["files"]
    assert is_alive(pids["gateway"])
    assert len(family.notes("gateway", "began")) == 1
    process.kill()
    eventually(lambda: family.notes("gateway", "saw the end"), LIMIT)
    eventually(lambda: family.notes("control", "saw the end"), LIMIT)


def dangling(link: Path, folder: Path) -> None:
    link.symlink_to(folder / "no-such-python")


def not_a_program(link: Path, folder: Path) -> None:
    (folder / "text").write_text("no program")
    link.symlink_to(folder / "text")


def missing(link: Path, folder: Path) -> None:
    """Leave no link at all."""


BREAKAGES = [dangling, not_a_program, missing]


@pytest.mark.parametrize("breakage", BREAKAGES)
def test_an_unusable_link_stops_neither_the_supervisor_nor_its_restarts(
    family: Family, tmp_path: Path, breakage: Callable[[Path, Path], None]
) -> None:
    process = family.running()
    family.link.unlink()
    breakage(family.link, tmp_path)
    process.send_signal(signal.SIGHUP)
    os.kill(family.began("gateway")["pid"], signal.SIGKILL)
    again = family.began("gateway", 2)
    assert again["executable"] == sys.executable
    assert again["parent"] == process.pid
    assert is_alive(family.began("control")["pid"])
    assert family.locked()


def test_a_failed_succession_leaks_neither_lock_nor_lifeline_to_later_children(family: Family, tmp_path: Path) -> None:
    process = family.running()
    family.link.unlink()
    wrong = tmp_path / "wrong"
    wrong.write_bytes(b"\x7fELF of nothing")
    wrong.chmod(0o755)
    family.link.symlink_to(wrong)
    process.send_signal(signal.SIGHUP)
    # One that goes and comes is a proof that the signal before it was handled, too.
    os.kill(family.began("control")["pid"], signal.SIGKILL)
    eventually(lambda: process.poll() is not None or not is_alive(family.began("control")["pid"]), LIMIT)
    family.link.unlink()
    family.link.symlink_to(sys.executable)
    again = family.began("control", 2)
    assert str(family.state / "supervisor.lock") not in again["files"]
    process.kill()
    eventually(lambda: family.notes("control", "saw the end"), LIMIT)


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux has subreapers")
def test_an_orphan_becomes_a_child_of_the_supervisor_and_is_collected(family: Family) -> None:
    family.behave("gateway", "leaves an orphan")
    process = family.start()
    orphan = eventually(lambda: family.notes("gateway", "left"), LIMIT)[0]["orphan"]
    eventually(lambda: parent_of(orphan) == process.pid, LIMIT)
    os.kill(orphan, signal.SIGKILL)
    eventually(lambda: state_of(orphan) == "", LIMIT)


def test_it_imports_the_standard_library_only() -> None:
    program = "import sys, thv_supervisor.supervise; print(*{name.partition('.')[0] for name in sys.modules})"
    printed = subprocess.run([sys.executable, "-P", "-c", program], capture_output=True, text=True, check=True).stdout
    foreign = {name for name in printed.split() if name not in sys.stdlib_module_names and not name.startswith("_")}
    baseline = subprocess.run(
        [sys.executable, "-P", "-c", "import sys; print(*{name.partition('.')[0] for name in sys.modules})"],
        capture_output=True,
        text=True,
        check=True,
    ).stdout.split()
    assert foreign - set(baseline) == {"thv_supervisor"}


def test_the_real_modules_of_both_children_exist() -> None:
    for module in supervise.MODULES.values():
        assert importlib.util.find_spec(module)
