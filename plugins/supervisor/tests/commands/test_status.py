"""One workload in words."""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from thv_core.errors import PluginNotFound
from thv_supervisor.commands.status import status

PATH = "/api/v1beta/workloads/a/status"
VIEW: dict[str, Any] = {
    "name": "a",
    "package": "uvx://a@1",
    "status": "running",
    "status_context": "",
    "url": "http://127.0.0.1:19001/mcp",
    "group": "default",
    "runtime": "sandbox",
    "transport_type": "stdio",
    "protocol_version": "2025-11-25",
    "tools": ["x", "y"],
    "restarts": 1,
    "pid": 7,
    "reads": [],
    "writes": [],
    "reaches": "",
    "limits": [],
    "notes": [],
    "health": "healthy",
    "labels": {},
    "port": 19001,
    "proxy_mode": "streamable-http",
}


def view(**changes: Any) -> dict[str, Any]:
    now = datetime.now(UTC).isoformat(timespec="seconds")
    return VIEW | {"created_at": now, "started_at": now} | changes


def test_a_running_workload_is_told_with_its_pid(invoke: Any, control: Any, console: Any) -> None:
    control.answers["GET", PATH] = view()
    invoke(status, "a")
    first, *others = console.lines
    assert first.startswith("a          running for ")
    assert first.endswith("(pid 7), 1 restart")
    assert "ago" not in first
    assert "package    uvx://a@1   sandbox, stdio, speaks 2025-11-25" in others
    assert "tools      x, y" in others
    assert "reach      nothing beyond itself" in others
    assert not any(line.startswith("reason") for line in others)


def test_of_a_server_somewhere_else_nothing_is_claimed_that_cannot_be_known(
    invoke: Any, control: Any, console: Any
) -> None:
    control.answers["GET", PATH] = view(remote=True, package="https://mcp.example.com/mcp", runtime="remote")
    invoke(status, "a")
    assert any(line.startswith("reach      it runs somewhere else") for line in console.lines)
    assert not any(line.startswith("files") for line in console.lines)


def test_of_a_process_that_is_not_seen_no_pid_is_told(invoke: Any, control: Any, console: Any) -> None:
    control.answers["GET", PATH] = view(status="unhealthy", pid=0)
    invoke(status, "a")
    assert console.lines[0].startswith("a          unhealthy for ")
    assert console.lines[0].endswith(", 1 restart")
    assert "pid" not in console.lines[0]


def test_a_long_name_does_not_touch_what_is_said_of_it(invoke: Any, control: Any, console: Any) -> None:
    name = "a-long-name-of-a-server"
    control.answers["GET", f"/api/v1beta/workloads/{name}/status"] = view(name=name)
    invoke(status, name)
    assert console.lines[0].startswith(f"{name} running for ")
    assert f"{'url':<{len(name)}} http://127.0.0.1:19001/mcp" in console.lines


def test_a_workload_in_error_is_told_with_its_reason(invoke: Any, control: Any, console: Any) -> None:
    changes = {"status": "error", "status_context": "it broke", "started_at": "", "restarts": 0, "tools": []}
    control.answers["GET", PATH] = view(**changes, protocol_version="")
    invoke(status, "a")
    assert console.lines[:2] == ["a          error, 0 restarts", "reason     it broke"]
    assert "tools      none known" in console.lines
    assert "package    uvx://a@1   sandbox, stdio" in console.lines


@pytest.mark.parametrize(
    ("reads", "writes", "text"),
    [
        ([], [], "none of yours"),
        (["/a", "/b"], [], "reads /a, /b, writes nothing"),
        (["/a", "/b"], ["/b"], "reads /a, /b, writes /b"),
    ],
)
def test_the_files_that_a_workload_may_touch_are_told(
    invoke: Any, control: Any, console: Any, reads: list[str], writes: list[str], text: str
) -> None:
    control.answers["GET", PATH] = view(reads=reads, writes=writes)
    invoke(status, "a")
    assert f"files      {text}" in console.lines


REPORT = "/api/v1beta/egress/report?by=workload&workload=a"


