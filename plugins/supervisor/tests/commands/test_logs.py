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


# Prune ---------------------------------------------------------------------------------------------------------------

PRUNE = ("POST", "/api/v1beta/logs/prune")


def test_prune_prints_what_it_removed(invoke: Any, control: Any, console: Any) -> None:
    control.answers[PRUNE] = {"pruned": ["/logs/a.log", "/logs/b.log"]}
    assert invoke(logs, "prune").exit_code == 0
    assert console.lines == ["/logs/a.log", "/logs/b.log"]
    assert control.calls == [(*PRUNE, None)]


def test_prune_says_that_there_was_nothing(invoke: Any, control: Any, console: Any) -> None:
    control.answers[PRUNE] = {"pruned": []}
    assert invoke(logs, "prune").exit_code == 0
    assert (console.lines, console.messages) == ([], ["There is no log of a removed workload"])


@pytest.mark.parametrize("flags", [("-f",), ("--tail", "3"), ("--proxy",)])
def test_an_option_means_a_workload_that_is_called_prune(invoke: Any, control: Any, flags: tuple[str, ...]) -> None:
    assert invoke(logs, "prune", *flags).exit_code == 0
    assert [method for method, _, _ in control.calls] == ["GET"]


@pytest.mark.parametrize("arguments", [("a", "prune"), ("a", "b"), ("prune", "prune")])
def test_a_second_word_is_refused_and_prunes_nothing(invoke: Any, control: Any, arguments: tuple[str, ...]) -> None:
    result = invoke(logs, *arguments)
    assert result.exit_code == 2
    assert control.calls == []


def test_a_name_is_needed(invoke: Any, control: Any) -> None:
    assert invoke(logs).exit_code == 2
    assert control.calls == []
