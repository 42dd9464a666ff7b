"""Which workloads a command means, and in which order it asks."""

from __future__ import annotations

import io
from typing import Any

import click
import pytest

from thv_core.errors import InvalidRequest, NotFound, StartFailed, ThvError
from thv_supervisor.commands.lifecycle import restart, rm, start, stop

ALL = ("GET", "/api/v1beta/workloads?all=true")
TWO = {"workloads": [{"name": "a"}, {"name": "b"}]}


class Terminal(io.BytesIO):
    """Standard input at which somebody sits."""

    def isatty(self) -> bool:
        return True


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


def test_a_stop_is_waited_for_longer_than_its_grace(invoke: Any, control: Any) -> None:
    for grace in ("0", "3600"):
        assert invoke(stop, "a", "--timeout", grace).exit_code == 0
    assert control.limits == [150.0, 3750.0]


def test_a_removal_is_waited_for_longer_than_a_look(invoke: Any, control: Any) -> None:
    assert invoke(rm, "a").exit_code == 0
    assert control.limits == [150.0]


@pytest.mark.parametrize("seconds", ["-1", "3601", "x", "nan"])
def test_a_grace_that_is_no_number_of_seconds_is_refused(invoke: Any, control: Any, seconds: str) -> None:
    assert invoke(stop, "a", "--timeout", seconds).exit_code == 2
    assert control.calls == []


@pytest.mark.parametrize(("answer", "removed"), [(b"y\n", ["DELETE /a", "DELETE /b"]), (b"n\n", []), (b"", [])])
def test_to_remove_all_asks_first(invoke: Any, control: Any, answer: bytes, removed: list[str]) -> None:
    control.answers[ALL] = TWO
    result = invoke(rm, "--all", input=Terminal(answer))
    assert "Remove a, b?" in result.stderr
    assert result.stdout == ""
    assert control.paths()[1:] == removed
    assert result.exit_code == (0 if removed else 1)


def test_to_remove_all_without_a_terminal_needs_a_flag(invoke: Any, control: Any, console: Any) -> None:
    control.answers[ALL] = TWO
    with pytest.raises(InvalidRequest, match="there is no terminal to ask") as refused:
        invoke(rm, "--all", input="y\n")
    assert refused.value.hint == "thv rm --all --yes"
    assert (control.paths(), console.messages) == (["GET ?all=true"], [])


@pytest.mark.parametrize("arguments", [("--all", "--yes"), ("-a", "-y"), ("a", "b")])
def test_yes_or_names_do_not_ask(invoke: Any, control: Any, console: Any, arguments: tuple[str, ...]) -> None:
    control.answers[ALL] = TWO
    result = invoke(rm, *arguments, input="n\n")
    assert (result.exit_code, result.stderr) == (0, "")
    assert control.paths()[-2:] == ["DELETE /a", "DELETE /b"]
    assert console.messages == ["a is removed", "b is removed"]


def test_to_remove_all_of_nothing_asks_nothing(invoke: Any, control: Any, console: Any) -> None:
    control.answers[ALL] = {"workloads": []}
    result = invoke(rm, "--all", input="n\n")
    assert (result.exit_code, result.output) == (0, "")
    assert console.messages == ["No MCP servers found"]


def test_an_error_is_told_after_every_other_name_had_its_turn(invoke: Any, control: Any, console: Any) -> None:
    control.answers["DELETE", "/api/v1beta/workloads/a"] = NotFound("no a", hint="look again")
    control.answers["DELETE", "/api/v1beta/workloads/c"] = NotFound("no c")
    with pytest.raises(ThvError, match=r"^2 of 3 failed") as failed:
        invoke(rm, "a", "b", "c")
    assert control.paths() == ["DELETE /a", "DELETE /b", "DELETE /c"]
    assert console.messages == ["b is removed"]
    evidence = "\n".join(failed.value.evidence)
    assert [word in evidence for word in ("no a", "look again", "no c")] == [True, True, True]


def test_a_start_that_fails_keeps_no_other_from_starting(invoke: Any, control: Any, console: Any) -> None:
    control.stories["/api/v1beta/workloads/a/restart"] = [StartFailed("a broke")]
    with pytest.raises(ThvError, match=r"^1 of 2 failed"):
        invoke(start, "a", "b")
    assert console.lines == ["http://b"]


@pytest.mark.parametrize("command", [stop, rm])
def test_the_error_of_a_single_name_is_told_as_it_is(invoke: Any, control: Any, command: click.Command) -> None:
    gone = NotFound("no a", hint="look again")
    control.answers["POST", "/api/v1beta/workloads/a/stop?timeout=30"] = gone
    control.answers["DELETE", "/api/v1beta/workloads/a"] = gone
    with pytest.raises(NotFound) as failed:
        invoke(command, "a")
    assert failed.value is gone


def test_a_name_cannot_become_another_path(invoke: Any, control: Any) -> None:
    invoke(rm, "a?all=true#x b")
    assert control.paths() == ["DELETE /a%3Fall%3Dtrue%23x%20b"]
