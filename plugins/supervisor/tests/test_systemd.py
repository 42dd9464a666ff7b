"""A real systemd of this test's making runs the unit: that of a user, and that of a machine.

systemd serves a user where a machine seems to be booted with it, and where it may make control groups: both are
arranged in a mount namespace. In a user namespace this test's user has another number: root is an ordinary user. The
systemd of a machine is process 1 of a namespace, with as few units as it starts with.
"""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import sysconfig
import tempfile
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest

from thv_testkit.waiting import eventually

LIMIT = 60.0
SYSTEMD = Path("/lib/systemd/systemd")
USER = "4711"
APART = ("--mount", "--propagation", "private")
ENTER = 'echo $$ > "$0/cgroup.procs" && exec "$@"'
USERS_ROOM = f"""
set -e
mount --bind "$0" /sys/fs/cgroup
mount -t tmpfs tmpfs /run
mkdir -p /run/systemd/system
exec unshare --user --map-user={USER} --map-group={USER} "$@"
"""
MACHINES_ROOM = """
set -e
mount -t cgroup2 cgroup2 /sys/fs/cgroup
mount -t tmpfs tmpfs /run
mount -t tmpfs tmpfs /etc/systemd/system
export container=test SYSTEMD_UNIT_PATH="$0:/etc/systemd/system"
exec "$@"
"""
TARGETS = ("sysinit", "basic", "shutdown", "multi-user")
HOLDER = """
import json, subprocess, sys
from subprocess import DEVNULL, PIPE
manager = subprocess.Popen([sys.argv[1], "--user"], stdout=DEVNULL, stderr=DEVNULL)
for line in sys.stdin:
    done = subprocess.run(json.loads(line), stdin=DEVNULL, stdout=PIPE, stderr=PIPE, text=True)
    print(json.dumps([done.returncode, done.stdout, done.stderr]), flush=True)
"""


def unified() -> Path | None:
    """Return where control groups of version 2 are, if a group can be made there."""
    mounts = [line.split() for line in Path("/proc/mounts").read_text().splitlines()]
    return next((Path(mount[1]) for mount in mounts if mount[2] == "cgroup2" and os.access(mount[1], os.W_OK)), None)


class Room:
    """A systemd in a control group of its own, and programs that run beside it."""

    scope: tuple[str, ...] = ()

    def __init__(self, folder: Path, group: Path) -> None:
        self.folder = folder
        self.group = group
        self.environment = {
            "HOME": str(folder),
            "THV_HOME": str(folder / "home"),
            "PATH": f"{sysconfig.get_path('scripts')}:/usr/sbin:/usr/bin:/sbin:/bin",
        }

    def enter(self, *command: str, **more: Any) -> subprocess.Popen[str]:
        """Start a program in the control group."""
        return subprocess.Popen(["sh", "-c", ENTER, str(self.group), *command], env=self.environment, text=True, **more)

    def run(self, *argv: str) -> tuple[int, str, str]:
        """Run a program in the room, and return its code and what it said."""
        raise NotImplementedError

    def thv(self, *words: str) -> str:
        """Run a command of thv that has to succeed, and return what it printed, messages too."""
        code, out, err = self.run("thv", *words)
        assert code == 0, out + err
        return out + err

    def systemctl(self, *words: str) -> str:
        return self.run("systemctl", *self.scope, *words)[1].strip()

    def main_pid(self) -> int:
        return int(self.systemctl("show", "--property=MainPID", "--value", "thv.service") or 0)

    def status(self) -> dict[str, Any]:
        found: dict[str, Any] = json.loads(self.run("thv", "service", "status", "--format", "json")[1])
        return found

    def close(self) -> None:
        for group in self.group.rglob("cgroup.procs"):
            for pid in group.read_text().split():
                with suppress(ProcessLookupError):
                    os.kill(int(pid), signal.SIGKILL)
        for folder in sorted(self.group.rglob("*/"), key=lambda each: -len(each.parts)):
            eventually(lambda folder=folder: is_removed(folder))
        eventually(lambda: is_removed(self.group))


class UsersRoom(Room):
    """The systemd of an ordinary user; a program beside it runs what this test asks for."""

    scope = ("--user",)

    def __init__(self, folder: Path, group: Path, root: Path) -> None:
        super().__init__(folder, group)
        self.environment["XDG_RUNTIME_DIR"] = str(folder / "run")
        (folder / "run").mkdir(mode=0o700)
        self.holder = self.enter(
            *("unshare", "--user", "--map-root-user", *APART, "sh", "-c", USERS_ROOM, str(root)),
            *(sys.executable, "-c", HOLDER, str(SYSTEMD)),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
        )

    def run(self, *argv: str) -> tuple[int, str, str]:
        assert self.holder.stdin
        assert self.holder.stdout
        self.holder.stdin.write(json.dumps(argv) + "\n")
        self.holder.stdin.flush()
        line = self.holder.stdout.readline()
        assert line, "the room is closed"
        code, out, err = json.loads(line)
        return code, out, err

    def close(self) -> None:
        self.holder.kill()
        self.holder.communicate()
        super().close()


