"""A hostile server escapes by none of its tricks, and the machine and the other servers stay responsive meanwhile.

``THV_HOSTILE_SECONDS`` sets how long each attempt goes on; the long form is 60.
"""

from __future__ import annotations

import json
import os
import socket
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from harness.attacks import ATTACKS, EXHAUSTING
from harness.clients import python
from harness.home import Thv, wait_for
from harness.session import Session
from harness.users import USERS, User, user_of

SECONDS = float(os.environ.get("THV_HOSTILE_SECONDS", "1"))
RUN = "uvx://prober-mcp@1.0"
PATIENCE = 5.0
"""A call of another server takes no longer, on a machine with two cores that also runs the attack."""


@dataclass
class Arena:
    """A hostile server beside a harmless one."""

    user: User
    thv: Thv
    session: Session

    def attack(self, name: str) -> dict[str, Any]:
        """Let the server try, and return how that ended; an empty mapping is a server that died of it."""
        arguments = {"argv": python(ATTACKS[name], str(SECONDS)), "seconds": SECONDS + 60}
        call = ("mcp", "call", "hostile", "run", "--args", json.dumps(arguments), "--timeout", str(SECONDS + 90))
        done = self.thv(*call, "--format", "json")
        if done.returncode:
            assert name in EXHAUSTING, done.stderr
            return {}
        found: dict[str, Any] = json.loads(json.loads(done.stdout)["content"][0]["text"])
        return found


@pytest.fixture(scope="module", params=USERS)
def arena(request: pytest.FixtureRequest, wheels: Path) -> Iterator[Arena]:
    """Both servers, of one user."""
    with user_of(request.param) as user:
        thv = user.thv(wheels)
        thv.environment["MARKER_OF_THE_MACHINE"] = "secret"
        try:
            thv.ok("run", RUN, "--name", "hostile")
            yield Arena(user, thv, Session(thv.ok("run", "uvx://echo-mcp@1.0", "--name", "neighbour").strip()))
        finally:
            thv.close()


class Watch:
    """Calls another server and lists all, again and again, and keeps the longest that it took."""

    def __init__(self, arena: Arena) -> None:
        self.slowest, self.error = 0.0, ""
        self._arena = arena
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._run)

    def __enter__(self) -> Watch:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._over.set()
        self._thread.join(60)

    def _run(self) -> None:
        while not self.error:
            for call in (self._arena.session.count, self._list):
                began = time.monotonic()
                try:
                    call()
                except (OSError, AssertionError) as error:
                    self.error = repr(error)
                self.slowest = max(self.slowest, time.monotonic() - began)
            if self._over.wait(0.1):
                return

    def _list(self) -> None:
        assert "neighbour" in self._arena.thv.ok("list")


@pytest.mark.parametrize("attack", ATTACKS)
@pytest.mark.timeout(300 + 2 * SECONDS)
def test_a_hostile_server_gets_nothing_and_disturbs_nobody(arena: Arena, attack: str) -> None:
    before = _available()
    with Watch(arena) as watch:
        outcome = arena.attack(attack)
        lost = before - _available()
    assert "escaped" not in outcome.get("out", ""), outcome
    assert "held" in outcome.get("out", "") or attack in EXHAUSTING, outcome
    assert (watch.error, watch.slowest < PATIENCE) == ("", True), watch.slowest
    assert lost < 1 << 30
    wait_for(lambda: arena.thv("mcp", "call", "hostile", "pid").returncode == 0, 60)


def _available() -> int:
    line = next(each for each in Path("/proc/meminfo").read_text().splitlines() if each.startswith("MemAvailable"))
    return int(line.split()[1]) * 1024


def test_the_limits_are_shown_as_they_are_enforced(arena: Arena) -> None:
    shown = arena.thv.view("hostile")["limits"]
    assert len(shown) >= 3
    assert any("512 MiB" in each for each in shown)


