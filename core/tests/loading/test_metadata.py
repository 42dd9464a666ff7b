from __future__ import annotations

import importlib.metadata
import sys
import zipfile
from pathlib import Path

import pytest

from thv_core.loading.metadata import Installed, described, installed, normalised

STORE = {"thv.secrets": {"vault": "acme.store:Store"}}


def of_name(found: list[Installed], key: str) -> Installed:
    return next(each for each in found if each.key == key)


def test_names_are_compared_as_pep_503_says() -> None:
    assert normalised("Acme_Vault..Store") == "acme-vault-store"


def test_a_distribution_is_read_from_the_path_without_importing_it(site) -> None:
    folder = site.add("acme-vault", STORE)
    found = of_name(list(installed()), "acme-vault")
    assert (found.name, found.version, found.requires) == ("acme-vault", "1.0", ("thv-core>=0.1,<0.2",))
    assert [tuple(offer) for offer in found.offers] == [("thv.secrets", "vault", "acme.store:Store")]
    assert found.folder == str(folder)
    assert site.traces() == []


def test_reading_folders_agrees_with_importlib() -> None:
    by_hand = {each.key: each._replace(folder="") for each in installed()}
    by_importlib = {each.key: each._replace(folder="") for each in described(importlib.metadata.distributions())}
    assert by_hand == by_importlib
    assert "thv-core" in by_hand


def test_a_distribution_without_plugins_is_left_out(site) -> None:
    site.add("acme-tool", {"console_scripts": {"acme": "acme:main"}})
    assert "acme-tool" not in {each.key for each in installed()}


def test_of_two_folders_on_the_path_the_first_wins_even_without_plugins(
    site, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    site.add("acme-vault", STORE)
    first = site._replace(folder=tmp_path / "first")
    first.folder.mkdir()
    first.add("acme-vault", {})
    monkeypatch.syspath_prepend(str(first.folder))
    assert "acme-vault" not in {each.key for each in installed()}


def test_comments_blank_lines_and_other_groups_are_skipped(site) -> None:
    folder = site.add("acme-vault", STORE)
    text = "[console_scripts]\nx = y:z\n\n# note\n[ thv.secrets ]\n; note\n a=b:c [extra]\nbroken\n[other]\nq = r:s\n"
    (folder / "entry_points.txt").write_text(text.replace("[ thv", "[thv").replace("ets ]", "ets]"), encoding="utf-8")
    offers = of_name(list(installed()), "acme-vault").offers
    assert [(offer.name, offer.value) for offer in offers] == [("a", "b:c [extra]"), ("broken", "")]


def test_what_pip_left_half_deleted_is_ignored(site) -> None:
    folder = site.add("acme-vault", STORE)
    folder.rename(site.folder / "~cme_vault-1.0.dist-info")
    assert "acme-vault" not in {each.name for each in installed()}


def test_an_egg_info_of_setuptools_is_understood(site) -> None:
    folder = site.folder / "acme_vault.egg-info"
    folder.mkdir()
    (folder / "PKG-INFO").write_text("Name: acme-vault\nVersion: 2\n", encoding="utf-8")
    (folder / "requires.txt").write_text("thv-core>=9\n\n[extra]\nother\n", encoding="utf-8")
    (folder / "entry_points.txt").write_text("[thv.secrets]\nvault = a:B\n", encoding="utf-8")
    assert of_name(list(installed()), "acme-vault").requires == ("thv-core>=9",)


def test_missing_and_unreadable_path_entries_do_no_harm(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "path", [*sys.path, "/nowhere/at/all", "bad\0entry"])
    assert "thv-core" in {each.key for each in installed()}


def test_a_distribution_in_an_archive_is_found(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    archive = tmp_path / "plugins.zip"
    with zipfile.ZipFile(archive, "w") as file:
        file.writestr("acme_vault-1.0.dist-info/METADATA", "Name: acme-vault\nVersion: 1.0\n")
        file.writestr("acme_vault-1.0.dist-info/entry_points.txt", "[thv.secrets]\nvault = a:B\n")
    monkeypatch.syspath_prepend(str(archive))
    assert of_name(list(installed()), "acme-vault").version == "1.0"


class Hostile(importlib.metadata.Distribution):
    """A distribution of a stranger's finder, which raises whatever it is asked."""

    def read_text(self, filename: str) -> str | None:
        raise RuntimeError("no")

    def locate_file(self, path: object) -> Path:
        raise RuntimeError("no")


def test_a_distribution_that_raises_is_left_out() -> None:
    assert list(described([Hostile()])) == []
