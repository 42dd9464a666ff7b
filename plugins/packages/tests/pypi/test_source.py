"""The source asks the index for the newest version, and nobody for an exact one."""

from __future__ import annotations

import dataclasses
import json
import shutil
import stat
from pathlib import Path

import pytest

from thv_core.errors import PackageNotFound, PreparationFailed, SettingsError, Unavailable
from thv_packages.pypi.source import UvxSource
from thv_packages.pypi.sources import file_hosts, newest_source
from thv_packages.web import Web


def test_an_exact_version_is_taken_without_asking_anyone(index, source):
    entry = source.resolve("uvx://mcp-server-time@2026.10.19")

    assert entry.package.reference == "uvx://mcp-server-time@2026.10.19"
    assert (entry.name, entry.origin, entry.transport) == ("time", "", "stdio")
    assert index.requests == []


def test_the_newest_version_is_taken_when_none_is_given(index, source):
    for version in ("1.0", "1.10", "1.9"):
        index.wheel("mcp-server-a", version)

    entry = source.resolve("uvx://mcp-server-a")
    assert (entry.package.version, entry.origin) == ("1.10", "your package index")


def test_a_release_is_taken_rather_than_a_newer_pre_release(index, source):
    index.wheel("a", "1.0")
    index.wheel("a", "2.0rc1")

    assert source.resolve("uvx://a@latest").package.version == "1.0"


@pytest.mark.parametrize("name", ["uv.toml", "pyproject.toml"])
def test_settings_that_happen_to_lie_above_the_cache_name_no_index(name, index, source, tmp_path: Path):
    setting = 'index-url = "http://127.0.0.1:1/simple"\nfind-links = ["/no/such/links"]\n'
    (tmp_path / name).write_text(setting if name == "uv.toml" else f"[tool.uv]\n{setting}")
    index.wheel("a", "1.0")

    assert source.resolve("uvx://a").package.version == "1.0"


def test_extras_stay_with_the_package(index, source):
    index.wheel("a", "1.0")

    assert source.resolve("uvx://a[x]").package.reference == "uvx://a[x]@1.0"


def test_a_misspelt_well_known_package_is_told_without_asking_for_it(index, source):
    with pytest.raises(PackageNotFound) as caught:
        source.resolve("uvx://mcp-server-tiem")

    assert caught.value.message == "the package index has no package mcp-server-tiem"
    assert caught.value.hint == "Did you mean mcp-server-time?"
    assert {path for path in index.requests if "time" in path} == set()


def test_a_misspelt_prepared_package_is_told(index, source, builder, spec, workshop):
    index.wheel("our-own-server", scripts=["our-own-server"])
    builder.build(spec("our-own-server"), lambda progress: None, workshop)

    with pytest.raises(PackageNotFound) as caught:
        source.resolve("uvx://our-own-servre")
    assert caught.value.hint == "Did you mean our-own-server?"


def test_a_name_that_only_shares_the_usual_prefix_is_not_taken_for_another(index, source):
    with pytest.raises(PackageNotFound) as caught:
        source.resolve("uvx://mcp-server-zzz")
    assert caught.value.hint == "Check the spelling, or name the index with UV_DEFAULT_INDEX."


def test_the_newest_source_distribution_is_taken_when_there_is_no_wheel_and_nothing_of_it_runs(
    index, source, tmp_path: Path
):
    for version in ("1.0", "1.10", "1.9", "2.0rc1"):
        index.source_distribution("a", version, setup=f"open({str(tmp_path / 'ran')!r}, 'w')")

    assert source.resolve("uvx://a").package.version == "1.10"
    assert not (tmp_path / "ran").exists()


def test_a_package_whose_only_wheel_is_for_another_machine_and_that_has_no_source_is_refused(index, source):
    index.wheel("a", tag="cp311-cp311-win_amd64")

    with pytest.raises(PreparationFailed, match=r"a 1\.0 has no wheel for this machine"):
        source.resolve("uvx://a")


def test_a_silent_index_is_unavailable(index, source):
    index.stop()

    with pytest.raises(Unavailable) as caught:
        source.resolve("uvx://a")
    assert "UV_DEFAULT_INDEX" in caught.value.hint
    assert any("Connection refused" in line for line in caught.value.evidence)