def sums(connections: int, denied: int) -> dict[str, Any]:
    return {"by": "workload", "sums": [{"key": "a", "connections": connections, "denied": denied}]}


@pytest.mark.parametrize(
    ("report", "counted"),
    [
        (sums(12, 3), "   12 connections, 3 denied   thv egress log a"),
        (sums(1, 0), "   1 connection, 0 denied   thv egress log a"),
        ({"by": "workload", "sums": []}, "   0 connections, 0 denied   thv egress log a"),
        (PluginNotFound("no egress"), ""),
    ],
)
def test_what_a_workload_reaches_is_told_with_what_it_did(
    invoke: Any, control: Any, console: Any, report: Any, counted: str
) -> None:
    control.answers["GET", PATH] = view(reaches="example.com:80,443")
    control.answers["GET", REPORT] = report
    invoke(status, "a")
    assert f"reach      example.com:80,443{counted}" in console.lines


def test_of_a_workload_that_reaches_nothing_no_log_is_read(invoke: Any, control: Any) -> None:
    control.answers["GET", PATH] = view()
    invoke(status, "a")
    assert control.paths() == ["GET /a/status"]


def test_limits_are_told_with_what_is_not_enforced_and_each_note_has_its_line(
    invoke: Any, control: Any, console: Any
) -> None:
    limits = ["memory 512 MiB (not enforced)", "256 processes (cgroup)", "cpu not limited"]
    control.answers["GET", PATH] = view(limits=limits, notes=["it was loud", "it was ended"])
    invoke(status, "a")
    assert "limits     memory 512 MiB (not enforced), 256 processes (cgroup), cpu not limited" in console.lines
    assert [line for line in console.lines if line.startswith("note ")] == [
        "note       it was loud",
        "note       it was ended",
    ]


def test_without_limits_and_notes_there_are_no_lines_for_them(invoke: Any, control: Any, console: Any) -> None:
    control.answers["GET", PATH] = view()
    invoke(status, "a")
    assert not any(line.startswith(("limits", "note")) for line in console.lines)


def test_health_and_labels_are_told_where_there_is_something_to_tell(invoke: Any, control: Any, console: Any) -> None:
    control.answers["GET", PATH] = view(health="unhealthy", labels={"b": "2", "a": ""})
    invoke(status, "a")
    assert {"health     unhealthy", "labels     a=, b=2"} <= set(console.lines)
    console.lines.clear()
    control.answers["GET", PATH] = view(health="unknown")
    invoke(status, "a")
    assert not any(line.startswith(("health", "labels")) for line in console.lines)


def test_json_begins_with_what_toolhive_says_and_has_the_whole_view(invoke: Any, control: Any, console: Any) -> None:
    then = datetime.now(UTC) - timedelta(hours=25, minutes=1, seconds=1)
    control.answers["GET", PATH] = shown = view(started_at=then.isoformat(timespec="seconds"))
    invoke(status, "a", "--format", "json")
    (document,) = console.documents
    names = ["name", "status", "health", "package", "url", "port", "transport", "proxy_mode", "group", "uptime"]
    assert list(document)[: len(names)] == names
    assert (document["transport"], document["health"], document["port"]) == ("stdio", "healthy", 19001)
    assert re.fullmatch(r"25h1m\ds", document["uptime"])
    assert document | shown == document
    assert console.lines == []


@pytest.mark.parametrize(("seconds", "uptime"), [(0, r"[0-5]s"), (60, r"1m[0-5]s"), (3600, r"1h0m[0-5]s")])
def test_how_long_it_is_up_is_said_as_go_does(
    invoke: Any, control: Any, console: Any, seconds: int, uptime: str
) -> None:
    then = datetime.now(UTC) - timedelta(seconds=seconds)
    control.answers["GET", PATH] = view(started_at=then.isoformat())
    invoke(status, "a", "--format", "json")
    assert re.fullmatch(uptime, console.documents[0]["uptime"])


def test_what_does_not_run_is_not_up(invoke: Any, control: Any, console: Any) -> None:
    control.answers["GET", PATH] = view(status="stopped", started_at="", health="unknown")
    invoke(status, "a", "--format", "json")
    assert console.documents[0]["uptime"] == ""
