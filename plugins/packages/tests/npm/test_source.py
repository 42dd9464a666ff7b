"""The source asks the registry what a tag means, and nobody for an exact version."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import pytest

from thv_core.errors import PackageNotFound, SecretNotFound, SettingsError, Unavailable
from thv_packages.npm.source import NpxSource


def test_an_exact_version_is_taken_without_asking_anyone(registry, source):
    entry = source.resolve("npx://@modelcontextprotocol/server-filesystem@2026.8.31")

    assert entry.package.reference == "npx://@modelcontextprotocol/server-filesystem@2026.8.31"
    assert (entry.name, entry.origin, entry.transport) == ("filesystem", "", "stdio")
    assert registry.requests == []


@pytest.mark.parametrize("reference", ["npx://@a/mcp-server-b", "npx://@a/mcp-server-b@latest"])
def test_the_newest_release_is_what_its_tag_says(reference, registry, source):
    registry.package("@a/mcp-server-b", "2.0.0")
    registry.package("@a/mcp-server-b", "1.9.0")

    entry = source.resolve(reference)

    assert entry.package.reference == "npx://@a/mcp-server-b@1.9.0"
    assert (entry.name, entry.origin) == ("b", "your npm registry")


def test_another_tag_names_another_version(registry, source):
    registry.package("a", "2.0.0-beta.1")
    registry.package("a", "1.0.0")
    registry.tags["a"]["next"] = "2.0.0-beta.1"

    assert source.resolve("npx://a@next").package.version == "2.0.0-beta.1"


def test_a_tag_that_a_package_does_not_have_is_told_with_those_it_has(registry, source):
    registry.package("a")

    with pytest.raises(PackageNotFound) as caught:
        source.resolve("npx://a@nxt")
    assert caught.value.message == "the npm registry has no tag nxt of a"
    assert caught.value.evidence == ("its tags: latest",)


@pytest.mark.parametrize("tagged", ["file:/etc", "latest", ""])
def test_a_tag_that_names_no_version_is_refused(tagged, registry, source):
    registry.package("a")
    registry.tags["a"]["latest"] = tagged

    with pytest.raises(PackageNotFound):
        source.resolve("npx://a")


@pytest.mark.parametrize(
    ("misspelt", "meant"),
    [
        ("@modelcontextprotocol/server-memroy", "@modelcontextprotocol/server-memory"),
        ("server-filesystem", "@modelcontextprotocol/server-filesystem"),
    ],
)
def test_a_misspelt_well_known_package_is_told_without_asking_for_it(misspelt, meant, registry, source):
    with pytest.raises(PackageNotFound) as caught:
        source.resolve(f"npx://{misspelt}")
    assert caught.value.message == f"the npm registry has no package {misspelt}"
    assert caught.value.hint == f"Did you mean {meant}?"
    assert [path for path, _ in registry.requests] == [f"/{misspelt}"]


def test_an_unknown_package_without_a_near_name_says_what_to_check(source):
    with pytest.raises(PackageNotFound) as caught:
        source.resolve("npx://zzz")
    assert caught.value.hint.startswith("Check the spelling")


def test_a_silent_registry_is_unavailable(registry, source):
    registry.stop()

    with pytest.raises(Unavailable) as caught:
        source.resolve("npx://a")
    assert "HTTPS_PROXY" in caught.value.hint


@pytest.mark.parametrize("body", [b"", b"<html>", b'{"dist-tags": []}', b'{"dist-tags": {"latest": 1}}'])
def test_an_answer_that_is_none_of_a_registry_is_told(body, registry, source):
    registry.answer = lambda path, authorization: (200, body)

    with pytest.raises(Unavailable, match="does not answer as a registry"):
        source.resolve("npx://a")


def test_the_token_of_the_settings_comes_from_the_store_when_it_is_needed(registry, surroundings):
    registry.package("a")
    registry.token = "hunter2"
    asked: list[str] = []

    def secret(name: str) -> str:
        asked.append(name)
        return "hunter2"

    settings = {"registry": registry.url, "registry_token_secret": "NPM"}
    source = NpxSource.from_settings(settings, dataclasses.replace(surroundings, environment={}, secret=secret))

    assert source.resolve("npx://a@1.0.0").package.version == "1.0.0"
    assert asked == []
    assert source.resolve("npx://a").package.version == "1.0.0"
    assert asked == ["NPM"]
    assert "hunter2" not in repr(source._settings)


def test_a_secret_that_is_not_set_is_told(registry, surroundings):
    settings = {"registry": registry.url, "registry_token_secret": "NPM"}

    with pytest.raises(SecretNotFound, match="NPM"):
        NpxSource.from_settings(settings, surroundings).resolve("npx://a")


def test_a_registry_that_wants_a_token_is_unavailable(registry, source):
    registry.token = "hunter2"

    with pytest.raises(Unavailable) as caught:
        source.resolve("npx://a")
    assert caught.value.evidence == ("HTTP status 401",)


def test_the_scoped_registry_of_the_users_file_is_asked(registry, surroundings, tmp_path: Path):
    registry.package("@a/b", "3.0.0")
    (tmp_path / ".npmrc").write_text(f"registry=http://127.0.0.1:1/\n@a:registry={registry.url}/\n//x/:_authToken=no\n")
    environment = {"HOME": str(tmp_path)}
    source = NpxSource.from_settings({}, dataclasses.replace(surroundings, environment=environment))

    assert source.resolve("npx://@a/b").package.version == "3.0.0"
    with pytest.raises(Unavailable):
        source.resolve("npx://b")


@pytest.mark.parametrize(
    "settings",
    [
        {"nod": "/usr/bin/node"},
        {"node": "node"},
        {"node": 3},
        {"registry": "registry.example.com"},
        {"registry": "https://me:hunter2@registry.example.com"},
        {"registry_token_secret": "NPM"},
        {"tarball_host": 3},
    ],
)
def test_a_wrong_setting_is_named_and_no_password_is_shown(settings, surroundings):
    with pytest.raises(SettingsError) as caught:
        NpxSource.from_settings(settings, surroundings)
    assert next(iter(settings)) in caught.value.message
    assert "hunter2" not in str(caught.value)
