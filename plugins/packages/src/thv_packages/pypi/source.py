"""The source ``uvx``: packages of PyPI by name, with the newest version unless one is given."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import Self

from thv_core.model.names import derived_name
from thv_core.spi import PackageSpec, ServerEntry, ServerSource, Surroundings
from thv_packages.disk import disk_errors, private_folder
from thv_packages.process import passed_environment
from thv_packages.pypi.from_source import buildable
from thv_packages.pypi.index import Index
from thv_packages.pypi.interpreter import identity, inspect
from thv_packages.pypi.refusal import NoWheel
from thv_packages.pypi.requirement import SCHEME, Requirement, labelled, parse
from thv_packages.pypi.settings import UvxSettings
from thv_packages.pypi.sources import newest_source
from thv_packages.shelf import Shelf
from thv_packages.web import Web

__all__ = ["UvxSource"]


class UvxSource(ServerSource):
    """Resolves ``uvx://NAME``, ``uvx://NAME@VERSION`` and ``uvx://NAME[EXTRA]@VERSION``."""

    def __init__(self, surroundings: Surroundings, settings: UvxSettings) -> None:
        self._python = settings.python
        self._cache = surroundings.cache
        self._environment = surroundings.environment
        self._index = Index(surroundings.cache, surroundings.environment, settings)

    @classmethod
    def from_settings(cls, settings: Mapping[str, object], surroundings: Surroundings) -> Self:
        """Construct the source; the settings are those of :class:`UvxSettings`.

        :raises SettingsError: when a setting is unknown or has a wrong value.
        """
        return cls(surroundings, UvxSettings.parse(settings, surroundings.secret))

    def resolve(self, reference: str) -> ServerEntry:
        """Resolve a reference; see :meth:`thv_core.spi.ServerSource.resolve`.

        The origin is the index that was asked, so an exact version has none.

        :raises PreparationFailed: besides, when no version of the package fits the interpreter.
        """
        requirement = parse(reference)
        if requirement.version:
            return _entry(requirement, origin="")
        return _entry(self._newest(requirement), origin=self._index.asked.name.origin)

    def _newest(self, requirement: Requirement) -> Requirement:
        shelf = Shelf(self._cache, identity(self._python))
        with disk_errors(requirement.line):
            private_folder(self._cache)
            try:
                prepared = [labelled(*each) for each in shelf.prepared()]
                version = self._index.newest(requirement, self._python, prepared)
            except NoWheel as lacking:
                version = self._newest_source(requirement, lacking)
        return dataclasses.replace(requirement, version=version)

    def _newest_source(self, requirement: Requirement, lacking: NoWheel) -> str:
        buildable(lacking, self._index.asked)
        python = inspect(self._python, passed_environment(self._environment)).version
        version = newest_source(Web(self._environment), self._index.urls(), requirement.name, python)
        if not version:
            raise lacking
        return version


def _entry(requirement: Requirement, origin: str) -> ServerEntry:
    return ServerEntry(
        name=derived_name(requirement.reference),
        package=PackageSpec(scheme=SCHEME, name=requirement.label, version=requirement.version),
        origin=origin,
    )
