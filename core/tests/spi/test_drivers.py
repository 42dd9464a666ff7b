from __future__ import annotations

from pathlib import Path

import pytest

from thv_core.errors import SettingsError, Unsupported
from thv_core.spi import Driver, SecretStore, Surroundings

AROUND = Surroundings(state=Path("/s"), cache=Path("/c"), environment={"TOKEN": "s3cret"})


class Plain(Driver):
    def __init__(self, address: str = "", count: int = 1) -> None:
        if count < 0:
            raise ValueError("count is negative")
        self.address = address


class ReadOnly(SecretStore):
    def get(self, name: str) -> str:
        return "value of " + name

    def names(self) -> list[str]:
        return []


def test_settings_become_keywords_of_the_constructor() -> None:
    assert Plain.from_settings({"address": "x"}, AROUND).address == "x"
    assert Plain.from_settings({}, AROUND).address == ""


def test_an_unknown_setting_is_answered_with_the_known_ones() -> None:
    with pytest.raises(SettingsError, match="adress is not a setting of Plain") as caught:
        Plain.from_settings({"adress": "x"}, AROUND)
    assert caught.value.hint == "It knows: address, count."


def test_a_value_that_the_constructor_refuses_is_an_error_of_settings() -> None:
    with pytest.raises(SettingsError, match="count is negative"):
        Plain.from_settings({"count": -1}, AROUND)


def test_a_driver_without_settings_says_so() -> None:
    with pytest.raises(SettingsError) as caught:
        ReadOnly.from_settings({"x": 1}, AROUND)
    assert caught.value.hint in ("It knows: none.", "It knows: kwargs.")


def test_surroundings_do_not_show_the_environment() -> None:
    assert "s3cret" not in repr(AROUND)


def test_a_store_that_writes_nothing_refuses_by_name() -> None:
    store = ReadOnly()
    for call in (lambda: store.set("a", "s3cret"), lambda: store.delete("a")):
        with pytest.raises(Unsupported, match="ReadOnly does not support") as caught:
            call()
        assert "s3cret" not in str(caught.value)
    assert (store.capabilities.writable, store.capabilities.listable) == (False, True)


def test_a_driver_that_lacks_a_method_cannot_be_constructed() -> None:
    class Half(SecretStore):
        def get(self, name: str) -> str:
            return name

    with pytest.raises(TypeError, match="names"):
        Half()  # type: ignore[abstract]  # proves it
