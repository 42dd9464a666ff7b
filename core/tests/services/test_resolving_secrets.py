"""From the names of secrets to values."""

import pytest

from thv_core.errors import SecretNotFound
from thv_core.model.run_config import RunConfig
from thv_core.services.resolving_secrets import ShellValueLost, resolve_secrets
from thv_core.spi.secrets import SecretStore
from thv_testkit.fakes import MemoryStore


def config(*secrets: str) -> RunConfig:
    return RunConfig(name="time", image="uvx://t@1", secrets=secrets)


def never() -> SecretStore:
    raise AssertionError("the store was asked")


def test_each_target_receives_the_value_of_its_secret() -> None:
    store = MemoryStore()
    store.set("github", "ghp")
    assert resolve_secrets(config("github,target=TOKEN"), lambda: store, {}) == {"TOKEN": "ghp"}


def test_the_store_wins_over_the_shell_and_the_shell_fills_what_the_store_lacks() -> None:
    store = MemoryStore()
    store.set("a", "stored")
    values = resolve_secrets(config("a,target=A", "b,target=B"), lambda: store, {"a": "shell", "b": "shell"})
    assert values == {"A": "stored", "B": "shell"}


def test_a_secret_of_the_shell_never_asks_the_store() -> None:
    assert resolve_secrets(config("env:X,target=A"), never, {"env:X": "shell"}) == {"A": "shell"}


def test_a_lost_value_of_a_shell_says_what_to_do() -> None:
    with pytest.raises(ShellValueLost, match="secret env:X came from a shell and is gone"):
        resolve_secrets(config("env:X,target=A"), never, {})


def test_a_missing_secret_is_named() -> None:
    with pytest.raises(SecretNotFound, match="github"):
        resolve_secrets(config("github,target=TOKEN"), MemoryStore, {})
