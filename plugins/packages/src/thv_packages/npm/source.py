"""The source ``npx``: packages of npm by name, with the version that a tag names unless one is given."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import Self

from thv_core.model.names import derived_name
from thv_core.spi import PackageSpec, ServerEntry, ServerSource, Surroundings
from thv_packages.disk import disk_errors, private_folder
from thv_packages.npm.choice import Nodes
from thv_packages.npm.package_name import SCHEME, NpmPackage, parse
from thv_packages.npm.registry import Registry
from thv_packages.npm.settings import NpxSettings
from thv_packages.shelf import entries

__all__ = ["NpxSource"]


class NpxSource(ServerSource):
    """Resolves ``npx://NAME``, ``npx://@SCOPE/NAME``, each with ``@VERSION`` or ``@TAG``."""

    def __init__(self, surroundings: Surroundings, settings: NpxSettings) -> None:
        self._surroundings = surroundings
        self._settings = settings

    @classmethod
    def from_settings(cls, settings: Mapping[str, object], surroundings: Surroundings) -> Self:
        """Construct the source; the settings are those of :class:`NpxSettings`.

        :raises SettingsError: when a setting is unknown or has a wrong value.
        """
        return cls(surroundings, NpxSettings.parse(settings, surroundings.secret))

    def resolve(self, reference: str) -> ServerEntry:
        """Resolve a reference; see :meth:`thv_core.spi.ServerSource.resolve`.

        The origin is the registry that was asked, so an exact version has none.
        """
        package = parse(reference)
        if package.exact:
            return _entry(package, origin="")
        with disk_errors(package.line):
            private_folder(self._surroundings.cache)
            asked = Nodes(self._surroundings, self._settings).registries()
            prepared = [each.label for each in entries(self._surroundings.cache)]
        version = Registry(asked, self._settings, self._surroundings.environment).tagged(package, prepared)
        return _entry(dataclasses.replace(package, version=version), "npm" if asked.public else "your npm registry")


def _entry(package: NpmPackage, origin: str) -> ServerEntry:
    return ServerEntry(
        name=derived_name(package.reference),
        package=PackageSpec(scheme=SCHEME, name=package.name, version=package.version),
        origin=origin,
    )
