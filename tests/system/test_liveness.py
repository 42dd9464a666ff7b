"""A server that hangs is noticed and started anew; one that works is left alone."""

from __future__ import annotations

import os
import signal
import time
from dataclasses import dataclass
from pathlib import Path

import pytest
from harness.api import Api
from harness.calling import LongCall
from harness.home import Thv, wait_for
from harness.session import Session

SERVER = "uvx://echo-mcp@1.0"
HEALTH = {"health.interval": "1", "health.timeout": "1", "health.failures": "2"}
FAILED_BY = 5.0
"""Seconds after which a silent server has failed as often as it may: two times a pause and a ping, and one to spare."""

WAYS = {
    "stdio": (),
    "http": ("--transport", "streamable-http", "--target-port", "8000", "--", "--http", "8000"),
}


@dataclass
class Server:
    """A running server of a home that notices soon."""

    thv: Thv
    url: str
    pid: int

    def send(self, number: int) -> None:
        """Send a signal to the first process in the sandbox, and to the server below it."""
        below = Path(f"/proc/{self.pid}/task/{self.pid}/children").read_text().split()
        assert below, "the server has ended"
        for pid in (self.pid, *map(int, below)):
            os.kill(pid, number)


@pytest.fixture(params=WAYS)
def server(thv: Thv, request: pytest.FixtureRequest) -> Server:
    for key, value in HEALTH.items():
        thv.ok("config", "set", key, value)
    url = thv.ok("run", SERVER, *WAYS[request.param]).strip()
    return Server(thv, url, thv.view("echo")["pid"])


def test_a_server_that_hangs_is_started_anew(server: Server) -> None:
    session = Session(server.url)
    session.count()
    server.send(signal.SIGSTOP)
    wait_for(lambda: server.thv.view("echo")["pid"] not in (0, server.pid), 30)
    view = wait_for(lambda: _running(server.thv), 30)
    assert view["restarts"] == 1
    assert wait_for(lambda: Session(server.url)).count()["count"] == 1


def test_before_it_is_started_anew_it_is_called_unhealthy_with_the_reason(server: Server) -> None:
    with Api.of(server.thv).events() as events:
        server.send(signal.SIGSTOP)
        statuses = []
        for name, event in events:
            if name == "workload":
                statuses.append((event["status"], event["reason"]))
            if name == "workload" and event["status"] == "running":
                break
    assert [status for status, _ in statuses][:2] == ["unhealthy", "starting"]
    assert "answers no ping" in statuses[0][1]


def test_a_server_that_works_on_a_call_is_not_taken_for_hung(server: Server) -> None:
    call = LongCall(Session(server.url), 1)
    time.sleep(0.3)
    server.send(signal.SIGSTOP)
    began = time.monotonic()
    while time.monotonic() < began + FAILED_BY + 1:
        view = server.thv.view("echo")
        assert (view["pid"], view["status"]) == (server.pid, "running")
        time.sleep(0.3)
    server.send(signal.SIGCONT)
    assert call.answer() == (200, "slept 1 seconds")
    assert server.thv.view("echo")["restarts"] == 0


def test_a_server_that_is_idle_stays_as_it_is(server: Server) -> None:
    Session(server.url).count()
    time.sleep(FAILED_BY)
    view = server.thv.view("echo")
    assert (view["pid"], view["status"], view["restarts"]) == (server.pid, "running", 0)


def _running(thv: Thv) -> dict[str, object]:
    view = thv.view("echo")
    return view if view["status"] == "running" else {}
