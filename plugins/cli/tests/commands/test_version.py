"""``thv version``."""

from __future__ import annotations

import http.server
import json
import platform
import socketserver
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

import thv_core

LABELS = ["Python", "Platform", "Location", "Processes"]


class ControlStandIn(socketserver.ThreadingUnixStreamServer):
    """What answers on the socket of control; ``asked`` are the requests with their headers."""

    daemon_threads = True

    def __init__(self, path: Path, body: bytes, pause: float) -> None:
        self.body = body
        self.asked: list[tuple[str, dict[str, str]]] = []
        self.released = threading.Event()
        self.pause = pause
        super().__init__(str(path), StandInHandler)


class StandInHandler(http.server.BaseHTTPRequestHandler):
    server: Any

    def do_GET(self) -> None:
        self.server.asked.append((self.path, dict(self.headers)))
        self.server.released.wait(self.server.pause)
        self.send_response(200)
        self.send_header("content-length", str(len(self.server.body)))
        self.end_headers()
        self.wfile.write(self.server.body)

    def address_string(self) -> str:
        return "somebody"

    def log_message(self, *args: object) -> None:
        """Say nothing."""


@pytest.fixture
def running(machine: Any) -> Iterator[Callable[..., ControlStandIn]]:
    servers: list[ControlStandIn] = []

    def start(body: bytes, pause: float = 0.0) -> ControlStandIn:
        state = machine.home / ".local" / "state" / "thv"
        state.mkdir(parents=True)
        servers.append(ControlStandIn(state / "control.sock", body, pause))
        threading.Thread(target=servers[-1].serve_forever, args=(0.02,), daemon=True).start()
        return servers[-1]

    yield start
    for each in servers:
        each.released.set()
        each.shutdown()
        each.server_close()


def told(prefix: str = sys.prefix, version: str = thv_core.__version__) -> bytes:
    return json.dumps(
        {
            "version": version,
            "interpreter": f"{prefix}/bin/python",
            "prefix": prefix,
            "pid": 4711,
            "started_at": "2026-11-24T12:00:00Z",
        }
    ).encode()


def processes(machine: Any) -> list[str]:
    """Return the lines about processes."""
    lines: list[str] = machine.thv("version").stdout.splitlines()
    return lines[4:]


def test_the_version_and_what_it_runs_on_are_shown(machine: Any) -> None:
    lines = machine.thv("version").stdout.splitlines()
    assert lines[0] == "thv 0.1.0"
    assert [line.split(":")[0] for line in lines[1:]] == LABELS
    assert platform.python_version() in lines[1]
    assert lines[3].endswith(str(Path(thv_core.__file__).parent.parent))
    assert lines[4] == "Processes: not running"


def test_to_ask_for_the_version_starts_and_writes_nothing(machine: Any) -> None:
    machine.thv("version")
    assert list(machine.home.iterdir()) == []


def test_json_has_the_same_facts(machine: Any) -> None:
    document = json.loads(machine.thv("version", "--format", "json").stdout)
    assert document["version"] == "0.1.0"
    assert sorted(document) == ["location", "platform", "processes", "python", "python_version", "version"]
    assert document["processes"] == {"running": False}


def test_the_old_flag_still_works_and_says_that_it_is_old(machine: Any) -> None:
    done = machine.thv("version", "--json")
    assert json.loads(done.stdout)["version"] == "0.1.0"
    assert done.stderr == "--json is deprecated, use --format json\n"


def test_the_processes_of_this_environment_are_shown_with_pid_and_start(machine: Any, running: Any) -> None:
    control = running(told())
    assert processes(machine) == ["Processes: 0.1.0 (pid 4711, since 2026-11-24T12:00:00Z)"]
    ((path, headers),) = control.asked
    assert path == "/api/v1beta/version"
    assert not {name for name in headers if name.lower() == "x-thv-installation"}, "control might give way"


@pytest.mark.parametrize(
    ("prefix", "version", "said"),
    [
        (sys.prefix, "0.0.9", ", replaced by the next command"),
        ("/other", "0.1.0", "from /other/bin/python, an environment that gives way to this one at the next command"),
        ("/other", "0.0.9", "from /other/bin/python, an environment that gives way to this one at the next command"),
        ("/other", "0.10.0", "from /other/bin/python, an environment that stays in charge because its version"),
    ],
)
def test_processes_of_another_version_or_environment_say_who_is_in_charge_next(
    machine: Any, running: Any, prefix: str, version: str, said: str
) -> None:
    running(told(prefix, version))
    assert said in "\n".join(processes(machine))


def test_json_says_how_the_environments_relate(machine: Any, running: Any) -> None:
    running(told("/other", "9.0"))
    found = json.loads(machine.thv("version", "--format", "json").stdout)["processes"]
    assert (found["environment"], found["pid"], found["running"]) == ("stays", 4711, True)


@pytest.mark.parametrize("body", [b"", b"[1]", b"{}", b"{not json"])
def test_an_answer_that_is_none_is_no_error(machine: Any, running: Any, body: bytes) -> None:
    running(body)
    assert processes(machine) == ["Processes: running, but control does not answer"]


def test_a_control_that_does_not_answer_keeps_nobody_waiting(machine: Any, running: Any) -> None:
    running(told(), pause=60.0)
    began = time.monotonic()
    assert processes(machine) == ["Processes: running, but control does not answer"]
    assert time.monotonic() - began < 20.0


@pytest.mark.parametrize("more", [{"THV_HOME": "not/absolute"}, {"HOME": ""}])
def test_a_home_that_is_unusable_still_has_a_version_and_no_processes(machine: Any, more: dict[str, str]) -> None:
    lines = machine.thv("version", **more).stdout.splitlines()
    assert (lines[0], lines[4]) == ("thv 0.1.0", "Processes: not running")