class MachinesRoom(Room):
    """The systemd of a machine, which is process 1 and root's."""

    def __init__(self, folder: Path, group: Path, root: Path) -> None:
        super().__init__(folder, group)
        for target in TARGETS:
            (folder / f"{target}.target").write_text("[Unit]\nDefaultDependencies=no\n")
        self.holder = self.enter(
            *("unshare", "--pid", "--fork", "--kill-child", "--mount-proc", "--cgroup", *APART),
            *("sh", "-c", MACHINES_ROOM, str(folder), str(SYSTEMD), "--system", "--unit=basic.target"),
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )

    def run(self, *argv: str) -> tuple[int, str, str]:
        children = Path(f"/proc/{self.holder.pid}/task/{self.holder.pid}/children").read_text().split()
        if not children:
            return 1, "", "the room is not open"
        done = subprocess.run(
            ["nsenter", "--target", children[0], "--mount", "--pid", "--cgroup", *argv],
            env=self.environment,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=LIMIT,
            check=False,
        )
        return done.returncode, done.stdout, done.stderr

    def close(self) -> None:
        self.holder.kill()
        self.holder.wait()
        super().close()


def is_removed(group: Path) -> bool:
    """Remove a control group, and tell whether it is gone; its processes may be on their way out."""
    with suppress(FileNotFoundError, OSError):
        group.rmdir()
    return not group.exists()


def lacking(root: Path | None) -> list[str]:
    """Return what this machine has not, and the test needs."""
    programs = [name for name in ("systemctl", "unshare", "nsenter") if shutil.which(name) is None]
    systemd = [] if SYSTEMD.exists() else ["systemd"]
    return [*systemd, *programs, *([] if root else ["control groups of version 2 that this user may make"])]


@pytest.fixture(params=[UsersRoom, MachinesRoom])
def room(request: pytest.FixtureRequest) -> Iterator[Room]:
    if request.param is MachinesRoom and os.geteuid():
        pytest.skip("the systemd of a machine is root's")
    root = unified()
    missing = lacking(root)
    if missing and not os.environ.get("CI"):
        pytest.skip(f"there is no {missing[0]}")
    assert not missing
    assert root
    # Not below the folder of pytest: the address of a Unix socket is short.
    with tempfile.TemporaryDirectory(prefix="thv-", dir="/tmp", ignore_cleanup_errors=True) as folder:
        group = root / Path(folder).name
        group.mkdir()
        room = request.param(Path(folder), group, root)
        try:
            eventually(lambda: room.run("systemctl", *room.scope, "show", "--property=Version")[0] == 0, LIMIT)
            yield room
        finally:
            room.close()


@pytest.mark.timeout(300)
def test_systemd_runs_the_processes_and_servers_survive_whatever_happens_to_the_unit(room: Room) -> None:
    room.thv("list")
    assert room.status()["processes"] == "run, but not as the service"

    said = room.thv("service", "install")
    assert (f"loginctl enable-linger {USER}" in said) is isinstance(room, UsersRoom)
    found = room.status()
    assert (found["active"], found["processes"]) == (True, "run as the service")
    assert found["at_boot"] is isinstance(room, MachinesRoom)
    assert room.systemctl("is-enabled", "thv.service") == "enabled"
    room.thv("list")
    first = room.main_pid()
    server = a_server_of_the_unit(room)

    room.systemctl("kill", "--kill-whom=main", "--signal=KILL", "thv.service")
    eventually(lambda: room.main_pid() not in (0, first), LIMIT)
    room.thv("list")
    room.systemctl("restart", "thv.service")
    room.thv("list")
    assert room.status()["processes"] == "run as the service"
    assert is_alive(server)

    room.thv("serve", "--stop")
    assert room.systemctl("is-active", "thv.service") == "inactive"
    assert room.status()["processes"] == "do not run"
    room.thv("list")
    assert room.status()["processes"] == "run as the service"

    room.thv("service", "uninstall")
    assert room.status()["processes"] == "do not run"
    room.thv("list")
    assert room.status()["processes"] == "run, but not as the service"
    assert is_alive(server)


def a_server_of_the_unit(room: Room) -> int:
    """Start a process in the control group of the unit, where those that control starts are."""
    with subprocess.Popen(["sleep", "300"]) as sleeper:
        (unit,) = room.group.rglob("thv.service")
        (unit / "cgroup.procs").write_text(str(sleeper.pid))
        sleeper.returncode = 0  # nobody waits for it here
        return sleeper.pid


def is_alive(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False
