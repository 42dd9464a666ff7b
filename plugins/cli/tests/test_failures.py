"""Errors as people and programs read them."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import click
import pytest

from thv_cli.failures import own, present, translated, wants_json
from thv_core.errors import InvalidRequest, NotFound, StartFailed

Build = Callable[..., Any]


def test_an_error_is_what_failed_the_evidence_and_what_to_do(streams: Build) -> None:
    it = streams()
    error = StartFailed(
        "broken-server exited with code 1 before it answered",
        evidence=["its last lines:", "  ModuleNotFoundError: \x1b[31mNo module named 'yaml'"],
        hint="Nothing was left behind. Try:  thv run uvx://broken-server --with pyyaml",
    )
    assert present(error, it.console, as_json=False) == 1
    assert it.stderr.getvalue().splitlines() == [
        "error: broken-server exited with code 1 before it answered",
        "  its last lines:",
        "    ModuleNotFoundError: \\x1b[31mNo module named 'yaml'",
        "  Nothing was left behind. Try:  thv run uvx://broken-server --with pyyaml",
    ]
    assert it.stdout.getvalue() == ""


def test_an_error_without_evidence_and_hint_is_one_line(streams: Build) -> None:
    it = streams()
    present(NotFound("there is no workload time"), it.console, as_json=False)
    assert it.stderr.getvalue() == "error: there is no workload time\n"


def test_every_line_of_the_evidence_is_indented(streams: Build) -> None:
    it = streams()
    present(NotFound("bad", evidence=["one\ntwo"], hint="three\n  four"), it.console, as_json=False)
    assert it.stderr.getvalue() == "error: bad\n  one\n  two\n  three\n    four\n"


def test_an_error_for_a_program_is_one_json_object(streams: Build) -> None:
    it = streams()
    error = InvalidRequest("bad", evidence=["a"], hint="b")
    assert present(error, it.console, as_json=True) == 2
    assert json.loads(it.stderr.getvalue()) == error.document()
    assert it.stderr.getvalue().count("\n") == 1


def _raised() -> ValueError:
    try:
        raise ValueError("no good")
    except ValueError as error:
        return error


def test_an_unforeseen_exception_is_an_internal_error_without_its_traceback(streams: Build) -> None:
    it = streams()
    assert present(_raised(), it.console, as_json=False) == 1
    assert it.stderr.getvalue() == "error: internal error: ValueError: no good\n  Run again with --debug.\n"


def test_debugging_shows_the_whole_traceback_before_the_error(streams: Build) -> None:
    it = streams()
    it.console.debug = True
    present(_raised(), it.console, as_json=False)
    assert it.stderr.getvalue().startswith("Traceback (most recent call last):\n")
    assert "\nValueError: no good\nerror: internal error: ValueError: no good\n" in it.stderr.getvalue()


def test_an_exception_without_a_text_is_named_by_its_type() -> None:
    assert translated(ValueError()).message == "internal error: ValueError"


@pytest.mark.parametrize(
    ("error", "code", "exit_code"),
    [
        (KeyboardInterrupt(), "interrupted", 130),
        (click.Abort(), "aborted", 1),
        (EOFError(), "aborted", 1),
        (click.ClickException("Bad."), "failed", 1),
        (click.UsageError("Bad."), "invalid-request", 2),
        (ValueError("bad"), "internal-error", 1),
    ],
)
def test_each_ending_has_its_code(error: BaseException, code: str, exit_code: int) -> None:
    meant = translated(error)
    assert (meant.code, meant.exit_code) == (code, exit_code)


def test_ctrl_c_at_a_question_of_click_is_an_interruption(monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupted(prompt: str) -> str:
        raise KeyboardInterrupt

    monkeypatch.setattr("click.termui.visible_prompt_func", interrupted)
    with pytest.raises(click.Abort) as raised:
        click.prompt("Name")
    assert translated(raised.value).exit_code == 130


@pytest.mark.parametrize(
    ("arguments", "json_wanted"),
    [
        (["list", "--format", "json"], True),
        (["list", "--format=json"], True),
        (["list", "--format", "text"], False),
        (["run", "x", "--", "--format", "json"], False),
        (["list", "--format"], False),
        ([], False),
    ],
)
def test_json_is_wanted_when_the_arguments_before_the_dashes_say_so(arguments: list[str], json_wanted: bool) -> None:
    assert wants_json(arguments) is json_wanted


def test_what_follows_the_dashes_is_not_ours() -> None:
    assert own(["run", "x", "--", "--debug"]) == ["run", "x"]


@pytest.mark.parametrize("as_json", [True, False])
def test_nothing_is_said_of_an_interruption(streams: Build, as_json: bool) -> None:
    it = streams()
    assert present(KeyboardInterrupt(), it.console, as_json=as_json) == 130
    assert it.stderr.getvalue() == ""
