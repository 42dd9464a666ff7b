"""What ``thv logs`` asks for and writes."""

from __future__ import annotations

from typing import Any

import pytest

from thv_supervisor.commands.logs import logs


@pytest.mark.parametrize(
    ("flags", "path"),
    [
        ((), "/a/logs?follow=false"),
        (("-f",), "/a/logs?follow=true"),
        (("--proxy",), "/a/proxy-logs?follow=false"),
        (("-p", "-f", "--tail", "5"), "/a/proxy-logs?follow=true&tail=5"),
        (("--tail", "0"), "/a/logs?follow=false&tail=0"),
    ],
)
def test_each_flag_reaches_control_and_bytes_pass_unchanged(
    invoke: Any, control: Any, flags: tuple[str, ...], path: str
) -> None:
    control.text = [b"one\n", b"\xff two\n"]
    result = invoke(logs, "a", *flags)
    assert result.stdout_bytes == b"one\n\xff two\n"
    assert control.paths() == [f"GET {path}"]


def test_a_negative_number_of_lines_is_refused(invoke: Any, control: Any) -> None:
    assert invoke(logs, "a", "--tail", "-1").exit_code == 2
    assert control.calls == []
