"""Servers that run somewhere else as workloads: ``thv run URL``, and everything that is done to any workload."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from harness.home import Thv, wait_for
from harness.serving import free_port, listens
from harness.session import Session


@pytest.fixture
def elsewhere() -> Iterator[str]:
    """An echo server that nobody here started, and its URL."""
    port = free_port()
    server = subprocess.Popen(
        [sys.executable, "-m", "thv_testkit.echo", "--http", str(port)], stderr=subprocess.DEVNULL
    )
    try:
        wait_for(lambda: listens(port))
        yield f"http://127.0.0.1:{port}/mcp"
    finally:
        server.kill()
        server.wait()


def test_a_server_somewhere_else_is_run_called_stopped_and_removed_like_any_other(thv: Thv, elsewhere: str) -> None:
    url = thv.ok("run", elsewhere, "--name", "there").strip()
    view = thv.view("there")
    assert (view["remote"], view["package"], view["runtime"]) == (True, elsewhere, "remote")
    session = Session(url)
    assert [session.count()["count"] for _ in range(2)] == [1, 2]
    thv.ok("stop", "there")
    assert thv.view("there")["status"] == "stopped"
    thv.ok("start", "there")
    assert Session(url).count()["count"] >= 1
    thv.ok("rm", "there", "--yes")
    assert "there" not in thv.ok("list", "--all")


def test_its_sessions_survive_kills_and_a_restart(thv: Thv, elsewhere: str) -> None:
    session = Session(thv.ok("run", elsewhere, "--name", "there").strip())
    session.count()
    for process in ("thv_supervisor.gateway_process", "thv_supervisor.control"):
        thv.kill(process)
    wait_for(lambda: thv.view("there")["health"] == "healthy")
    first = session.count()
    thv.ok("restart", "there")
    wait_for(lambda: thv.view("there")["status"] == "running")
    assert session.count()["count"] == first["count"] + 1


def test_a_change_of_it_fails_no_call(thv: Thv, elsewhere: str, tmp_path: Path) -> None:
    session = Session(thv.ok("run", elsewhere, "--name", "there").strip())
    session.count()
    exported = json.loads(thv.ok("export", "there", "-"))
    assert exported["remote_url"] == elsewhere
    changed: dict[str, Any] = {**exported, "header_forward": {"add_plaintext_headers": {"X-Team": "search"}}}
    (tmp_path / "team.json").write_text(json.dumps(changed))
    thv.ok("apply", "-f", str(tmp_path / "team.json"))
    assert session.count()["count"] == 2
    assert "unchanged" in thv("apply", "-f", str(tmp_path / "team.json")).stderr


def test_one_that_does_not_answer_is_refused_with_the_reason_and_nothing_is_left(thv: Thv) -> None:
    done = thv("run", f"http://127.0.0.1:{free_port()}/mcp", "--name", "nowhere")
    assert done.returncode == 1
    assert "accepts no connections" in done.stderr
    assert "nowhere" not in thv.ok("list", "--all")


def test_what_is_for_servers_that_run_here_is_refused(thv: Thv, elsewhere: str) -> None:
    for flags in (("--env", "A=1"), ("--allow-network", "example.com"), ("--volume", "/tmp:/data")):
        done = thv("run", elsewhere, "--name", "there", *flags)
        assert done.returncode in (1, 2), flags
        assert "somewhere else" in done.stderr, done.stderr
