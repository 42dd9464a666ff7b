"""What ``thv egress`` asks for and shows."""

from __future__ import annotations

import json
from datetime import datetime
from typing import Any

import pytest

from thv_core.errors import NotFound, PluginNotFound
from thv_supervisor.commands.egress import egress

PATH = "/api/v1beta/egress"
NOON = datetime.now().astimezone().replace(hour=12, minute=0, second=0, microsecond=0).timestamp()
CALL = {"method": "tools/call", "name": "fetch", "session": "3f9a0001feed", "user": "local"}
RECORD: dict[str, Any] = {
    "at": NOON,
    "workload": "web",
    "incarnation": "web.1",
    "way": "name",
    "verdict": "allowed",
    "host": "example.com",
    "port": 443,
    "address": "93.184.215.14",
    "via": "",
    "rule": ".com",
    "reason": "",
    "sent": 1200,
    "received": 18_000,
    "seconds": 0.1,
    "times": 1,
    "calls": [CALL],
    "group": "default",
}
DENIED = RECORD | {
    "verdict": "denied",
    "host": "metadata.google.internal",
    "port": 80,
    "address": "",
    "rule": "",
    "reason": "not in profile",
    "sent": 0,
    "received": 0,
    "calls": [],
}
EMPTY = "Nothing was reached, and nothing was denied"


@pytest.mark.parametrize(
    ("flags", "query"),
    [
        ((), ""),
        (("web",), "workload=web"),
        (("a b&c",), "workload=a+b%26c"),
        (("--denied",), "denied=true"),
        (("-f", "--tail", "0"), "tail=0&follow=true"),
        (("web", "--denied", "--follow", "--tail", "5"), "workload=web&tail=5&denied=true&follow=true"),
    ],
)
def test_each_flag_reaches_control(invoke: Any, control: Any, flags: tuple[str, ...], query: str) -> None:
    invoke(egress, "log", *flags)
    assert [path for _, path, _ in control.calls] == [f"{PATH}?{query}"]


def test_connections_are_a_table_with_the_calls_they_were_for(invoke: Any, control: Any, console: Any) -> None:
    control.streams[f"{PATH}?workload=web"] = [RECORD, DENIED]
    assert invoke(egress, "log", "web").exit_code == 0
    ((columns, rows),) = console.tables
    assert columns == ("TIME", "TO", "VERDICT", "RULE", "BYTES OUT/IN", "DURING")
    assert [list(row) for row in rows] == [
        [
            "12:00:00",
            "example.com:443 (93.184.215.14)",
            "allowed",
            ".com",
            "1.2 k/18 k",
            "tools/call fetch, session 3f9a0001, user local",
        ],
        ["12:00:00", "metadata.google.internal:80", "denied", "not in profile", "0/0", "-"],
    ]


def test_of_all_workloads_each_record_names_its_own(invoke: Any, control: Any, console: Any) -> None:
    control.streams[f"{PATH}?"] = [RECORD]
    invoke(egress, "log")
    ((columns, (row,)),) = console.tables
    assert (columns[:3], row[:2]) == (("TIME", "NAME", "TO"), ["12:00:00", "web"])


TARGETS = {
    "by an address": ({"host": "10.1.2.3", "address": "10.1.2.3"}, "10.1.2.3:443"),
    "by an address of IPv6": ({"host": "fd00::1", "address": "fd00::1"}, "[fd00::1]:443"),
    "through another proxy": (
        {"via": "proxy.corp:8080", "address": "10.0.0.1"},
        "example.com:443 (via proxy.corp:8080)",
    ),
    "never resolved": ({"address": ""}, "example.com:443"),
    "a look-up": ({"way": "dns", "port": 53, "address": ""}, "example.com (look-up)"),
    "many look-ups": ({"way": "dns", "port": 0, "times": 7}, "example.com (look-up, 7 times)"),
}


@pytest.mark.parametrize("case", TARGETS)
def test_what_was_meant_to_be_reached_is_told_in_one_cell(invoke: Any, control: Any, console: Any, case: str) -> None:
    changes, text = TARGETS[case]
    control.streams[f"{PATH}?workload=web"] = [RECORD | changes]
    invoke(egress, "log", "web")
    assert console.tables[0][1][0][1] == text


