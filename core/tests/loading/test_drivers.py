from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor

import pytest

from thv_core.errors import PluginBroken, PluginNotFound, PluginRefused, SettingsError
from thv_core.spi import Driver, Runtime, SecretStore

GOOD = """
from thv_core.spi import SecretStore

class Store(SecretStore):
    def __init__(self, address="", count=1):
        self.address = address

    def get(self, name):
        return self.address

    def names(self):
        return []
"""


def install(site, source: str, distribution: str = "acme-vault", value: str = "acme_vault:Store") -> None:
    site.add(distribution, {"thv.secrets": {"vault": value}}, {value.partition(":")[0]: source})


def test_a_driver_is_constructed_from_its_section_of_the_settings(site) -> None:
    install(site, GOOD)
    store = site.drivers({"vault": {"address": "https://vault.example"}}).get(SecretStore, "vault")
    assert store.get("any") == "https://vault.example"


def test_a_driver_is_constructed_once(site) -> None:
    install(site, GOOD)
    drivers = site.drivers()
    assert drivers.get(SecretStore, "vault") is drivers.get(SecretStore, "vault")


def test_a_driver_receives_its_own_surroundings(site) -> None:
    install(
        site,
        GOOD
        + "    @classmethod\n    def from_settings(cls, settings, around):\n        return cls(str(around.state))\n",
    )
    assert site.drivers().get(SecretStore, "vault").get("") == str(site.folder / "state" / "vault")


def test_a_falsy_driver_is_itself_and_not_its_class(site) -> None:
    install(site, GOOD + "    def __len__(self):\n        return 0\n")
    assert not isinstance(site.drivers().get(SecretStore, "vault"), type)


def test_many_threads_get_one_driver(site) -> None:
    install(
        site,
        GOOD
        + "    @classmethod\n    def from_settings(cls, *_):\n        import time; time.sleep(0.05); return cls()\n",
    )
    drivers = site.drivers()
    barrier = threading.Barrier(8)

    def ask(_: int) -> int:
        barrier.wait(10)
        return id(drivers.get(SecretStore, "vault"))

    with ThreadPoolExecutor(8) as pool:
        assert len(set(pool.map(ask, range(8)))) == 1


def test_names_are_those_that_may_be_loaded(site) -> None:
    site.add("acme", {"thv.secrets": {"b": "m:B", "a": "m:A", "bad": "m"}, "thv.runtimes": {"r": "m:R"}})
    assert site.drivers(disabled=["b"]).names(SecretStore) == ("a",)


def test_a_class_that_is_no_contract_cannot_be_asked_for(site) -> None:
    with pytest.raises(LookupError):
        site.drivers().get(Driver, "vault")


def test_an_unknown_name_is_not_found(site) -> None:
    with pytest.raises(PluginNotFound):
        site.drivers().get(SecretStore, "vault")


BROKEN = {
    "a module that raises": ("raise RuntimeError('no luck')", "RuntimeError: no luck"),
    "a module that needs what is absent": ("import not_there_at_all", "No module named 'not_there_at_all'"),
    "a syntax error": ("class Store(:", "SyntaxError"),
    "a module without the attribute": ("", "has no attribute 'Store'"),
    "a module that exits": ("import sys; sys.exit(3)", "SystemExit: 3"),
    "a failing assertion": ("assert 1 == 2", "AssertionError"),
    "an exception that cannot be shown": (
        "class Mute(Exception):\n    def __str__(self):\n        raise ValueError\nraise Mute",
        "Mute",
    ),
    "a constructor that raises": (
        GOOD + "    @classmethod\n    def from_settings(cls, *_):\n        raise KeyError('x')\n",
        "KeyError: 'x'",
    ),
    "a constructor that exits": (
        GOOD + "    @classmethod\n    def from_settings(cls, *_):\n        raise SystemExit(1)\n",
        "SystemExit: 1",
    ),
    "a deliberate error of thv": (
        "from thv_core.errors import Unavailable\n"
        + GOOD
        + "    @classmethod\n    def from_settings(cls, *_):\n        raise Unavailable('sealed', hint='Unseal it.')\n",
        "Unseal it.",
    ),
    "a class of no contract": ("class Store: ...", "is Store, which is not a SecretStore"),
    "a class of another contract": (
        "from thv_core.spi import Runtime\nclass Store(Runtime): ...",
        "is Store, which is not a SecretStore",
    ),
    "an instance in place of a class": ("Store = object()", "is of type object, not a class"),
    "a function in place of a class": ("def Store(): ...", "is of type function, not a class"),
    "a missing method": (GOOD.replace("def names", "def other"), "it lacks names"),
    "something else constructed": (
        GOOD + "    @classmethod\n    def from_settings(cls, *_):\n        return 'a string'\n",
        "constructed a str, which is not a SecretStore",
    ),
}