def test_a_silent_index_is_survived_with_the_exact_prepared_version(
    index, source, builder, spec, surroundings, workshop
):
    index.wheel("a", scripts=["a"])
    builder.build(spec("a"), lambda progress: None, workshop)
    index.stop()
    shutil.rmtree(surroundings.cache / "uv")

    with pytest.raises(Unavailable) as caught:
        source.resolve("uvx://a")
    assert caught.value.hint == "Prepared here already:  thv run uvx://a@1.0"


def test_a_cache_that_was_deleted_while_the_source_lives_is_made_again(index, source, surroundings):
    index.wheel("a")
    source.resolve("uvx://a")
    shutil.rmtree(surroundings.cache)

    assert source.resolve("uvx://a").package.version == "1.0"
    assert stat.S_IMODE(surroundings.cache.stat().st_mode) == 0o700


def test_a_certificate_that_nobody_here_trusts_is_told_from_an_index_that_is_silent(surroundings, self_signed):
    named = {"UV_DEFAULT_INDEX": self_signed.replace("://", "://me:hunter2@")}
    source = UvxSource.from_settings(
        {}, dataclasses.replace(surroundings, environment={**surroundings.environment, **named})
    )

    with pytest.raises(Unavailable) as caught:
        source.resolve("uvx://a")
    assert caught.value.message == "the package index's certificate is not trusted here"
    (line,) = caught.value.evidence
    assert line.startswith("127.0.0.1:")
    assert "hunter2" not in line
    assert caught.value.hint == "Set SSL_CERT_FILE to your CA bundle, and run it again."


@pytest.mark.parametrize("settings", [{"pyhton": "/usr/bin/python3"}, {"python": 3}, {"python": "python3"}])
def test_a_wrong_setting_is_named(settings, surroundings):
    with pytest.raises(SettingsError) as caught:
        UvxSource.from_settings(settings, surroundings)
    assert next(iter(settings)) in caught.value.message


def test_a_python_that_is_not_there_is_named(surroundings):
    source = UvxSource.from_settings({"python": "/no/such/python"}, surroundings)

    with pytest.raises(PreparationFailed, match="/no/such/python"):
        source.resolve("uvx://a")


def test_the_hosts_of_an_indexs_files_are_told_by_a_page_that_no_stranger_writes(index):
    index.wheel("setuptools")
    index.wheel("evil")
    index._page = lambda name: (
        b"<a href='https://files.example/x.whl#sha256=1'>x</a><a href='../y.whl'>y</a><a href='mailto:z'>z</a>"
        if name == "setuptools"
        else b"<a href='https://evil.example/x.whl'>x</a>"
    )

    assert file_hosts(Web({}), [index.url]) == {"files.example:443", index.url.split("/")[2]}


def test_a_version_that_was_withdrawn_or_is_for_another_python_is_not_the_newest(index):
    files = [("1.0", "", False), ("1.1", "&gt;=3.99", False), ("1.2", "", True), ("zzz", "", False)]
    links = [
        f"<a href='a-{version}.tar.gz' data-requires-python='{python}'{' data-yanked' if yanked else ''}>a</a>"
        for version, python, yanked in files
    ]
    index.source_distribution("a")
    index._page = lambda name: "".join(links).encode()

    assert newest_source(Web({}), [index.url], "a", "3.11.2") == "1.0"
    assert newest_source(Web({}), [index.url], "b", "3.11.2") == ""


def test_an_index_that_speaks_json_is_understood(index):
    index.source_distribution("a")
    listed = [
        {"filename": "a-1.0.tar.gz", "url": "x", "requires-python": None, "yanked": False, "hashes": {}},
        {"filename": "a-2.0.tar.gz", "url": "x", "yanked": "broken"},
        {"filename": "a-3.0-py3-none-any.whl", "url": "x"},
    ]
    kind = "application/vnd.pypi.simple.v1+json"
    index.answer = lambda path: (kind, json.dumps({"files": listed}).encode())

    assert newest_source(Web({}), [index.url], "a", "3.11.2") == "1.0"
    index.answer = lambda path: (kind, b"{")
    assert newest_source(Web({}), [index.url], "a", "3.11.2") == ""
