"""Putting the processes under the care of an init system, with stand-ins for it and for control."""

from __future__ import annotations

import fcntl
import os
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from thv_core.errors import AlreadyExists, NotFound, Unavailable
from thv_core.state.paths import Paths
from thv_supervisor import ending, installing
from thv_supervisor.init_systems import Answer, Systemd
from thv_supervisor.installing import Service
from thv_supervisor.launching import is_supervised


class Machine:
    """An init system that notes what is asked of it, and a control that ends when it is told to."""

    def __init__(self, paths: Paths, folder: Path) -> None:
        self.paths = paths
        self.answers = True
        self.active = False
        self.said: list[str] = []
        self.messages: list[str] = []
        self.calls: list[str] = []
        self.exports: dict[str, Any] = {}
        self.lock: int | None = None
        self.init = Systemd(folder / "thv.service", self.run, user="ada", lingering=folder / "linger")

    def run(self, command: Any) -> Answer:
        words = " ".join(command[2:])
        self.said.append(words)
        if words == "is-active thv.service":
            return Answer(0, "active" if self.active else "inactive")
        if not self.answers:
            return Answer(1, "Failed to connect to bus")
        if words.startswith(("start", "disable")):
            self.active = words.startswith("start")
        return Answer(0, "")

    def supervise(self) -> None:
        self.lock = os.open(self.paths.lock, os.O_RDWR | os.O_CREAT, 0o600)
        fcntl.flock(self.lock, fcntl.LOCK_EX | fcntl.LOCK_NB)

    def end(self) -> None:
        if self.lock is not None:
            os.close(self.lock)
            self.lock = None

    def control(self, environment: object, message: object) -> Machine:
        return self

    def call(self, method: str, path: str, **options: Any) -> Any:
        self.calls.append(f"{method} {path.removeprefix('/api/v1beta')}")
        if path.endswith("/shutdown"):
            assert self.said[-1:] != ["start thv.service"], "started before the other had ended"
            self.end()
            return None
        if path.endswith("/export"):
            answer = self.exports[path.split("/")[-2]]
            if isinstance(answer, Exception):
                raise answer
            return answer
        return {"workloads": [{"name": name} for name in self.exports]}


@pytest.fixture
def machine(paths: Paths, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Machine]:
    machine = Machine(paths, tmp_path)
    monkeypatch.setattr(installing, "init_system", lambda environment: machine.init)
    monkeypatch.setattr(installing, "ControlClient", machine.control)
    yield machine
    machine.end()


@pytest.fixture
def service(machine: Machine, environment: dict[str, str]) -> Callable[..., Service]:
    return lambda **more: Service({**environment, **more}, machine.messages.append)


def test_the_unit_names_this_python_and_the_folders_and_is_started(machine: Machine, service: Any) -> None:
    service().install()
    text = machine.init.file.read_text()
    assert f"ExecStart={sys.executable} -P -m thv_supervisor.supervise {machine.paths.state}\n" in text
    assert f"Environment=THV_HOME={machine.paths.state.parent}\n" in text
    assert str(machine.paths.interpreter.readlink()) == sys.executable
    assert machine.active
    assert machine.calls == []
    assert any("loginctl enable-linger ada" in line for line in machine.messages)


def test_whoever_lingers_is_not_told_to(machine: Machine, service: Any) -> None:
    machine.init.lingering.mkdir()
    (machine.init.lingering / "ada").touch()
    service().install()
    assert not any("enable-linger" in line for line in machine.messages)


def test_processes_that_run_already_end_before_the_unit_starts(machine: Machine, service: Any) -> None:
    machine.supervise()
    service().install()
    assert machine.calls[-1] == "POST /shutdown"
    assert machine.active
    assert not is_supervised(machine.paths)


def test_workloads_whose_values_only_memory_has_are_named(machine: Machine, service: Any) -> None:
    machine.supervise()
    machine.exports = {
        "kept": {"secrets": ["token,target=T"]},
        "bound": {"secrets": ["env:TOKEN,target=T"]},
        "plain": {},
        "gone": NotFound("there is no workload named gone"),
    }
    service().install()
    (line,) = [line for line in machine.messages if "forgotten" in line]
    assert line.endswith(": bound")


