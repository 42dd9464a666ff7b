"""After a kill of everything, a reboot or a change of the environment, everything is there again."""

from __future__ import annotations

import json
import shlex
import signal
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
from harness.census import first_processes
from harness.environments import Environment
from harness.home import Thv, wait_for
from harness.killing import CONTROL, kill, kill_all
from harness.session import Session
from harness.users import User, user_of

SERVER = "uvx://echo-mcp@1.0"
NAMES = tuple(f"w{number}" for number in range(6))


def views(thv: Thv) -> dict[str, tuple[int, int, str]]:
    """Return pid, port and status of each workload."""
    listed = json.loads(thv.ok("list", "--all", "--format", "json"))
    return {view["name"]: (view["pid"], view["port"], view["status"]) for view in listed}


def test_after_a_kill_of_all_three_the_next_command_finds_every_server_again(thv: Thv) -> None:
    sessions = [Session(thv.ok("run", SERVER, "--name", name).strip()) for name in NAMES]
    before = views(thv)
    for session in sessions:
        session.count()
    kill_all(thv)
    assert views(thv) == before
    for session in sessions:
        assert wait_for(session.count)["count"] == 2
    assert first_processes(thv) == sorted(pid for pid, _, _ in before.values())


def test_after_a_reboot_what_should_run_runs_at_its_port_and_nothing_else(thv: Thv) -> None:
    for name in NAMES[:3]:
        thv.ok("run", SERVER, "--name", name)
    thv.ok("stop", NAMES[0])
    before = views(thv)
    kill_all(thv)
    kill(*thv.left_behind())
    wait_for(lambda: not thv.left_behind())
    thv.ok("list")
    wanted = {name: (port, status) for name, (_, port, status) in before.items()}
    wait_for(lambda: {name: (port, status) for name, (_, port, status) in views(thv).items()} == wanted)
    assert len(first_processes(thv)) == 2
    for view in json.loads(thv.ok("list", "--format", "json")):
        assert Session(view["url"]).count()["count"] == 1


# The unit of systemd -------------------------------------------------------------------------------------------------


@pytest.fixture
def somebody(wheels: Path) -> Iterator[tuple[User, Thv]]:
    """Somebody ordinary, whose unit is a file of their own."""
    with user_of("ordinary") as user:
        thv = user.thv(wheels)
        thv.environment["XDG_CONFIG_HOME"] = str(user.folder / "config")
        try:
            yield user, thv
        finally:
            thv.close()


def unit_of(user: User) -> tuple[list[str], dict[str, str]]:
    """Return the command and the variables of the unit."""
    lines = (user.folder / "config/systemd/user/thv.service").read_text().replace("%%", "%").splitlines()
    settings = [line.partition("=")[::2] for line in lines]
    (command,) = [shlex.split(value) for key, value in settings if key == "ExecStart"]
    variables = [shlex.split(value)[0].partition("=")[::2] for key, value in settings if key == "Environment"]
    return command, dict(variables)


def test_what_the_unit_starts_keeps_every_server_and_is_the_only_one(somebody: tuple[User, Thv]) -> None:
    user, thv = somebody
    thv.ok("run", SERVER)
    before = views(thv)
    thv.ok("service", "install")
    assert "thv.service" in thv.ok("service", "status")
    thv.ok("serve", "--stop")
    wait_for(lambda: not thv.supervisor())
    command, variables = unit_of(user)
    started = subprocess.Popen(
        [*user.before, *command],
        env={"HOME": str(user.folder), **variables},
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    try:
        wait_for(lambda: thv.child(CONTROL))
        assert views(thv) == before
        assert thv.supervisor() == started.pid
        again = subprocess.run([*user.before, *command], env=variables, timeout=20, check=False)
        assert (again.returncode, thv.supervisor()) == (0, started.pid)
        started.send_signal(signal.SIGTERM)
        assert started.wait(30) == 0
        assert first_processes(thv) == [before["echo"][0]]
    finally:
        kill(started.pid)
        started.wait()
    assert views(thv) == before
    thv.ok("service", "uninstall")
    assert not (user.folder / "config/systemd/user/thv.service").exists()
    assert views(thv) == before


# Two environments ----------------------------------------------------------------------------------------------------


def test_the_environment_that_takes_over_is_visible_in_version(
    thv: Thv, wheels: Path, other_environment: Environment
) -> None:
    thv.ok("run", SERVER)
    before = views(thv)
    other = Thv(thv.home, wheels, other_environment.scripts)
    assert str(other_environment.path) not in thv.ok("version")
    other.ok("list")
    assert str(other_environment.path) in thv.ok("version")
    assert views(other) == before
