"""The password of an index comes from the secret store, reaches the index alone, and is kept nowhere."""

from __future__ import annotations

import base64
import dataclasses
from pathlib import Path

import pytest

from thv_core.errors import SecretNotFound, SettingsError, ThvError
from thv_core.spi import Progress, Surroundings
from thv_packages.pypi.builder import UvxBuilder
from thv_packages.pypi.settings import UvxSettings
from thv_packages.pypi.source import UvxSource

PASSWORD = "hunter2-hunter2"


def ignore(progress: Progress) -> None:
    del progress


@pytest.fixture
def guarded(index, surroundings, monkeypatch) -> Surroundings:
    """Let the index want a password, and give surroundings whose store has it."""
    expected = f"Basic {base64.b64encode(f'me:{PASSWORD}'.encode()).decode()}"
    index.authorization = expected
    environment = {key: value for key, value in surroundings.environment.items() if not key.startswith("UV_DEFAULT")}
    secrets = {"INDEX": PASSWORD, "WRONG": "x"}

    def secret(name: str) -> str:
        if name not in secrets:
            raise SecretNotFound(f"secret {name} is not set")
        return secrets[name]

    return dataclasses.replace(surroundings, environment=environment, secret=secret)


def settings(index, name: str = "INDEX") -> dict[str, object]:
    return {"index": index.url, "index_username": "me", "index_password_secret": name}


def test_a_package_of_a_guarded_index_is_found_and_prepared(index, guarded, spec, workshop):
    index.wheel("server", scripts=["server"])

    assert UvxSource.from_settings(settings(index), guarded).resolve("uvx://server").package.version == "1.0"
    root = UvxBuilder.from_settings(settings(index), guarded).build(spec("server"), ignore, workshop)

    assert root.packages == 1
    kept = [path for path in guarded.cache.rglob("*") if path.is_file() and PASSWORD.encode() in path.read_bytes()]
    assert kept == []


def test_a_wrong_password_is_refused_by_the_index_and_shown_to_nobody(index, guarded, spec, workshop):
    index.wheel("server", scripts=["server"])

    with pytest.raises(ThvError) as caught:
        UvxBuilder.from_settings(settings(index, "WRONG"), guarded).build(spec("server"), ignore, workshop)
    assert PASSWORD not in str(caught.value)


def test_a_secret_that_is_not_set_is_named_when_it_is_needed(index, guarded):
    source = UvxSource.from_settings(settings(index, "ABSENT"), guarded)

    assert source.resolve("uvx://server@1.0").package.version == "1.0"
    with pytest.raises(SecretNotFound, match="ABSENT"):
        source.resolve("uvx://server")


def test_the_index_of_the_settings_replaces_that_of_the_shell_and_others_are_added():
    parsed = UvxSettings.parse({"index": "https://a.example/simple/", "extra_index": "https://b.example"}, str)
    shell = {"UV_INDEX_URL": "https://shell.example", "UV_INDEX": "https://c.example", "HOME": "/home/me"}

    assert parsed.indexes(shell) == {
        "UV_DEFAULT_INDEX": "thv=https://a.example/simple",
        "UV_INDEX": "https://b.example https://c.example",
        "HOME": "/home/me",
    }
    assert UvxSettings.parse({}, str).indexes(shell) == shell


@pytest.mark.parametrize(
    "given",
    [
        {"index": "index.example"},
        {"index": f"https://me:{PASSWORD}@index.example"},
        {"extra_index": ["https://a.example", f"https://me:{PASSWORD}@index.example"]},
        {"index_username": "me"},
        {"index_password_secret": "INDEX"},
        {"files_host": 3},
        {"indx": "https://a.example"},
    ],
)
def test_a_wrong_setting_is_named_and_no_password_is_shown(given):
    with pytest.raises(SettingsError) as caught:
        UvxSettings.parse(given, str)
    assert next(iter(given)) in str(caught.value) or "index_username" in caught.value.message
    assert PASSWORD not in str(caught.value)


def test_deleting_a_root_frees_what_was_downloaded_for_it(index, guarded, spec, workshop):
    index.wheel("server", scripts=["server"])
    builder = UvxBuilder.from_settings(settings(index), guarded)
    builder.build(spec("server"), ignore, workshop)
    downloads = guarded.cache / "uv"
    assert list(downloads.rglob("__init__.py"))

    (listed,) = builder.prepared()
    builder.discard(listed)

    assert not list(downloads.rglob("__init__.py"))
    assert not Path(listed.path).exists()
