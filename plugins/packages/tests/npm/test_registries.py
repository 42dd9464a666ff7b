"""Which registries are asked: settings before variables before the user's file, and no credentials of any."""

from __future__ import annotations

from pathlib import Path

import pytest

from thv_packages.npm.registries import Registries, registries
from thv_packages.npm.settings import NpxSettings

OWN = "https://npm.example"
FILE = """
; a comment
registry = "https://file.example/npm/"
@a:registry=https://me:hunter2@a.example/
@b:registry=ftp://b.example/
//file.example/npm/:_authToken=hunter2
registry-of-nobody=https://nobody.example
"""


@pytest.fixture
def home(tmp_path: Path) -> str:
    """Give a home with a file of npm's settings."""
    (tmp_path / ".npmrc").write_text(FILE)
    return str(tmp_path)


def test_npm_itself_is_asked_when_nobody_says_otherwise(tmp_path: Path):
    found = registries(NpxSettings(), {"HOME": str(tmp_path)}, lambda: OWN)

    assert found == Registries(OWN, {}, public=True)
    assert registries(NpxSettings(), {}, lambda: f"{OWN}/") == found


def test_the_file_of_the_user_names_registries_and_its_secrets_are_not_read(home):
    found = registries(NpxSettings(), {"HOME": home}, lambda: OWN)

    assert found == Registries("https://file.example/npm", {"@a": "https://a.example"})
    assert found.authorities == {"file.example:443", "a.example:443"}
    assert "hunter2" not in repr(found)
    assert not found.public


@pytest.mark.parametrize("name", ["npm_config_registry", "NPM_CONFIG_REGISTRY"])
def test_a_variable_goes_before_the_file(name, home):
    found = registries(NpxSettings(), {"HOME": home, name: "https://variable.example/"}, lambda: OWN)

    assert found == Registries("https://variable.example", {"@a": "https://a.example"})


def test_a_variable_names_another_file(home):
    found = registries(NpxSettings(), {"HOME": "/nonexistent", "npm_config_userconfig": f"{home}/.npmrc"}, lambda: OWN)

    assert found.default == "https://file.example/npm"


def test_a_setting_replaces_all(home):
    settings = NpxSettings(registry="https://setting.example")

    assert registries(settings, {"HOME": home, "npm_config_registry": "https://v.example"}, lambda: OWN) == Registries(
        "https://setting.example"
    )
