"""Starting the processes in the background, with a stand-in for the supervisor."""

from __future__ import annotations

import fcntl
import json
import os
import signal
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from thv_core.state.paths import Paths
from thv_supervisor import init_systems
from thv_supervisor.launching import command, is_supervised, launch, prepare
from thv_supervisor.units import Boot, systemd_unit
from thv_testkit.waiting import eventually

LIMIT = 30.0
STAND_IN = """
import fcntl, json, os, sys
state = sys.argv[1]
lock = os.open(state + "/supervisor.lock", os.O_RDWR | os.O_CREAT, 0o600)
fcntl.flock(lock, fcntl.LOCK_EX)
print("to the log", file=sys.stderr, flush=True)
fact = {"pid": os.getpid(), "session": os.getsid(0), "directory": os.getcwd(), "argv": sys.argv,
    "executable": sys.executable, "input": os.readlink("/proc/self/fd/0"), "files": len(os.listdir("/proc/self/fd")),
    "link": os.readlink(state + "/interpreter"), "path": sys.path}
with open(state + "/facts", "a") as facts:
    facts.write(json.dumps(fact) + "\\n")
import time
time.sleep(60)
"""


@pytest.fixture
def facts(tmp_path: Path, paths: Paths, monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    """Put the stand-in before the real supervisor, and return what each of its starts noted."""
    package = tmp_path / "modules" / "thv_supervisor"
    package.mkdir(parents=True)
    (package / "__init__.py").touch()
    (package / "supervise.py").write_text(STAND_IN)
    monkeypatch.setenv("PYTHONPATH", str(package.parent))

    def noted() -> list[dict[str, Any]]:
        file = paths.state / "facts"
        return [json.loads(line) for line in file.read_text().splitlines()] if file.exists() else []

    yield noted
    for fact in noted():
        os.kill(fact["pid"], signal.SIGKILL)
        os.waitpid(fact["pid"], 0)


# Nobody waits for a process in the background: it is meant to outlive us.
@pytest.mark.filterwarnings("ignore:subprocess .* is still running:ResourceWarning")
def test_a_launch_starts_one_in_a_session_of_its_own_and_a_second_starts_none(facts: Any, paths: Paths) -> None:
    assert not is_supervised(paths)
    launch(paths)
    (fact,) = eventually(facts, LIMIT)
    assert fact["session"] == fact["pid"] != os.getsid(0)
    assert (fact["directory"], fact["input"]) == ("/", "/dev/null")
    assert fact["executable"] == fact["link"] == sys.executable
    assert "" not in fact["path"]
    assert is_supervised(paths)
    launch(paths)
    assert len(facts()) == 1
    eventually(lambda: paths.supervisor_log.read_text() == "to the log\n", LIMIT)
    assert paths.supervisor_log.stat().st_mode & 0o777 == 0o600


def test_the_command_runs_the_supervisor_of_this_interpreter_apart_from_the_directory(paths: Paths) -> None:
    assert command(paths) == [sys.executable, "-P", "-m", "thv_supervisor.supervise", str(paths.state)]


@contextmanager
def supervised(paths: Paths) -> Iterator[None]:
    """Hold the lock as a supervisor would."""
    descriptor = os.open(paths.lock, os.O_RDWR | os.O_CREAT, 0o600)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        yield
    finally:
        os.close(descriptor)


def test_to_look_for_a_supervisor_takes_nothing_from_it(paths: Paths) -> None:
    assert not is_supervised(paths)
    with supervised(paths):
        assert is_supervised(paths)
    assert not is_supervised(paths)


def test_somebody_else_who_looks_is_no_supervisor(paths: Paths, monkeypatch: pytest.MonkeyPatch) -> None:
    taken = fcntl.flock

    def and_look_too(descriptor: int, operation: int) -> None:
        taken(descriptor, operation)
        monkeypatch.setattr(fcntl, "flock", taken)
        assert not is_supervised(paths)

    monkeypatch.setattr(fcntl, "flock", and_look_too)
    assert not is_supervised(paths)


@pytest.mark.parametrize(("insist", "named"), [(False, "/other/python"), (True, sys.executable)])
def test_a_caller_that_insists_names_its_python_to_the_supervisor_that_is_there(
    facts: Any, paths: Paths, insist: bool, named: str
) -> None:
    paths.interpreter.symlink_to("/other/python")
    with supervised(paths):
        launch(paths, insist=insist)
    assert str(paths.interpreter.readlink()) == named
    assert not paths.supervisor_log.exists()
    assert facts() == []


@pytest.mark.filterwarnings("ignore:subprocess .* is still running:ResourceWarning")
@pytest.mark.parametrize(("size", "kept"), [(1 << 20, False), ((1 << 20) + 1, True)])
def test_a_launch_puts_a_long_log_aside(facts: Any, paths: Paths, size: int, kept: bool) -> None:
    aside = paths.supervisor_log.with_name("supervisor.log.1")
    aside.write_bytes(b"older")
    paths.supervisor_log.write_bytes(b"x" * size)
    launch(paths)
    eventually(facts, LIMIT)
    eventually(lambda: paths.supervisor_log.read_bytes().endswith(b"to the log\n"), LIMIT)
    assert aside.read_bytes() == (b"x" * size if kept else b"older")
    assert paths.supervisor_log.stat().st_size == len(b"to the log\n") + (0 if kept else size)


def test_a_supervisor_that_is_there_keeps_its_long_log(facts: Any, paths: Paths) -> None:
    paths.supervisor_log.write_bytes(b"x" * (1 << 21))
    with supervised(paths):
        launch(paths, insist=True)
    assert paths.supervisor_log.stat().st_size == 1 << 21


def test_what_is_needed_is_made_in_private_and_the_link_is_renewed(environment: dict[str, str], tmp_path: Path) -> None:
    paths = Paths.from_environment(environment | {"THV_HOME": str(tmp_path / "new")}, sys.platform)
    prepare(paths)
    assert paths.state.stat().st_mode & 0o777 == 0o700
    paths.interpreter.unlink()
    paths.interpreter.symlink_to("/gone/python")
    prepare(paths)
    assert str(paths.interpreter.readlink()) == sys.executable


# With a service -------------------------------------------------------------------------------------------------------


@pytest.fixture
def systemctl(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Put a systemctl on the path that notes its arguments and ends with the code in ``code``; return its folder."""
    folder = tmp_path / "systemd"
    folder.mkdir()
    program = folder / "systemctl"
    program.write_text(f'#!/bin/sh\necho "$@" >> {folder}/said\necho no bus\nexit $(cat {folder}/code)\n')
    program.chmod(0o755)
    (folder / "code").write_text("0")
    monkeypatch.setenv("PATH", f"{folder}:{os.environ['PATH']}")
    return folder


@pytest.fixture
def unit(tmp_path: Path, paths: Paths, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Install a unit that serves the state directory, for whoever runs this test."""
    file = tmp_path / "units" / "thv.service"
    file.parent.mkdir()
    file.write_text(systemd_unit(Boot(command=("/old/python", *command(paths)[1:]), log="/log")))
    monkeypatch.setattr(init_systems, "SYSTEM_UNITS", file.parent)
    if os.geteuid():
        monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "config"))
        (tmp_path / "config" / "systemd").mkdir(parents=True)
        (tmp_path / "config" / "systemd" / "user").symlink_to(file.parent)
    return file


