"""Whoever asks any command for JSON gets its errors as JSON, too: one object on standard error, and nothing else."""

from __future__ import annotations

import io
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import click
import pytest

KEYS = ["code", "evidence", "hint", "message"]


def commands_of(command: click.Command, words: tuple[str, ...] = ()) -> Iterator[tuple[tuple[str, ...], click.Command]]:
    """Yield every command below one by its words, hidden ones too."""
    if words:
        yield words, command
    for name, child in command.commands.items() if isinstance(command, click.Group) else ():
        yield from commands_of(child, (*words, name))


def answered(arguments: list[str], environment: dict[str, str], directory: Path) -> tuple[int, str, str]:
    """Run a command line in this process: its exit code, and what it wrote to either stream."""
    from thv_cli.console import TerminalConsole
    from thv_cli.invocation import run

    stdout, stderr = io.StringIO(), io.StringIO()
    code = run(arguments, TerminalConsole(stdout, stderr, environment, directory))
    return code, stdout.getvalue(), stderr.getvalue()


def error_in(stderr: str) -> dict[str, Any]:
    """Return the error that is the last line, and the only one that is JSON."""
    document: dict[str, Any] = json.loads(stderr.splitlines()[-1])
    assert sorted(document) == KEYS
    return document


def formats(command: click.Command) -> bool:
    """Whether a command can answer in JSON."""
    options = [each for each in command.params if isinstance(each, click.Option) and "--format" in each.opts]
    return any(isinstance(each.type, click.Choice) and "json" in each.type.choices for each in options)


def some(command: click.Command) -> list[str]:
    """Return a word for each argument that a command needs."""
    return ["x" for each in command.params if isinstance(each, click.Argument) and (each.required or each.nargs == 1)]


def test_a_mistake_on_the_command_line_of_any_command_is_json(command_tree: click.Group, tmp_path: Path) -> None:
    commands = list(commands_of(command_tree))
    assert len(commands) > 40
    for words, _ in commands:
        code, stdout, stderr = answered([*words, "--no-such-flag", "--format", "json"], {}, tmp_path)
        assert (code, stdout, len(stderr.splitlines())) == (2, "", 1), f"{words}: {stderr}"
        assert error_in(stderr)["code"] == "invalid-request", words


def test_whatever_else_fails_is_json_for_every_command_that_answers_in_json(
    command_tree: click.Group, tmp_path: Path
) -> None:
    # A home that cannot be meant fails each command that needs the state, and lets nothing be started or written.
    environment = {"THV_HOME": "not-absolute"}
    failed = set()
    for words, command in commands_of(command_tree):
        if not formats(command):
            continue
        code, stdout, stderr = answered([*words, *some(command), "--format=json"], environment, tmp_path)
        if code:
            assert stdout == "", words
            assert error_in(stderr)["message"], words
            failed.add(words)
    assert {("list",), ("status",), ("group", "list"), ("runtime", "check"), ("config", "get")} <= failed


@pytest.mark.parametrize("arguments", [["nope", "--format=json"], ["--format", "json", "nope"]])
def test_a_command_that_does_not_exist_is_json(tmp_path: Path, arguments: list[str]) -> None:
    code, stdout, stderr = answered(arguments, {}, tmp_path)
    assert (code, stdout) == (2, "")
    assert error_in(stderr)["code"] == "invalid-request"
