"""What ``thv group`` asks of control, and what it asks of its user."""

from __future__ import annotations

from typing import Any

import pytest

from thv_core.errors import AlreadyExists, InvalidRequest, NotFound, Unsupported
from thv_supervisor.commands.group import group

GROUPS = "/api/v1beta/groups"
MEMBERS = ("GET", "/api/v1beta/workloads?all=true&group=team")


@pytest.fixture
def two(control: Any) -> Any:
    control.answers[MEMBERS] = {"workloads": [{"name": "a"}, {"name": "b"}]}
    return control


def removals(control: Any) -> list[str]:
    return [path for method, path, _ in control.calls if method == "DELETE"]


def test_a_group_is_made(invoke: Any, control: Any, console: Any) -> None:
    assert invoke(group, "create", "my team").exit_code == 0
    assert control.calls == [("POST", GROUPS, {"name": "my team"})]
    assert console.lines == []


@pytest.mark.parametrize("name", ["Team", "a  b", "", "a/b"])
def test_what_cannot_name_a_group_is_refused_before_control_is_asked(invoke: Any, control: Any, name: str) -> None:
    for arguments in (("create", name), ("rename", "team", name)):
        with pytest.raises(InvalidRequest, match="cannot name a group"):
            invoke(group, *arguments)
    assert control.calls == []


def test_a_group_that_is_there_is_the_error_of_control(invoke: Any, control: Any) -> None:
    control.answers["POST", GROUPS] = there = AlreadyExists("group 'team' exists already")
    with pytest.raises(AlreadyExists) as failed:
        invoke(group, "create", "team")
    assert failed.value is there


def test_groups_are_listed_by_name(invoke: Any, control: Any, console: Any) -> None:
    control.answers["GET", GROUPS] = {"groups": [{"name": "default"}, {"name": "team"}]}
    invoke(group, "list")
    invoke(group, "list", "--format", "json")
    assert console.tables == [(("NAME",), [["default"], ["team"]])]
    assert console.documents == [[{"name": "default"}, {"name": "team"}]]


def test_no_group_is_said_in_words(invoke: Any, control: Any, console: Any) -> None:
    control.answers["GET", GROUPS] = {"groups": []}
    invoke(group, "list")
    assert (console.messages, console.tables) == (["No groups configured."], [])


@pytest.mark.parametrize(
    ("flags", "fate", "path"),
    [
        ((), "2 workloads will be moved to the group 'default'", f"{GROUPS}/team"),
        (("--with-workloads",), "2 workloads will be REMOVED", f"{GROUPS}/team?with-workloads=true"),
    ],
)
def test_a_group_with_members_is_removed_when_its_user_agrees(
    invoke: Any, two: Any, console: Any, terminal: Any, flags: tuple[str, ...], fate: str, path: str
) -> None:
    result = invoke(group, "rm", "team", *flags, input=terminal(b"y\n"))
    assert "[y/N]" in result.stderr
    assert result.stdout == ""
    assert console.messages[:3] == [f"WARNING: this removes the group 'team', and its {fate}:", "  - a", "  - b"]
    assert removals(two) == [path]


def test_whoever_does_not_agree_keeps_the_group(invoke: Any, two: Any, console: Any, terminal: Any) -> None:
    assert invoke(group, "rm", "team", input=terminal(b"n\n")).exit_code == 0
    assert console.messages[-1] == "Group deletion cancelled."
    assert removals(two) == []


@pytest.mark.parametrize("flags", ["", " --with-workloads"])
def test_without_a_terminal_a_flag_is_needed_beside_those_that_were_given(invoke: Any, two: Any, flags: str) -> None:
    with pytest.raises(InvalidRequest, match="there is no terminal to ask") as refused:
        invoke(group, "rm", "team", *flags.split(), input="y\n")
    assert refused.value.hint == f"thv group rm team{flags} --yes"
    assert removals(two) == []


@pytest.mark.parametrize("flag", ["--yes", "-y"])
def test_yes_does_not_ask(invoke: Any, two: Any, flag: str) -> None:
    result = invoke(group, "rm", "team", flag, input="n\n")
    assert (result.exit_code, result.stderr) == (0, "")
    assert removals(two) == [f"{GROUPS}/team"]


def test_an_empty_group_is_removed_without_a_question(invoke: Any, control: Any, console: Any) -> None:
    control.answers[MEMBERS] = {"workloads": []}
    assert invoke(group, "rm", "team", input="n\n").exit_code == 0
    assert removals(control) == [f"{GROUPS}/team"]
    assert console.messages == ["group team is removed"]


def test_a_group_that_is_not_there_is_not_asked_about(invoke: Any, control: Any) -> None:
    control.answers[MEMBERS] = NotFound("group 'team' does not exist")
    with pytest.raises(NotFound):
        invoke(group, "rm", "team")
    assert removals(control) == []


def test_the_default_group_is_kept_without_a_question(invoke: Any, control: Any) -> None:
    with pytest.raises(InvalidRequest, match="the group 'default' always exists") as refused:
        invoke(group, "rm", "default")
    assert refused.value.hint.endswith("thv rm --group default")
    assert control.calls == []


def test_a_group_gets_another_name(invoke: Any, control: Any) -> None:
    assert invoke(group, "rename", "a b", "c").exit_code == 0
    assert control.calls == [("PATCH", f"{GROUPS}/a%20b", {"name": "c"})]


def test_the_last_word_of_a_move_is_the_group(invoke: Any, control: Any, console: Any) -> None:
    assert invoke(group, "move", "a", "b", "team").exit_code == 0
    assert control.calls == [("POST", f"{GROUPS}/team/workloads", {"names": ["a", "b"]})]
    assert console.messages == ["a, b are in group team now"]
    assert invoke(group, "move", "team").exit_code == 2


def test_to_run_a_group_says_what_to_do_instead(invoke: Any, control: Any) -> None:
    with pytest.raises(Unsupported, match="group run is deprecated") as refused:
        invoke(group, "run", "team")
    assert "thv group create team" in refused.value.hint
    assert control.calls == []
    assert "run" not in invoke(group, "--help").output.split()
