"""Which workloads a command means, and in which order it asks."""

from __future__ import annotations

import threading
from typing import Any

import click
import pytest

from thv_core.errors import InvalidRequest, NotFound, StartFailed, ThvError
from thv_supervisor.commands.lifecycle import restart, rm, start, stop

ALL = ("GET", "/api/v1beta/workloads?all=true")
TEAM = ("GET", "/api/v1beta/workloads?all=true&group=team")
TWO = {"workloads": [{"name": "a", "status": "running"}, {"name": "b", "status": "error"}]}
STATUS = ("GET", "/api/v1beta/workloads/a/status")


def acts(control: Any) -> list[str]:
    """What was asked of control beside looking, in alphabetical order: what runs side by side has none."""
    return sorted(path for path in control.paths() if not path.startswith("GET"))


@pytest.mark.parametrize("command", [start, restart, stop, rm])
@pytest.mark.parametrize("arguments", [(), ("a", "--all"), ("a", "-g", "team"), ("--all", "--group", "team")])
def test_names_all_and_a_group_exclude_each_other_and_one_is_needed(
    invoke: Any, control: Any, command: click.Command, arguments: tuple[str, ...]
) -> None:
    result = invoke(command, *arguments)
    assert result.exit_code == 2
    assert "give the names of workloads, or --all, or --group" in result.output
    assert control.calls == []


@pytest.mark.parametrize("command", [start, restart])
def test_a_start_of_one_is_followed_and_prints_its_url(invoke: Any, control: Any, console: Any, command: Any) -> None:
    control.stories["/api/v1beta/workloads/a/restart"] = [
        {"progress": {"step": "ready", "text": "1 tool", "seconds": 1.0, "done": True}},
        {"ready": {"url": "http://a/mcp"}},
    ]
    assert invoke(command, "a").exit_code == 0
    assert control.paths() == ["POST /a/restart"]
    assert console.lines == ["http://a/mcp"]
    assert console.steps == [("ready", "1 tool", True)]


@pytest.mark.parametrize("command", [start, restart])
def test_several_start_side_by_side_with_a_line_each(invoke: Any, control: Any, console: Any, command: Any) -> None:
    assert invoke(command, "a", "b", "a").exit_code == 0
    assert acts(control) == ["POST /a/restart", "POST /b/restart"]
    assert sorted(console.lines) == ["a  http://a", "b  http://b"]
    assert console.messages == ["Restart summary: 2 succeeded, 0 failed"]


