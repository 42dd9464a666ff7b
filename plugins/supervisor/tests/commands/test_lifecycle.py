"""Which workloads a command means, and in which order it asks."""

from __future__ import annotations

from typing import Any

import click
import pytest

from thv_core.errors import NotFound
from thv_supervisor.commands.lifecycle import restart, rm, start, stop

ALL = ("GET", "/api/v1beta/workloads?all=true")
TWO = {"workloads": [{"name": "a"}, {"name": "b"}]}


@pytest.mark.parametrize("command", [start, restart, stop, rm])
@pytest.mark.parametrize("arguments", [(), ("a", "--all")])
def test_names_and_all_exclude_each_other_and_one_is_needed(
    invoke: Any, control: Any, command: click.Command, arguments: tuple[str, ...]
) -> None:
    result = invoke(command, *arguments)
    assert result.exit_code == 2
    assert "give the names of workloads, or --all" in result.output
    assert control.calls == []


@pytest.mark.parametrize("command", [start, restart])
def test_a_start_follows_each_and_prints_its_url(invoke: Any, control: Any, console: Any, command: Any) -> None:
    assert invoke(command, "a", "b").exit_code == 0
    assert control.paths() == ["POST /a/restart", "POST /b/restart"]
    assert console.lines == ["http://a", "http://b"]


def test_all_are_all_that_there_are(invoke: Any, control: Any, console: Any) -> None:
    control.answers[ALL] = TWO
    assert invoke(stop, "--all", "--timeout", "3").exit_code == 0
    assert control.paths() == ["GET ?all=true", "POST /a/stop?timeout=3", "POST /b/stop?timeout=3"]
    assert console.messages == ["a is stopped", "b is stopped"]


@pytest.mark.parametrize("seconds", ["-1", "3601", "x", "nan"])
def test_a_grace_that_is_no_number_of_seconds_is_refused(invoke: Any, control: Any, seconds: str) -> None:
    assert invoke(stop, "a", "--timeout", seconds).exit_code == 2
    assert control.calls == []


@pytest.mark.parametrize(("answer", "removed"), [("y\n", ["DELETE /a", "DELETE /b"]), ("n\n", []), ("", [])])
def test_to_remove_all_asks_first(invoke: Any, control: Any, answer: str, removed: list[str]) -> None:
    control.answers[ALL] = TWO
    result = invoke(rm, "--all", input=answer)
    assert "Remove a, b?" in result.stderr
    assert result.stdout == ""
    assert control.paths()[1:] == removed
    assert result.exit_code == (0 if removed else 1)


@pytest.mark.parametrize("arguments", [("--all", "--yes"), ("-a", "-y"), ("a", "b")])
def test_yes_or_names_do_not_ask(invoke: Any, control: Any, console: Any, arguments: tuple[str, ...]) -> None:
    control.answers[ALL] = TWO
    result = invoke(rm, *arguments, input="n\n")
    assert (result.exit_code, result.stderr) == (0, "")
    assert control.paths()[-2:] == ["DELETE /a", "DELETE /b"]
    assert console.messages == ["a is removed", "b is removed"]


def test_to_remove_all_of_nothing_asks_nothing(invoke: Any, control: Any) -> None:
    control.answers[ALL] = {"workloads": []}
    result = invoke(rm, "--all", input="n\n")
    assert (result.exit_code, result.output) == (0, "")


def test_an_error_ends_the_command_before_the_next_name(invoke: Any, control: Any) -> None:
    control.answers["DELETE", "/api/v1beta/workloads/a"] = NotFound("no a")
    with pytest.raises(NotFound):
        invoke(rm, "a", "b")
    assert control.paths() == ["DELETE /a"]


def test_a_name_cannot_become_another_path(invoke: Any, control: Any) -> None:
    invoke(rm, "a?all=true#x b")
    assert control.paths() == ["DELETE /a%3Fall%3Dtrue%23x%20b"]
