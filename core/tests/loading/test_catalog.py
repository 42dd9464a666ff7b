from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from thv_core.errors import PluginNotFound, PluginRefused
from thv_core.loading.catalog import Catalog, Plugin, PluginStatus, scan

STORE = {"thv.secrets": {"vault": "acme_vault:Store"}}
CODE = {"acme_vault": "class Store: ..."}


def only(catalog: Catalog) -> Plugin:
    (plugin,) = catalog.plugins
    return plugin


def test_a_plugin_is_listed_with_its_distribution_and_version(site) -> None:
    site.add("acme-vault", STORE, CODE)
    assert only(site.scan()) == Plugin(
        "secrets", "vault", "acme-vault", "1.0", "acme_vault:Store", PluginStatus.READY, ""
    )


def test_a_plugin_is_frozen(site) -> None:
    site.add("acme-vault", STORE)
    with pytest.raises(AttributeError):
        only(site.scan()).name = "other"


def test_a_scan_imports_nothing(site) -> None:
    site.add("acme-vault", {"thv.secrets": {"vault": "acme.deep.store:Store"}}, {"acme.deep.store": "", "acme": ""})
    site.add("acme-other", STORE, CODE)
    assert len(site.scan().fingerprint) == 64
    assert site.traces() == []


def test_plugins_are_sorted_by_kind_and_name(site) -> None:
    site.add("b", {"thv.secrets": {"z": "m:A", "a": "m:A"}, "thv.commands": {"run": "m:run"}})
    assert [(each.kind, each.name) for each in site.scan().plugins] == [
        ("command", "run"),
        ("secrets", "a"),
        ("secrets", "z"),
    ]


def test_a_group_of_no_kind_is_not_listed(site) -> None:
    site.add("acme", {"thv.flowers": {"rose": "m:Rose"}})
    assert site.scan().plugins == ()


@pytest.mark.parametrize("word", ["vault", "secrets:vault", "acme-vault", "Acme_Vault"])
def test_a_plugin_is_disabled_by_name_by_kind_and_name_or_by_distribution(site, word: str) -> None:
    site.add("acme-vault", STORE, CODE)
    catalog = site.scan([word])
    assert only(catalog).status is PluginStatus.DISABLED
    with pytest.raises(PluginRefused, match="acme-vault") as caught:
        catalog.find("secrets", "vault")
    assert "disabled" in str(caught.value)
    assert site.traces() == []


@pytest.mark.parametrize("word", ["runtime:vault", "acme", "secrets:other", ""])
def test_other_words_disable_nothing(site, word: str) -> None:
    site.add("acme-vault", STORE)
    assert only(site.scan([word])).status is PluginStatus.READY


def test_two_distributions_of_one_name_are_refused_and_both_named(site) -> None:
    site.add("acme-vault", STORE, CODE)
    site.add("evil-vault", {"thv.secrets": {"vault": "evil:Store"}}, {"evil": "class Store: ..."})
    catalog = site.scan()
    assert [each.status for each in catalog.plugins] == [PluginStatus.CONFLICT] * 2
    with pytest.raises(PluginRefused, match=r"acme-vault 1\.0 and evil-vault 1\.0"):
        catalog.find("secrets", "vault")
    assert catalog.ready("secrets") == ()
    assert site.traces() == []


def test_disabling_one_of_two_resolves_their_conflict(site) -> None:
    site.add("acme-vault", STORE, CODE)
    site.add("evil-vault", {"thv.secrets": {"vault": "evil:Store"}})
    assert site.scan(["evil-vault"]).find("secrets", "vault").distribution == "acme-vault"


def test_an_incompatible_rival_is_no_conflict(site) -> None:
    site.add("acme-vault", STORE, CODE)
    site.add("old-vault", {"thv.secrets": {"vault": "old:Store"}}, requires=["thv-core<0.1"])
    assert site.scan().find("secrets", "vault").distribution == "acme-vault"


def test_one_name_in_two_kinds_is_no_conflict(site) -> None:
    site.add("acme", {"thv.sources": {"uvx": "m:S"}, "thv.builders": {"uvx": "m:B"}})
    assert {each.status for each in site.scan().plugins} == {PluginStatus.READY}


def test_a_plugin_for_another_core_is_incompatible_and_says_which(site) -> None:
    site.add("acme-vault", STORE, CODE, requires=["thv-core>=7"])
    with pytest.raises(PluginRefused) as caught:
        site.scan().find("secrets", "vault")
    assert only(site.scan()).status is PluginStatus.INCOMPATIBLE
    assert "it requires thv-core>=7" in str(caught.value)


@pytest.mark.parametrize(
    "value", ["acme", "acme:", ":Store", "acme:Store:x", "ac me:Store", "", "1a:B", "a..b:C", "a:b-c"]
)
def test_a_value_that_is_not_module_and_attribute_is_malformed(site, value: str) -> None:
    site.add("acme-vault", {"thv.secrets": {"vault": value}})
    plugin = only(site.scan())
    assert (plugin.status, plugin.distribution) == (PluginStatus.MALFORMED, "acme-vault")
    with pytest.raises(PluginRefused, match="is refused"):
        site.scan().find("secrets", "vault")


@pytest.mark.parametrize(
    ("value", "status"), [("acme.hooks", "ready"), ("acme.hooks:bus", "ready"), ("ac-me", "malformed")]
)
def test_hooks_may_be_a_module_alone(site, value: str, status: str) -> None:
    site.add("acme", {"thv.hooks": {"audit": value}})
    assert only(site.scan()).status == status


