"""What ``thv cache`` asks for and shows."""

from __future__ import annotations

from typing import Any

import pytest

from thv_core.errors import ThvError
from thv_supervisor.commands.cache import cache

PATH = "/api/v1beta/cache"
PACKAGE = {"reference": "uvx://a@1", "path": "/cache/a", "packages": 14, "size": 21_000_000, "used_at": 0.0}
USED = {"builder": "uvx", "package": PACKAGE, "workloads": ["x", "y"]}
BARE = {"builder": "npx", "package": PACKAGE | {"reference": "npx://b@2", "packages": 0, "size": 0}, "workloads": []}


def test_packages_are_listed_with_sizes_and_those_who_use_them(invoke: Any, control: Any, console: Any) -> None:
    control.answers["GET", PATH] = {"packages": [USED, BARE], "problems": []}
    assert invoke(cache, "list").exit_code == 0
    ((columns, rows),) = console.tables
    assert columns == ("PACKAGE", "SIZE", "PACKAGES", "LAST USED", "USED BY")
    assert [list(row) for row in rows] == [
        ["uvx://a@1", "21 MB", "14", "-", "x, y"],
        ["npx://b@2", "0 B", "-", "-", "-"],
    ]


def test_when_a_package_was_used_is_told(invoke: Any, control: Any, console: Any) -> None:
    used = USED | {"package": PACKAGE | {"used_at": 1_000_000_000.0}}
    control.answers["GET", PATH] = {"packages": [used], "problems": []}
    invoke(cache, "list")
    assert console.tables[0][1][0][3].startswith("2001-09-")


def test_json_is_every_package_with_its_workloads(invoke: Any, control: Any, console: Any) -> None:
    control.answers["GET", PATH] = {"packages": [USED], "problems": []}
    invoke(cache, "list", "--format", "json")
    assert console.documents == [[PACKAGE | {"workloads": ["x", "y"]}]]


def test_nothing_is_said_as_such_and_so_is_what_could_not_be_looked_at(invoke: Any, control: Any, console: Any) -> None:
    control.answers["GET", PATH] = {"packages": [], "problems": ["npx: it is broken"]}
    invoke(cache, "list")
    assert console.messages == ["not everything could be looked at: npx: it is broken", "No package is prepared"]


@pytest.mark.parametrize(
    ("flags", "query"),
    [
        ((), ""),
        (("--all",), ""),
        (("--older-than", "7"), "?older_than=7"),
        (("--older-than", "0.5"), "?older_than=0.5"),
    ],
)
def test_what_is_removed_and_how_much_that_frees_is_said(
    invoke: Any, control: Any, console: Any, flags: tuple[str, ...], query: str
) -> None:
    control.answers["DELETE", f"{PATH}{query}"] = {"removed": [PACKAGE], "freed": 21_000_000, "problems": []}
    assert invoke(cache, "prune", *flags).exit_code == 0
    assert console.messages == ["removed uvx://a@1, 21 MB", "21 MB freed"]
    assert console.lines == []


def test_nothing_to_remove_is_no_error(invoke: Any, control: Any, console: Any) -> None:
    control.answers["DELETE", PATH] = {"removed": [], "freed": 0, "problems": []}
    assert invoke(cache, "prune").exit_code == 0
    assert console.messages == ["Nothing to remove"]


def test_what_could_not_be_removed_fails_the_command_after_the_others_were_told(
    invoke: Any, control: Any, console: Any
) -> None:
    control.answers["DELETE", PATH] = {"removed": [PACKAGE], "freed": 1, "problems": ["npx://b@2: it is busy"]}
    with pytest.raises(ThvError, match="not every package") as caught:
        invoke(cache, "prune")
    assert caught.value.evidence == ("npx://b@2: it is busy",)
    assert console.messages == ["removed uvx://a@1, 21 MB", "1 B freed"]


@pytest.mark.parametrize("flags", [("--all", "--older-than", "1"), ("--older-than", "-1"), ("--older-than", "x")])
def test_what_cannot_be_meant_removes_nothing(invoke: Any, control: Any, flags: tuple[str, ...]) -> None:
    assert invoke(cache, "prune", *flags).exit_code == 2
    assert control.calls == []
