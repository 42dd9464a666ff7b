"""Ask an npm registry which version a tag means."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

import msgspec

from thv_core.errors import PackageNotFound, Unavailable
from thv_packages.npm.known import meant
from thv_packages.npm.package_name import NpmPackage
from thv_packages.npm.registries import Registries
from thv_packages.npm.settings import NpxSettings
from thv_packages.web import Web, bearer

__all__ = ["Registry", "no_package", "no_version"]

_ABBREVIATED = "application/vnd.npm.install-v1+json"


class _Manifest(msgspec.Struct, rename="kebab"):
    """What is read of an abbreviated manifest: which versions its tags name."""

    dist_tags: dict[str, str] = msgspec.field(default_factory=dict[str, str])


class Registry:
    """The registries of the settings and the user."""

    def __init__(self, registries: Registries, settings: NpxSettings, environment: Mapping[str, str]) -> None:
        self._registries = registries
        self._settings = settings
        self._web = Web(environment)

    def tagged(self, package: NpmPackage, prepared: Iterable[str]) -> str:
        """Return the exact version that the tag of a package names.

        :param prepared: the names of what this machine has, for the hints of errors.
        :raises PackageNotFound: when there is no such package or tag.
        :raises Unavailable: when the registry does not answer.
        """
        token = self._settings.token()
        url = f"{self._registries.of(package.scope)}/{package.name.replace('/', '%2f')}"
        answer = self._web.get(url, _ABBREVIATED, bearer(token) if token else "")
        if answer is None:
            raise no_package(package, self._registries, prepared)
        try:
            tags = msgspec.json.decode(answer.body, type=_Manifest).dist_tags
        except msgspec.DecodeError as error:
            raise Unavailable(
                f"{self._registries.subject} does not answer as a registry of npm packages",
                evidence=[str(error)[:400]],
                hint="Check the setting `registry` of npx, and npm_config_registry.",
            ) from None
        version = tags.get(package.version, "")
        if not NpmPackage(package.name, version).exact:
            raise no_version(package, self._registries, tags)
        return version


def no_package(package: NpmPackage, registries: Registries, prepared: Iterable[str]) -> PackageNotFound:
    """Return the error for a package that a registry does not have; npm has no search for names that are near."""
    likely = meant(package.name, prepared)
    return PackageNotFound(
        f"{registries.subject} has no package {package.name}",
        hint=f"Did you mean {likely}?"
        if likely
        else "Check the spelling, or name the registry:  thv config set plugins.npx.registry URL",
    )


def no_version(package: NpmPackage, registries: Registries, tags: Iterable[str] = ()) -> PackageNotFound:
    """Return the error for a version or tag that a package does not have."""
    known = ", ".join(sorted(tags)[:10])
    what = "version" if package.exact else "tag"
    return PackageNotFound(
        f"{registries.subject} has no {what} {package.version} of {package.name}",
        evidence=[f"its tags: {known[:400]}"] if known else (),
        hint=f"The newest:  thv run npx://{package.name}",
    )