@pytest.mark.parametrize(
    ("calls", "text"),
    [
        ([], "-"),
        ([CALL | {"user": "", "session": ""}], "tools/call fetch"),
        ([CALL | {"method": "tools/list", "name": "", "session": ""}], "tools/list, user local"),
        ([CALL | {"session": "s", "user": ""}] * 2, "tools/call fetch, session s; tools/call fetch, session s"),
        ([CALL | {"session": "", "user": ""}] * 5, "tools/call fetch; tools/call fetch; 3 more"),
    ],
)
def test_the_calls_in_flight_are_named_and_the_others_counted(
    invoke: Any, control: Any, console: Any, calls: list[Any], text: str
) -> None:
    control.streams[f"{PATH}?workload=web"] = [RECORD | {"calls": calls}]
    invoke(egress, "log", "web")
    assert console.tables[0][1][0][-1] == text


def test_nothing_is_said_as_such_and_is_an_empty_list_for_a_program(invoke: Any, control: Any, console: Any) -> None:
    control.answers["GET", f"{PATH}/report?by=workload"] = {"by": "workload", "sums": []}
    invoke(egress, "log")
    invoke(egress, "report")
    assert (console.messages, console.tables) == ([EMPTY, EMPTY], [])
    invoke(egress, "log", "--format", "json")
    invoke(egress, "report", "--format", "json")
    assert console.documents == [[], []]


def test_json_is_the_records_themselves(invoke: Any, control: Any, console: Any) -> None:
    control.streams[f"{PATH}?"] = [RECORD, DENIED]
    invoke(egress, "log", "--format", "json")
    assert console.documents == [[RECORD, DENIED]]


def test_a_log_that_is_followed_shows_each_record_as_it_comes(invoke: Any, control: Any, console: Any) -> None:
    control.streams[f"{PATH}?follow=true"] = [RECORD, KeyboardInterrupt()]
    invoke(egress, "log", "-f")
    header, line = console.lines
    assert header.split() == ["TIME", "NAME", "TO", "VERDICT", "RULE", "BYTES", "OUT/IN", "DURING"]
    for word, value in (("NAME", "web"), ("TO", "example.com"), ("VERDICT", "allowed"), ("DURING", "tools/call")):
        assert line.index(value) == header.index(word)


def test_no_name_of_a_tool_passes_for_another_record(invoke: Any, control: Any, console: Any) -> None:
    hostile = RECORD | {"calls": [CALL | {"name": "x\n12:00:00  web  safe.example\x1b[2J"}]}
    control.streams[f"{PATH}?follow=true"] = [hostile, KeyboardInterrupt()]
    invoke(egress, "log", "-f")
    assert len(console.lines) == 2
    assert all(line.isprintable() for line in console.lines)


def test_a_log_that_is_followed_by_a_program_is_one_document_a_line(invoke: Any, control: Any, console: Any) -> None:
    control.streams[f"{PATH}?follow=true"] = [RECORD, DENIED]
    invoke(egress, "log", "-f", "--format", "json")
    assert [json.loads(line) for line in console.lines] == [RECORD, DENIED]


@pytest.mark.parametrize("error", [NotFound("no workload"), PluginNotFound("no egress")])
def test_an_error_of_control_is_the_error_of_the_command(invoke: Any, control: Any, error: Exception) -> None:
    control.streams[f"{PATH}?"] = [error]
    with pytest.raises(type(error)):
        invoke(egress, "log")


# Reports -------------------------------------------------------------------------------------------------------------

SUM = {
    "key": "web",
    "connections": 3,
    "denied": 1,
    "failed": 0,
    "sent": 2000,
    "received": 5,
    "first_at": NOON,
    "last_at": NOON,
}


@pytest.mark.parametrize("by", ["workload", "group", "host"])
def test_a_report_is_a_table_by_what_was_asked(invoke: Any, control: Any, console: Any, by: str) -> None:
    control.answers["GET", f"{PATH}/report?by={by}"] = {"by": by, "sums": [SUM, SUM | {"key": ""}]}
    invoke(egress, "report", "--by", by)
    ((columns, rows),) = console.tables
    assert columns == (by.upper(), "CONNECTIONS", "DENIED", "FAILED", "BYTES OUT", "BYTES IN", "LAST")
    assert [list(row) for row in rows] == [
        ["web", "3", "1", "0", "2.0 k", "5", "12:00:00"],
        ["(removed)", "3", "1", "0", "2.0 k", "5", "12:00:00"],
    ]


def test_a_report_for_a_program_is_its_sums(invoke: Any, control: Any, console: Any) -> None:
    control.answers["GET", f"{PATH}/report?by=workload"] = {"by": "workload", "sums": [SUM]}
    invoke(egress, "report", "--format", "json")
    assert console.documents == [[SUM]]


def test_a_report_by_something_else_is_refused(invoke: Any, control: Any) -> None:
    assert invoke(egress, "report", "--by", "day").exit_code == 2
    assert control.calls == []
