"""``--stdio-sessions per-client``: each client session has a process of its own, and keeps it through kills."""

from __future__ import annotations

from harness.home import Thv, wait_for
from harness.killing import kill_all
from harness.session import Session

SERVER = "uvx://echo-mcp@1.0"


def test_each_session_has_a_process_with_a_memory_of_its_own(thv: Thv) -> None:
    url = thv.ok("run", SERVER, "--stdio-sessions", "per-client").strip()
    one, other = Session(url), Session(url)
    assert [one.count()["count"] for _ in range(2)] == [1, 2]
    assert other.count()["count"] == 1
    assert any("2 client sessions have processes of their own" in note for note in thv.view("echo")["notes"])


def test_a_session_keeps_its_process_when_all_three_are_killed(thv: Thv) -> None:
    session = Session(thv.ok("run", SERVER, "--stdio-sessions", "per-client").strip())
    session.count()
    kill_all(thv)
    wait_for(lambda: thv.view("echo")["health"] == "healthy")
    assert session.count()["count"] == 2


def test_the_process_ends_with_its_session_and_with_no_other(thv: Thv) -> None:
    url = thv.ok("run", SERVER, "--stdio-sessions", "per-client").strip()
    session, staying = Session(url), Session(url)
    session.count()
    staying.count()
    session.leave()
    wait_for(lambda: any("1 client session has a process" in note for note in thv.view("echo")["notes"]))
    assert staying.count()["count"] == 2