def test_with_a_unit_installed_it_is_started_and_nothing_else(
    facts: Any, paths: Paths, unit: Path, systemctl: Path
) -> None:
    launch(paths)
    assert (systemctl / "said").read_text().split()[-2:] == ["start", "thv.service"]
    assert facts() == []
    assert not paths.supervisor_log.exists()
    assert str(paths.interpreter.readlink()) == sys.executable


@pytest.mark.filterwarnings("ignore:subprocess .* is still running:ResourceWarning")
def test_a_unit_that_does_not_start_is_told_of_and_the_processes_start_without_it(
    facts: Any, paths: Paths, unit: Path, systemctl: Path
) -> None:
    (systemctl / "code").write_text("1")
    said: list[str] = []
    launch(paths, message=said.append)
    eventually(facts, LIMIT)
    (line,) = said
    assert "systemd does not start the service of thv (no bus)" in line


@pytest.mark.filterwarnings("ignore:subprocess .* is still running:ResourceWarning")
def test_a_unit_whose_processes_do_not_last_is_passed_over_by_whoever_insists(
    facts: Any, paths: Paths, unit: Path, systemctl: Path
) -> None:
    said: list[str] = []
    launch(paths, insist=True, message=said.append)
    eventually(facts, LIMIT)
    assert not (systemctl / "said").exists()
    assert "what it starts does not last" in said[0]


@pytest.mark.filterwarnings("ignore:subprocess .* is still running:ResourceWarning")
def test_a_unit_of_another_state_directory_is_left_alone(facts: Any, paths: Paths, unit: Path, systemctl: Path) -> None:
    unit.write_text(unit.read_text().replace(str(paths.state), "/another/state"))
    launch(paths)
    eventually(facts, LIMIT)
    assert not (systemctl / "said").exists()


def test_a_supervisor_that_runs_without_the_unit_stays_the_only_one(
    facts: Any, paths: Paths, unit: Path, systemctl: Path
) -> None:
    with supervised(paths):
        launch(paths)
    assert not (systemctl / "said").exists()
    assert facts() == []