@pytest.mark.parametrize("name", ["../up", "a b", "a/b", ".hidden"])
def test_a_name_that_could_not_name_a_directory_is_malformed(site, name: str) -> None:
    site.add("acme", {"thv.secrets": {name: "m:A"}})
    assert only(site.scan()).status is PluginStatus.MALFORMED


def test_metadata_without_a_name_is_malformed_and_named_after_its_folder(site) -> None:
    folder = site.add("acme-vault", STORE)
    (folder / "METADATA").unlink()
    plugin = only(site.scan())
    assert (plugin.status, plugin.reason) == (PluginStatus.MALFORMED, "its metadata has no name")
    assert plugin.distribution == "acme-vault"


def test_a_stale_folder_without_anything_does_no_harm(site) -> None:
    (site.folder / "gone-1.0.dist-info").mkdir()
    assert site.scan().plugins == ()


def test_an_absent_upper_bound_is_a_note_on_a_ready_plugin(site) -> None:
    site.add("acme-vault", STORE, requires=["thv-core>=0.1"])
    assert only(site.scan()).status is PluginStatus.READY
    assert "no upper bound" in only(site.scan()).reason


def test_an_unknown_name_is_answered_with_what_is_installed_and_the_nearest(site) -> None:
    site.add("acme", {"thv.secrets": {"vault": "m:A", "keyring": "m:B"}})
    with pytest.raises(PluginNotFound) as caught:
        site.scan().find("secrets", "valt")
    assert caught.value.evidence == ("installed: keyring, vault",)
    assert caught.value.hint == "Did you mean vault?"


@pytest.mark.parametrize(
    ("name", "hint"),
    [
        ("sandbox", "Install it from a checkout of thv:  pip install ./plugins/sandbox"),
        ("podman", "The runtime podman is not offered yet."),
    ],
)
def test_a_known_first_party_plugin_is_answered_with_what_can_be_done(site, name: str, hint: str) -> None:
    with pytest.raises(PluginNotFound, match=f"no installed plugin offers the runtime '{name}'") as caught:
        site.scan().find("runtime", name)
    assert caught.value.hint == hint
    assert caught.value.evidence == ("installed: none",)


def test_a_name_that_nobody_knows_is_answered_with_the_command_that_lists_plugins(site) -> None:
    with pytest.raises(PluginNotFound) as caught:
        site.scan().find("nothing", "x")
    assert caught.value.hint == "thv plugins list shows what is installed."


def test_the_default_scan_finds_what_is_on_the_path(site) -> None:
    site.add("acme-vault", STORE)
    assert scan().find("secrets", "vault").distribution == "acme-vault"


def test_the_fingerprint_is_stable(site) -> None:
    site.add("acme-vault", STORE, CODE)
    assert site.scan().fingerprint == site.scan().fingerprint


def test_the_fingerprint_changes_with_an_edit_of_the_module(site) -> None:
    site.add("acme-vault", STORE, CODE)
    before = site.scan().fingerprint
    (site.folder / "acme_vault.py").write_text("class Store: ...  # another size", encoding="utf-8")
    assert site.scan().fingerprint != before


def test_the_fingerprint_changes_with_a_reinstallation(site) -> None:
    folder = site.add("acme-vault", STORE, CODE)
    before = site.scan().fingerprint
    (folder / "RECORD").touch()
    assert site.scan().fingerprint != before


def test_the_fingerprint_changes_with_a_new_plugin_and_not_with_another_package(site) -> None:
    site.add("acme-vault", STORE, CODE)
    before = site.scan().fingerprint
    site.add("unrelated", {"console_scripts": {"x": "y:z"}})
    assert site.scan().fingerprint == before
    site.add("acme-more", {"thv.secrets": {"more": "acme_vault:Store"}})
    assert site.scan().fingerprint != before


def test_the_fingerprint_is_that_of_the_moment_of_the_scan(site) -> None:
    site.add("acme-vault", STORE, CODE)
    old, twin = site.scan(), site.scan()
    assert old.fingerprint == twin.fingerprint
    (site.folder / "acme_vault.py").write_text("", encoding="utf-8")
    assert old.fingerprint == twin.fingerprint


@pytest.mark.parametrize(
    "value", ["nowhere:A", "acme.deep:A", "acme.absent:A", "sys:A", "a..b:C", "encodings.utf_8:A", "__main__:x"]
)
def test_the_fingerprint_survives_modules_that_are_elsewhere_or_absent(site, value: str) -> None:
    site.add("acme", {"thv.secrets": {"x": value}}, {"acme.deep": ""})
    assert site.scan().fingerprint


def test_importing_the_catalog_brings_in_the_standard_library_alone() -> None:
    code = (
        "import sys; before = set(sys.modules); import thv_core.loading.catalog;"
        "print(*sorted({name.partition('.')[0] for name in set(sys.modules) - before}))"
    )
    output = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True).stdout
    assert set(output.split()) - set(sys.stdlib_module_names) == {"thv_core"}
    assert not {"importlib.metadata", "email", "dataclasses"} & set(output.split())


def test_every_module_of_loading_is_documented() -> None:
    for file in Path(scan.__code__.co_filename).parent.glob("*.py"):
        assert file.read_text(encoding="utf-8").startswith('"""')