@pytest.mark.parametrize("case", BROKEN)
def test_a_broken_plugin_is_one_error_that_names_its_distribution(site, case: str) -> None:
    source, reason = BROKEN[case]
    install(site, source)
    with pytest.raises(PluginBroken, match=r"the secrets 'vault' of acme-vault 1\.0") as caught:
        site.drivers().get(SecretStore, "vault")
    assert reason in str(caught.value)


def test_the_cause_is_chained(site) -> None:
    install(site, "raise RuntimeError('no luck')")
    with pytest.raises(PluginBroken) as caught:
        site.drivers().get(SecretStore, "vault")
    assert isinstance(caught.value.__cause__, RuntimeError)


def test_a_broken_plugin_leaves_the_others_alone(site) -> None:
    install(site, GOOD)
    site.add("evil", {"thv.secrets": {"evil": "evil:Store"}}, {"evil": "raise RuntimeError"})
    drivers = site.drivers()
    with pytest.raises(PluginBroken):
        drivers.get(SecretStore, "evil")
    assert isinstance(drivers.get(SecretStore, "vault"), SecretStore)


def test_a_failure_is_not_remembered(site) -> None:
    install(site, "import os\nif os.path.exists(__file__ + '.bad'): raise RuntimeError\n" + GOOD)
    marker = site.folder / "acme_vault.py.bad"
    marker.touch()
    drivers = site.drivers()
    with pytest.raises(PluginBroken):
        drivers.get(SecretStore, "vault")
    marker.unlink()
    assert drivers.get(SecretStore, "vault")


REFUSED = {
    "two of one name": {"add": "evil-vault"},
    "disabled": {"disabled": ["vault"]},
    "incompatible": {"requires": ["thv-core>=99"]},
    "malformed": {"value": "acme_vault"},
}


@pytest.mark.parametrize("case", REFUSED)
def test_a_refused_plugin_is_never_imported(site, case: str) -> None:
    how = REFUSED[case]
    offer = {"thv.secrets": {"vault": how.get("value", "acme_vault:Store")}}
    site.add("acme-vault", offer, {"acme_vault": GOOD}, requires=how.get("requires", ["thv-core<1"]))
    if "add" in how:
        site.add(how["add"], {"thv.secrets": {"vault": "evil:Store"}}, {"evil": GOOD})
    with pytest.raises(PluginRefused, match="acme-vault"):
        site.drivers(disabled=how.get("disabled", [])).get(SecretStore, "vault")
    assert site.traces() == []


def test_only_the_chosen_plugin_is_imported(site) -> None:
    install(site, GOOD)
    site.add("other", {"thv.secrets": {"other": "other:Store"}}, {"other": GOOD})
    site.drivers().get(SecretStore, "vault")
    assert site.traces() == ["acme_vault"]


def test_an_unknown_setting_is_named_by_its_whole_key_path(site) -> None:
    install(site, GOOD)
    with pytest.raises(SettingsError, match=r"^plugins\.vault\.adress is not a setting") as caught:
        site.drivers({"vault": {"adress": 1}}).get(SecretStore, "vault")
    assert "address" in caught.value.hint


UNFITTING = """
    @classmethod
    def from_settings(cls, *_):
        from thv_core.errors import SettingsError
        raise SettingsError("two do not fit")
"""


def test_a_setting_without_a_key_in_its_message_is_placed_in_its_section(site) -> None:
    install(site, GOOD + UNFITTING)
    with pytest.raises(SettingsError, match=r"^plugins\.vault: two do not fit"):
        site.drivers({"vault": {"address": 1}}).get(SecretStore, "vault")


def test_contracts_with_the_same_name_do_not_mix(site) -> None:
    install(site, GOOD)
    drivers = site.drivers()
    drivers.get(SecretStore, "vault")
    with pytest.raises(PluginNotFound):
        drivers.get(Runtime, "vault")
