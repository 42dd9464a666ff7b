"""Settings of the gateway as a whole: one listener for every server, and several processes."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator

import pytest
from harness.home import Thv, wait_for
from harness.killing import kill
from harness.serving import free_port, listens
from harness.session import Session

SERVER = "uvx://echo-mcp@1.0"


@pytest.fixture
def elsewhere() -> Iterator[str]:
    """The URL of an echo server that nobody here started."""
    port = free_port()
    command = [sys.executable, "-m", "thv_testkit.echo", "--http", str(port)]
    server = subprocess.Popen(command, stderr=subprocess.DEVNULL)
    try:
        wait_for(lambda: listens(port))
        yield f"http://127.0.0.1:{port}/mcp"
    finally:
        server.kill()
        server.wait()


def test_every_server_is_reached_under_its_name_on_one_port(thv: Thv) -> None:
    port = free_port()
    thv.ok("config", "set", "gateway_shared_port", str(port))
    own = Session(thv.ok("run", SERVER, "--name", "one").strip())
    thv.ok("run", SERVER, "--name", "two")
    one, two = (Session(f"http://127.0.0.1:{port}/{name}/mcp") for name in ("one", "two"))
    assert own.count()["count"] == 1
    assert one.count()["count"] == 2
    assert two.count()["count"] == 1


def test_several_processes_serve_a_server_somewhere_else_and_one_here(thv: Thv, elsewhere: str) -> None:
    thv.ok("config", "set", "gateway_workers", "2")
    remote = thv.ok("run", elsewhere, "--name", "there").strip()
    local = thv.ok("run", SERVER).strip()
    sessions = [Session(remote) for _ in range(4)]
    for _ in range(8):
        for session in sessions:
            session.count()
    assert max(session.last["count"] for session in sessions) == 32
    here = Session(local)
    here.count()
    kill(thv.child("thv_supervisor.gateway_process"))
    # What control says may still be of the gateway that was killed; a call may be answered, and its answer lost.
    assert wait_for(here.count)["count"] >= 2
    assert all(wait_for(session.count)["count"] > 32 for session in sessions)


def test_a_change_of_the_number_of_processes_keeps_every_session(thv: Thv, elsewhere: str) -> None:
    session = Session(thv.ok("run", elsewhere, "--name", "there").strip())
    session.count()
    for number in ("3", "1"):
        thv.ok("config", "set", "gateway_workers", number)
        thv.ok("list")
        wait_for(lambda: thv.view("there")["health"] == "healthy")
        before = session.last["count"]
        wait_for(lambda session=session: session.count())
        assert session.last["count"] > before