def test_several_are_under_way_at_once_but_not_all(invoke: Any, control: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    lock, under_way, most = threading.Lock(), 0, 0
    together = threading.Barrier(8)

    def call(method: str, path: str, limit: float = 0.0, body: object = None) -> Any:
        nonlocal under_way, most
        with lock:
            under_way += 1
            most = max(most, under_way)
        together.wait(timeout=30)
        with lock:
            under_way -= 1

    monkeypatch.setattr(control, "call", call)
    assert invoke(rm, *(f"w{number}" for number in range(24))).exit_code == 0
    assert most == 8


def test_a_start_that_fails_keeps_no_other_from_starting(invoke: Any, control: Any, console: Any) -> None:
    control.stories["/api/v1beta/workloads/a/restart"] = [StartFailed("a broke", hint="thv logs a")]
    with pytest.raises(ThvError, match=r"^1 of 2 failed") as failed:
        invoke(start, "a", "b")
    assert console.lines == ["b  http://b"]
    assert sorted(console.messages) == ["Restart summary: 1 succeeded, 1 failed", "a did not start"]
    assert failed.value.evidence == ("a: a broke", "  thv logs a")


def test_a_group_is_its_members(invoke: Any, control: Any, console: Any) -> None:
    control.answers[TEAM] = TWO
    for command, act in ((start, "POST /{}/restart"), (rm, "DELETE /{}?wait=true")):
        control.calls.clear()
        assert invoke(command, "-g", "team").exit_code == 0
        assert acts(control) == [act.format("a"), act.format("b")]


def test_a_group_without_members_is_said_to_have_none(invoke: Any, control: Any, console: Any) -> None:
    control.answers[TEAM] = {"workloads": []}
    for command in (start, stop, rm):
        assert invoke(command, "--group", "team").exit_code == 0
    assert console.messages == ["No MCP servers found in group 'team'"] * 3


def test_in_the_foreground_one_is_started_and_stopped_at_the_end(
    invoke: Any, control: Any, console: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    control.answers[STATUS] = {"status": "running", "started_at": "t", "restarts": 0}
    control.text = [b"one\n", KeyboardInterrupt()]
    result = invoke(start, "a", "-f")
    assert (result.exit_code, result.stderr) == (0, "one\n")
    assert acts(control) == ["POST /a/restart", "POST /a/stop?wait=true&timeout=30"]
    assert console.messages == ["a is stopped"]


def test_only_one_can_be_in_the_foreground(invoke: Any, control: Any) -> None:
    result = invoke(restart, "a", "b", "--foreground")
    assert (result.exit_code, "--foreground is for one workload" in result.output) == (2, True)
    assert control.calls == []


# Stopping ------------------------------------------------------------------------------------------------------------


def test_all_are_all_that_there_are(invoke: Any, control: Any, console: Any) -> None:
    control.answers[ALL] = TWO
    assert invoke(stop, "--all", "--timeout", "3").exit_code == 0
    assert acts(control) == ["POST /a/stop?wait=true&timeout=3", "POST /b/stop?wait=true&timeout=3"]
    assert sorted(console.messages) == ["a is stopped", "b is stopped"]


@pytest.mark.parametrize(
    ("arguments", "said"), [(("a", "b"), ["a is not running", "b is stopped"]), (("--all",), ["b is stopped"])]
)
def test_what_is_stopped_already_is_no_error_and_told_of_a_name(
    invoke: Any, control: Any, console: Any, arguments: tuple[str, ...], said: list[str]
) -> None:
    control.answers[ALL] = {"workloads": [{"name": "a", "status": "stopped"}, {"name": "b", "status": "running"}]}
    assert invoke(stop, *arguments).exit_code == 0
    assert acts(control) == ["POST /b/stop?wait=true&timeout=30"]
    assert console.messages == said


def test_to_stop_all_of_what_is_stopped_says_so(invoke: Any, control: Any, console: Any) -> None:
    control.answers[ALL] = {"workloads": [{"name": "a", "status": "stopped"}]}
    assert invoke(stop, "--all").exit_code == 0
    assert (acts(control), console.messages) == ([], ["a is not running"])


def test_a_name_that_is_not_there_is_an_error_with_the_nearest(invoke: Any, control: Any) -> None:
    control.answers[ALL] = TWO
    unknown = NotFound("there is no workload named tiem", hint="Did you mean time?")
    control.answers["POST", "/api/v1beta/workloads/tiem/stop?wait=true&timeout=30"] = unknown
    with pytest.raises(NotFound) as failed:
        invoke(stop, "tiem")
    assert failed.value is unknown


def test_a_stop_is_waited_for_longer_than_its_grace(invoke: Any, control: Any) -> None:
    control.answers[ALL] = TWO
    for grace in ("0", "3600"):
        assert invoke(stop, "a", "--timeout", grace).exit_code == 0
    assert [limit for limit in control.limits if limit > 30] == [150.0, 3750.0]


@pytest.mark.parametrize("seconds", ["-1", "3601", "x", "nan"])
def test_a_grace_that_is_no_number_of_seconds_is_refused(invoke: Any, control: Any, seconds: str) -> None:
    assert invoke(stop, "a", "--timeout", seconds).exit_code == 2
    assert control.calls == []


# Removing ------------------------------------------------------------------------------------------------------------


def test_a_removal_is_waited_for_longer_than_a_look(invoke: Any, control: Any) -> None:
    assert invoke(rm, "a").exit_code == 0
    assert control.limits == [150.0]


@pytest.mark.parametrize(("answer", "removed", "code"), [(b"y\n", True, 0), (b"n\n", False, 0), (b"", False, 1)])
def test_to_remove_all_asks_first(
    invoke: Any, control: Any, terminal: Any, answer: bytes, removed: bool, code: int
) -> None:
    control.answers[ALL] = TWO
    result = invoke(rm, "--all", input=terminal(answer))
    assert "Remove a, b?" in result.stderr
    assert result.stdout == ""
    assert acts(control) == (["DELETE /a?wait=true", "DELETE /b?wait=true"] if removed else [])
    assert result.exit_code == code


def test_whoever_does_not_agree_hears_that_nothing_is_removed(
    invoke: Any, control: Any, console: Any, terminal: Any
) -> None:
    control.answers[ALL] = TWO
    invoke(rm, "--all", input=terminal(b"n\n"))
    assert console.messages == ["nothing is removed"]


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
    assert acts(control) == ["DELETE /a?wait=true", "DELETE /b?wait=true"]
    assert sorted(console.messages) == ["a is removed", "b is removed"]


def test_to_remove_all_of_nothing_asks_nothing(invoke: Any, control: Any, console: Any) -> None:
    control.answers[ALL] = {"workloads": []}
    result = invoke(rm, "--all", input="n\n")
    assert (result.exit_code, result.output) == (0, "")
    assert console.messages == ["No MCP servers found"]


def test_an_error_is_told_after_every_other_name_had_its_turn(invoke: Any, control: Any, console: Any) -> None:
    control.answers["DELETE", "/api/v1beta/workloads/a?wait=true"] = NotFound("no a", hint="look again")
    control.answers["DELETE", "/api/v1beta/workloads/c?wait=true"] = NotFound("no c")
    with pytest.raises(ThvError, match=r"^2 of 3 failed") as failed:
        invoke(rm, "a", "b", "c")
    assert acts(control) == [f"DELETE /{name}?wait=true" for name in "abc"]
    assert console.messages == ["b is removed"]
    evidence = "\n".join(failed.value.evidence)
    assert [word in evidence for word in ("a: no a", "look again", "c: no c")] == [True, True, True]


@pytest.mark.parametrize("command", [stop, rm])
def test_the_error_of_a_single_name_is_told_as_it_is(invoke: Any, control: Any, command: click.Command) -> None:
    gone = NotFound("no a", hint="look again")
    control.answers[ALL] = TWO
    control.answers["POST", "/api/v1beta/workloads/a/stop?wait=true&timeout=30"] = gone
    control.answers["DELETE", "/api/v1beta/workloads/a?wait=true"] = gone
    with pytest.raises(NotFound) as failed:
        invoke(command, "a")
    assert failed.value is gone


def test_what_nobody_foresaw_is_raised_as_it_is(invoke: Any, control: Any) -> None:
    control.answers["DELETE", "/api/v1beta/workloads/b?wait=true"] = ValueError("odd")
    with pytest.raises(ValueError, match="odd"):
        invoke(rm, "a", "b")


def test_a_name_cannot_become_another_path(invoke: Any, control: Any) -> None:
    invoke(rm, "a?all=true#x b")
    assert control.paths() == ["DELETE /a%3Fall%3Dtrue%23x%20b?wait=true"]
