"""The source ``uvx``: packages of PyPI by name, with the newest version unless one is given."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import Self

from thv_core.model.names import derived_name
from thv_core.spi import PackageSpec, ServerEntry, ServerSource, Surroundings
from thv_packages.disk import disk_errors, private_folder
from thv_packages.index import Index
from thv_packages.interpreter import identity
from thv_packages.requirement import SCHEME, Requirement, parse
from thv_packages.settings import chosen_python
from thv_packages.shelf import Shelf

__all__ = ["UvxSource"]


class UvxSource(ServerSource):
    """Resolves ``uvx://NAME``, ``uvx://NAME@VERSION`` and ``uvx://NAME[EXTRA]@VERSION``."""

    def __init__(self, surroundings: Surroundings, python: str) -> None:
        self._python = python
        self._cache = surroundings.cache
        self._index = Index(surroundings.cache, surroundings.environment)

    @classmethod
    def from_settings(cls, settings: Mapping[str, object], surroundings: Surroundings) -> Self:
        """Construct the source; the setting ``python`` is the interpreter that packages must fit.

        :raises SettingsError: when a setting is unknown or has a wrong value.
        """
        return cls(surroundings, chosen_python(settings))

    def resolve(self, reference: str) -> ServerEntry:
        """Resolve a reference; see :meth:`thv_core.spi.ServerSource.resolve`.

        The origin is the index that was asked, so an exact version has none.

        :raises PreparationFailed: besides, when no version of the package has a wheel for the interpreter.
        """
        requirement = parse(reference)
        if requirement.version:
            return _entry(requirement, origin="")
        return _entry(self._newest(requirement), origin=self._index.name.origin)

    def _newest(self, requirement: Requirement) -> Requirement:
        shelf = Shelf(self._cache, identity(self._python))
        with disk_errors(requirement):
            private_folder(self._cache)
            version = self._index.newest(requirement, self._python, shelf.prepared())
        return dataclasses.replace(requirement, version=version)


def _entry(requirement: Requirement, origin: str) -> ServerEntry:
    return ServerEntry(
        name=derived_name(requirement.reference),
        package=PackageSpec(scheme=SCHEME, name=requirement.label, version=requirement.version),
        origin=origin,
    )