def test_a_second_installation_leaves_what_runs_as_the_unit_alone(machine: Machine, service: Any) -> None:
    service().install()
    machine.supervise()
    service().install()
    assert machine.calls == []


def test_what_changed_in_the_unit_holds_from_its_next_start_and_the_user_is_told(
    machine: Machine, service: Any
) -> None:
    service().install()
    machine.messages.clear()
    service().install()
    assert not any("next start" in line for line in machine.messages)
    service(SSL_CERT_FILE="/ca.pem").install()
    assert any("next start" in line for line in machine.messages)


def test_where_no_manager_answers_the_unit_is_written_and_the_command_told(machine: Machine, service: Any) -> None:
    machine.answers = False
    machine.supervise()
    service().install()
    assert machine.init.file.exists()
    assert any("systemctl --user enable --now thv.service" in line for line in machine.messages)
    assert machine.calls == []
    assert is_supervised(machine.paths)


def test_variables_with_credentials_are_named_and_not_written(machine: Machine, service: Any) -> None:
    service(HTTPS_PROXY="http://me:hush@proxy").install()
    assert "hush" not in machine.init.file.read_text()
    assert any("HTTPS_PROXY" in line and "hush" not in line for line in machine.messages)


def test_a_unit_of_somebody_else_is_neither_replaced_nor_removed(machine: Machine, service: Any) -> None:
    machine.init.file.write_text("[Service]\nExecStart=/bin/other\n")
    with pytest.raises(AlreadyExists):
        service().install()
    with pytest.raises(NotFound):
        service().uninstall()
    assert "other" in machine.init.file.read_text()
    assert not machine.active


def test_uninstalling_stops_the_unit_and_removes_its_file(machine: Machine, service: Any) -> None:
    service().install()
    service().uninstall()
    assert not machine.active
    assert not machine.init.file.exists()
    with pytest.raises(NotFound):
        service().uninstall()


def test_a_unit_whose_manager_is_away_can_be_removed(machine: Machine, service: Any) -> None:
    service().install()
    machine.answers = False
    service().uninstall()
    assert not machine.init.file.exists()


@pytest.mark.parametrize(
    ("supervised", "active", "said"),
    [
        (True, True, "run as the service"),
        (True, False, "run, but not as the service"),
        (False, True, "are being started by the service"),
        (False, False, "do not run"),
    ],
)
def test_the_status_says_what_runs_and_as_what(
    machine: Machine, service: Any, supervised: bool, active: bool, said: str
) -> None:
    service().install()
    machine.active = active
    if supervised:
        machine.supervise()
    found = service().status()
    assert (found["processes"], found["active"], found["installed"]) == (said, active, True)
    assert found["at_boot"] is False
    assert found["at_boot_hint"] == "loginctl enable-linger ada"


def test_the_status_of_a_machine_that_never_saw_thv_makes_nothing(
    machine: Machine, service: Any, environment: dict[str, str], tmp_path: Path
) -> None:
    found = service(THV_HOME=str(tmp_path / "never")).status()
    assert (found["installed"], found["active"], found["processes"]) == (False, False, "do not run")
    assert not (tmp_path / "never").exists()
    assert machine.calls == []


def test_processes_that_do_not_end_are_waited_for_with_a_bound(
    paths: Paths, machine: Machine, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(ending, "ENDING", 0.2)
    machine.supervise()
    monkeypatch.setattr(machine, "end", lambda: None)
    with pytest.raises(Exception, match="did not end within"):
        ending.end_processes(machine, paths)  # type: ignore[arg-type]  # the stand-in
    monkeypatch.undo()


def test_a_control_that_refuses_to_end_leaves_the_unit_unstarted(
    machine: Machine, service: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    machine.supervise()

    def refuse(*arguments: Any, **options: Any) -> Any:
        raise Unavailable("control does not answer")

    monkeypatch.setattr(machine, "call", refuse)
    with pytest.raises(Unavailable):
        service().install()
    assert not machine.active
