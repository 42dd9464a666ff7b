from __future__ import annotations

import importlib
import pkgutil

import pytest

import thv_core.model
import thv_core.spi

MODULES = [
    f"{package.__name__}.{each.name}"
    for package in (thv_core.model, thv_core.spi)
    for each in pkgutil.iter_modules(package.__path__)
]


def test_everything_that_is_promised_exists_and_is_documented() -> None:
    for name in thv_core.spi.__all__:
        promised = getattr(thv_core.spi, name)
        assert promised.__doc__ or name == "LOCAL_USER"


@pytest.mark.parametrize("module", MODULES)
def test_every_module_exports_what_it_says(module: str) -> None:
    found = importlib.import_module(module)
    assert found.__doc__
    for name in found.__all__:
        assert hasattr(found, name)
