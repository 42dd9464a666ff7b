from __future__ import annotations

import click
import pytest

from thv_core.loading.kinds import KINDS, kind_of_contract
from thv_core.spi import Builder, Driver, Gateway, Runtime, SecretStore, ServerSource

CONTRACTS = {"runtime": Runtime, "source": ServerSource, "builder": Builder, "secrets": SecretStore, "gateway": Gateway}


@pytest.mark.parametrize(("word", "contract"), CONTRACTS.items())
def test_a_contract_and_its_kind_name_each_other(word: str, contract: type) -> None:
    assert KINDS[word].contract_class() is contract
    assert kind_of_contract(contract) is KINDS[word]


def test_a_command_is_a_click_command() -> None:
    assert KINDS["command"].contract_class() is click.Command


def test_every_kind_has_a_group_of_its_own() -> None:
    assert len({kind.group for kind in KINDS.values()}) == len(KINDS)


def test_a_class_that_is_no_contract_has_no_kind() -> None:
    with pytest.raises(LookupError, match="not the contract of a kind"):
        kind_of_contract(Driver)
