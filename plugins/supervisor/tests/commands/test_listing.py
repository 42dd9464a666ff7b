"""The table of workloads."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from thv_core.errors import InvalidRequest
from thv_core.model.workload import WorkloadView
from thv_supervisor.commands.listing import ago, list_workloads

RUNNING = "/api/v1beta/workloads"
VIEW = {
    "name": "a",
    "package": "uvx://a@1",
    "status": "running",
    "url": "http://127.0.0.1:19001/mcp",
    "port": 19001,
    "group": "default",
    "created_at": "2020-01-01T00:00:00+00:00",
    "runtime": "sandbox",
    "transport_type": "stdio",
    "proxy_mode": "streamable-http",
    "restarts": 3,
    "reaches": "",
    "limits": [],
}


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (-5, "0 seconds ago"),
        (0, "0 seconds ago"),
        (1, "1 second ago"),
        (59, "59 seconds ago"),
        (60, "1 minute ago"),
        (3599, "59 minutes ago"),
        (3600, "1 hour ago"),
        (7200, "2 hours ago"),
        (86399, "23 hours ago"),
        (86400, "1 day ago"),
        (86400 * 400, "400 days ago"),
    ],
)
def test_how_long_ago_is_said_in_one_unit(seconds: int, text: str, monkeypatch: pytest.MonkeyPatch) -> None:
    now = datetime(2026, 1, 1, tzinfo=UTC)

    class Standing(datetime):
        @classmethod
        def now(cls, tz: Any = None) -> datetime:
            return now

    monkeypatch.setattr("thv_supervisor.commands.listing.datetime", Standing)
    assert ago((now - timedelta(seconds=seconds)).isoformat(timespec="seconds")) == text


def test_only_the_running_are_asked_for_unless_all_are(invoke: Any, control: Any) -> None:
    control.answers["GET", RUNNING] = control.answers["GET", f"{RUNNING}?all=true"] = {"workloads": []}
    invoke(list_workloads)
    invoke(list_workloads, "--all")
    assert control.paths() == ["GET ", "GET ?all=true"]


def test_nothing_is_said_in_words_and_written_in_json(invoke: Any, control: Any, console: Any) -> None:
    control.answers["GET", RUNNING] = {"workloads": []}
    invoke(list_workloads)
    assert (console.messages, console.tables) == (["No MCP servers found"], [])
    invoke(list_workloads, "--format", "json")
    invoke(list_workloads, "--format", "mcpservers")
    assert console.documents == [[], {"mcpServers": {}}]


def test_the_table_has_more_columns_when_it_is_wide(invoke: Any, control: Any, console: Any) -> None:
    control.answers["GET", RUNNING] = {"workloads": [VIEW]}
    invoke(list_workloads)
    invoke(list_workloads, "--wide")
    (narrow, (row,)), (wide, (wide_row,)) = console.tables
    assert narrow == ("NAME", "PACKAGE", "STATUS", "URL", "PORT", "GROUP", "CREATED")
    assert row[:6] == ["a", "uvx://a@1", "running", "http://127.0.0.1:19001/mcp", "19001", "default"]
    assert row[6].endswith("days ago")
    assert wide[len(narrow) :] == ("RUNTIME", "TRANSPORT", "RESTARTS", "NETWORK", "MEMORY")
    assert wide_row == [*row, "sandbox", "stdio", "3", "none", ""]


def test_a_wide_table_says_what_is_reached_and_how_much_memory_there_is(
    invoke: Any, control: Any, console: Any
) -> None:
    limits = ["memory 512 MiB (cgroup)", "256 processes (cgroup)"]
    control.answers["GET", RUNNING] = {"workloads": [VIEW | {"reaches": "a.example:443", "limits": limits}]}
    invoke(list_workloads, "--wide")
    ((_, (row,)),) = console.tables
    assert row[-2:] == ["a.example:443", "512 MiB (cgroup)"]


def test_a_group_and_labels_are_asked_for(invoke: Any, control: Any, console: Any) -> None:
    path = f"{RUNNING}?all=true&group=my+team&label=a%3D1&label=b%2Fc%3D"
    control.answers["GET", path] = {"workloads": []}
    assert invoke(list_workloads, "-a", "--group", "my team", "-l", "a=1", "--label", "b/c=").exit_code == 0
    assert console.messages == ["No MCP servers found in group 'my team'"]


def test_a_label_that_is_none_is_refused_before_control_is_asked(invoke: Any, control: Any) -> None:
    with pytest.raises(InvalidRequest, match="'team' is not KEY=VALUE"):
        invoke(list_workloads, "-l", "team")
    assert control.calls == []


def test_json_has_the_field_names_of_toolhive_as_control_answers_them(invoke: Any, control: Any, console: Any) -> None:
    control.answers["GET", RUNNING] = {"workloads": [VIEW]}
    invoke(list_workloads, "--format", "json")
    assert console.documents == [[VIEW]]
    names = "name package url port transport_type proxy_mode status status_context created_at started_at labels group"
    assert {*names.split(), "tools", "remote"} <= set(WorkloadView.__struct_fields__)


def test_clients_get_url_and_type(invoke: Any, control: Any, console: Any) -> None:
    control.answers["GET", RUNNING] = {"workloads": [VIEW]}
    invoke(list_workloads, "--format", "mcpservers")
    assert console.documents == [{"mcpServers": {"a": {"url": VIEW["url"], "type": "streamable-http"}}}]
