"""Flags with values, as programs in Go take them."""

from __future__ import annotations

from typing import Any

import click
import pytest

from thv_cli.flag_values import without_flag_values
from thv_core.errors import InvalidRequest

LIST = click.Command(
    "list",
    params=[
        click.Option(["-a", "--all"], is_flag=True),
        click.Option(["--isolate/--no-isolate"], default=True),
        click.Option(["-e", "--env"], multiple=True),
        click.Option(["--format"]),
    ],
)
TREE = click.Group("group", commands=[LIST], params=[click.Option(["--loud"], is_flag=True)])


@pytest.mark.parametrize(
    ("arguments", "meant"),
    [
        (["--all=true"], ["--all"]),
        (["-a=1", "x"], ["-a", "x"]),
        (["--all=False"], []),
        (["--isolate=false"], ["--no-isolate"]),
        (["--isolate=t"], ["--isolate"]),
        (["--all", "--isolate"], ["--all", "--isolate"]),
        (["-e", "--all=false"], ["-e", "--all=false"]),
        (["-e", "A=1", "--all=false"], ["-e", "A=1"]),
        (["--env=A=1", "--all=false"], ["--env=A=1"]),
        (["--format"], ["--format"]),
        (["--", "--all=false"], ["--", "--all=false"]),
        (["--unknown=false", "-x=0"], ["--unknown=false", "-x=0"]),
    ],
)
def test_a_flag_with_a_value_is_the_flag_its_opposite_or_nothing(arguments: list[str], meant: list[str]) -> None:
    assert without_flag_values(LIST, arguments) == meant


def test_flags_of_subcommands_are_known_behind_their_names_only() -> None:
    assert without_flag_values(TREE, ["--loud=true", "list", "--all=true"]) == ["--loud", "list", "--all"]
    assert without_flag_values(TREE, ["--all=true", "list"]) == ["--all=true", "list"]
    assert without_flag_values(TREE, ["list", "--loud=true"]) == ["list", "--loud"]


def test_another_value_is_refused_with_both() -> None:
    with pytest.raises(InvalidRequest, match="--all is true or false, not 'maybe'") as refused:
        without_flag_values(LIST, ["--all=maybe"])
    assert refused.value.hint == "Write --all, or --all=false."


def test_the_program_takes_them(machine: Any) -> None:
    assert machine.thv("version", "--json=false").stdout.startswith("thv ")
    assert machine.thv("version", "--json=true").stdout.startswith("{")
    assert machine.thv("version", "--json=maybe").returncode == 2
    assert machine.thv("--quiet=true", "version", "--json").stderr == ""
    assert machine.thv("--quiet=false", "version", "--json").stderr != ""
