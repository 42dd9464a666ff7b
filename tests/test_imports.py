"""The public contract is what it says: one import path, complete, documented, and cheap to import."""

from __future__ import annotations

import dataclasses
import importlib
import inspect
import pkgutil
import subprocess
import sys
import typing
from collections.abc import Callable, Iterator
from types import ModuleType

import msgspec
import pytest

from thv_core import errors, spi
from thv_core.errors import ThvError

PUBLIC_LAYERS = ("thv_core.errors", "thv_core.model", "thv_core.spi")


def modules_below(package: ModuleType) -> Iterator[ModuleType]:
    """Import and yield a package and every module below it."""
    yield package
    for found in pkgutil.walk_packages(getattr(package, "__path__", []), f"{package.__name__}."):
        yield importlib.import_module(found.name)


PUBLIC_MODULES = [module for name in PUBLIC_LAYERS for module in modules_below(importlib.import_module(name))]
LEAVES = [module for module in PUBLIC_MODULES if not hasattr(module, "__path__")]


def defined_here(module: ModuleType) -> set[str]:
    """Return the public classes and functions that a module defines itself."""
    return {
        name
        for name, value in vars(module).items()
        if not name.startswith("_")
        and (inspect.isclass(value) or inspect.isfunction(value))
        and value.__module__ == module.__name__
    }


def public_types() -> list[type]:
    return [value for name in spi.__all__ if inspect.isclass(value := getattr(spi, name))]


# __all__ and reality -------------------------------------------------------------------------------------------------


def test_the_spi_offers_exactly_what_it_promises() -> None:
    reality = {name for name, value in vars(spi).items() if not name.startswith("_") and not inspect.ismodule(value)}
    assert set(spi.__all__) == reality
    assert len(spi.__all__) == len(set(spi.__all__))


@pytest.mark.parametrize("module", LEAVES, ids=lambda module: module.__name__)
def test_a_public_module_promises_exactly_what_it_defines(module: ModuleType) -> None:
    promised = set(module.__all__)
    assert [name for name in promised if not hasattr(module, name)] == []
    assert defined_here(module) - promised == set(), "public by name, but not promised"


def test_every_type_of_a_contract_can_be_imported_from_the_spi() -> None:
    contracts = [module for module in LEAVES if module.__name__.startswith("thv_core.spi.")]
    assert {name for module in contracts for name in defined_here(module)} - set(spi.__all__) == set()


def test_every_type_of_the_model_that_a_contract_mentions_can_be_imported_from_the_spi() -> None:
    mentioned = {mention for each in public_types() for mention in mentions(each)}
    model = {each.__name__ for each in mentioned if each.__module__.startswith("thv_core.model")}
    assert len(model) > 10, "no mention was found: the search is broken"
    assert model - set(spi.__all__) == set()


def mentions(owner: type) -> Iterator[type]:
    """Yield every class that the annotations of a class and of its public methods mention."""
    hints = list(_hints(owner).values())
    for name, member in vars(owner).items():
        function = getattr(member, "__func__", member)
        if inspect.isfunction(function) and not name.startswith("_"):
            hints.extend(_hints(function).values())
    for hint in hints:
        yield from _classes(hint)


def _hints(thing: Callable[..., object]) -> dict[str, object]:
    own = inspect.get_annotations(thing)
    return {name: hint for name, hint in typing.get_type_hints(thing).items() if name in own}


def _classes(hint: object) -> Iterator[type]:
    if inspect.isclass(hint):
        yield hint
    for argument in (*typing.get_args(hint), *(hint if isinstance(hint, list) else ())):
        yield from _classes(argument)


class Inner:
    """A type that the sample mentions."""


class Sample:
    """Mentions types in a field, in a parameter and in a result."""

    field: dict[str, tuple[Inner, ...]]

    def method(self, one: list[bytes]) -> ModuleType | None: ...


def test_mentions_are_found_in_fields_in_methods_and_inside_generics() -> None:
    assert {str, Inner, bytes, ModuleType} <= set(mentions(Sample))


# Documentation in the source -----------------------------------------------------------------------------------------


@pytest.mark.parametrize("owner", public_types(), ids=lambda owner: owner.__name__)
def test_a_public_type_and_its_methods_have_docstrings(owner: type) -> None:
    assert documented(owner.__doc__), f"{owner.__name__} is not documented"
    for name, member in vars(owner).items():
        function = getattr(member, "__func__", getattr(member, "fget", member))
        if inspect.isfunction(function) and not name.startswith("_"):
            assert documented(function.__doc__), f"{owner.__name__}.{name} is not documented"


def documented(text: str | None) -> bool:
    """Whether a docstring begins with a sentence; dataclasses and structs make up one that is none."""
    first = (text or "").strip().split("\n\n")[0].replace("\n", " ")
    return len(first.split()) >= 3 and first.endswith((".", ":"))


def test_a_generated_docstring_is_no_documentation() -> None:
    generated = dataclasses.make_dataclass("Sample", [("one", int)])
    assert not documented(generated.__doc__)
    assert not documented(None)
    assert documented("Return the sum.\n\nIn bytes.")


# Errors --------------------------------------------------------------------------------------------------------------


def error_classes(of: type[ThvError] = ThvError) -> list[type[ThvError]]:
    return [of, *(each for child in of.__subclasses__() for each in error_classes(child))]


def test_every_error_of_the_core_has_a_word_of_its_own_and_an_exit_code() -> None:
    ours = [each for each in error_classes() if each.__module__ == errors.__name__]
    words = [each.code for each in ours]
    assert len(words) == len(set(words))
    assert {each.exit_code for each in ours} == {1, 2}


@pytest.mark.parametrize(
    "kind", [each for each in error_classes() if each.__module__ == errors.__name__], ids=lambda kind: kind.__name__
)
def test_an_error_survives_its_way_over_the_api(kind: type[ThvError]) -> None:
    there = errors.error_from_document(kind("it failed", evidence=["so"], hint="do this").document())
    assert type(there) is kind
    assert (there.message, there.evidence, there.hint) == ("it failed", ("so",), "do this")


# Values --------------------------------------------------------------------------------------------------------------


def test_the_values_of_the_contract_are_frozen() -> None:
    structs = [each for each in public_types() if issubclass(each, msgspec.Struct)]
    assert structs
    assert [each.__name__ for each in structs if not each.__struct_config__.frozen] == []


def test_importing_the_contract_loads_no_server_no_client_and_no_loader() -> None:
    program = "import sys, thv_core.spi, thv_core.errors; print(*sys.modules)"
    loaded = set(
        subprocess.run([sys.executable, "-c", program], check=True, capture_output=True, text=True).stdout.split()
    )
    assert "thv_core.spi" in loaded
    assert loaded & {"asyncio", "click", "sqlite3", "litestar", "stevedore", "uvicorn", "ruamel.yaml"} == set()