@pytest.mark.parametrize("stream", ["stdout", "stderr"])
def test_a_flood_of_output_is_bounded_and_told(arena: Arena, stream: str) -> None:
    arena.thv.ok("restart", "hostile")
    assert arena.thv.view("hostile")["notes"] == []
    with Watch(arena) as watch:
        arguments = json.dumps({"stream": stream, "count": 100_000_000})
        arena.thv("mcp", "call", "hostile", "write", "--args", arguments)
    assert (watch.error, watch.slowest < PATIENCE) == ("", True), watch.slowest
    notes = wait_for(lambda: arena.thv.view("hostile")["notes"])
    assert notes
    wait_for(lambda: sum(path.stat().st_size for path in arena.thv.home.rglob("*stderr*")) < 30_000_000)
    wait_for(lambda: arena.thv("mcp", "call", "hostile", "pid").returncode == 0, 60)


# Tricks with what was granted ----------------------------------------------------------------------------------------

READ = "import sys; print(open(sys.argv[1]).read())"


@pytest.fixture
def granted(arena: Arena, tmp_path: Path) -> Iterator[Path]:
    """A folder that a server may write, beside a secret that it may not read."""
    folder = arena.user.folder / f"granted-{tmp_path.name}"
    for each in (folder, folder.with_name("secrets")):
        each.mkdir(exist_ok=True)
    (folder.with_name("secrets") / "key").write_text("a-secret-of-the-user")
    arena.user.lend(folder)
    arena.thv.ok("run", RUN, "--name", "granted", "--volume", f"{folder}:/grant")
    yield folder
    arena.thv.ok("rm", "granted")


def _inside(thv: Thv, argv: list[str]) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(thv.call("granted", "run", argv=argv))
    return found


def test_a_symbolic_link_in_a_writable_grant_leads_nowhere(arena: Arena, granted: Path) -> None:
    secrets = granted.with_name("secrets")
    links = {"key": secrets / "key", "all": secrets, "root": Path("/proc/1/root"), "up": Path("..")}
    for name, target in links.items():
        assert _inside(arena.thv, ["ln", "-s", str(target), f"/grant/{name}"])["code"] == 0
    tried = ("/grant/key", "/grant/all/key", f"/grant/root{secrets}/key", "/grant/up/secrets/key")
    for _ in range(2):
        assert [_inside(arena.thv, python(READ, path))["code"] for path in tried] == [1, 1, 1, 1]
        arena.thv.ok("restart", "granted")


def test_a_grant_that_became_a_symbolic_link_shows_nothing_else(arena: Arena, granted: Path) -> None:
    moved = granted.with_name("moved")
    granted.rename(moved)
    granted.symlink_to(granted.with_name("secrets"))
    try:
        done = arena.thv("restart", "granted")
        if done.returncode == 0:
            assert _inside(arena.thv, python(READ, "/grant/key"))["code"] == 1
    finally:
        granted.unlink()
        moved.rename(granted)


SPEAK = """
import socket, sys
with socket.socket(socket.AF_UNIX) as there:
    there.connect(sys.argv[1])
    print(there.recv(100).decode())
"""


def test_a_grant_with_a_socket_is_refused_unless_it_is_allowed(arena: Arena) -> None:
    folder = arena.user.folder / "with-socket"
    folder.mkdir()
    with socket.socket(socket.AF_UNIX) as listening:
        listening.bind(str(folder / "agent.sock"))
        listening.listen()
        arena.user.lend(folder)
        grant = ("--allow-read", str(folder))
        refused = arena.thv("run", RUN, "--name", "agent", *grant)
        assert refused.returncode != 0
        assert "--allow-socket" in refused.stderr
        assert "agent.sock" in refused.stderr
        arena.thv.ok("run", RUN, "--name", "agent", *grant, "--allow-socket")
        arena.thv.ok("rm", "agent")


def test_the_servers_of_root_are_not_root(arena: Arena) -> None:
    inside = json.loads(arena.thv.call("hostile", "pid"))
    pid = arena.thv.view("hostile")["pid"]
    status = Path(f"/proc/{pid}/status").read_text().splitlines()
    (uid,) = [line.split()[1] for line in status if line.startswith("Uid:")]
    assert uid != "0"
    assert inside["uid"] != 0


@pytest.mark.parametrize("arena", [each for each in USERS if each == "root"], indirect=True)
def test_a_grant_that_the_server_of_root_cannot_reach_is_refused(arena: Arena) -> None:
    folder = arena.user.folder / "of-root"
    folder.mkdir(mode=0o700)
    refused = arena.thv("run", RUN, "--name", "unreachable", "--allow-read", str(folder))
    assert refused.returncode != 0
    assert str(folder) in refused.stderr
