"""The advice on missing plugins is compared with what this repository offers."""

from __future__ import annotations

import tomllib
from pathlib import Path

import pytest

from thv_core.loading.first_party import advice
from thv_core.loading.kinds import KINDS

PLUGINS = Path(__file__).parents[3] / "plugins"


def offered() -> list[tuple[str, str, str]]:
    """Return kind, name and folder of every plugin of this repository."""
    kinds = {kind.group: kind.word for kind in KINDS.values()}
    found = []
    for file in sorted(PLUGINS.glob("*/pyproject.toml")):
        groups = tomllib.loads(file.read_text(encoding="utf-8"))["project"].get("entry-points", {})
        found += [
            (kinds[group], name, file.parent.name) for group in groups if group in kinds for name in groups[group]
        ]
    return found


@pytest.mark.parametrize(("kind", "name", "folder"), offered())
def test_what_the_repository_offers_is_installed_from_it(kind: str, name: str, folder: str) -> None:
    assert advice(kind, name) == f"Install it from a checkout of thv:  pip install ./plugins/{folder}"


@pytest.mark.parametrize(
    ("kind", "name", "text"),
    [
        ("command", "secret", "The command secret is not offered yet."),
        ("source", "go", "go:// is not offered yet."),
        ("runtime", "docker", "The runtime docker is not offered yet."),
    ],
)
def test_what_people_look_for_and_nobody_offers_is_not_advised_to_be_installed(kind: str, name: str, text: str) -> None:
    assert advice(kind, name) == text


def test_of_anything_else_nothing_is_said() -> None:
    assert advice("command", "greet") == ""
    assert advice("nothing", "x") == ""
