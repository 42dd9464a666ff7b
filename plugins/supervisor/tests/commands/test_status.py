"""One workload in words."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import pytest

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


def test_json_is_the_view_itself(invoke: Any, control: Any, console: Any) -> None:
    control.answers["GET", PATH] = shown = view()
    invoke(status, "a", "--format", "json")
    assert console.documents == [shown]
    assert console.lines == []
