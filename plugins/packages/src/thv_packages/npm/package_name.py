"""What an ``npx://`` reference asks for: a package, and an exact version, a tag, or the newest.

The rules for names are those of npm's documentation of ``package.json``.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

from thv_core.errors import InvalidRequest
from thv_core.spi import PackageSpec

__all__ = ["LATEST", "SCHEME", "NpmPackage", "exact", "parse"]

SCHEME = "npx"

LATEST = "latest"
"""The tag of the newest release, which a package without a version means."""

_PART = r"[a-z0-9~-][a-z0-9._~-]*"
_NAME = re.compile(rf"(?:@{_PART}/)?{_PART}\Z")
_FORM = re.compile(r"npx://(?P<name>@[^@]*/[^@]*|[^@]+)(?:@(?P<version>.*))?\Z", re.DOTALL)
_EXACT = re.compile(r"(?:0|[1-9]\d*)\.(?:0|[1-9]\d*)\.(?:0|[1-9]\d*)(?:-[0-9A-Za-z.-]+)?(?:\+[0-9A-Za-z.-]+)?\Z")
_TAG = re.compile(r"(?!v?\d|x\Z)[A-Za-z][A-Za-z0-9._-]{0,99}\Z")
_RESERVED = ("node_modules", "favicon.ico")
_LONGEST = 214
_LONGEST_REFERENCE = 400
_HINT = "Write npx://PACKAGE or npx://@SCOPE/PACKAGE, such as npx://@modelcontextprotocol/server-everything."
_VERSION_HINT = "Write an exact version such as 1.2.3, or a tag such as latest, after the @."


@dataclass(frozen=True)
class NpmPackage:
    """A package by its name with its scope, and an exact version or a tag."""

    name: str
    version: str = LATEST

    @property
    def exact(self) -> bool:
        """Whether the version is one, and not a tag."""
        return bool(_EXACT.match(self.version))

    @property
    def scope(self) -> str:
        """The scope with its ``@``, or an empty string."""
        return self.name.partition("/")[0] if self.name.startswith("@") else ""

    @property
    def bare(self) -> str:
        """The name without its scope."""
        return self.name.rpartition("/")[2]

    @property
    def line(self) -> str:
        """What npm calls it, ``name@version``."""
        return f"{self.name}@{self.version}"

    @property
    def reference(self) -> str:
        """What a user types for it, ``npx://name@version``."""
        return f"{SCHEME}://{self.line}"


def parse(reference: str) -> NpmPackage:
    """Parse ``npx://NAME[@VERSION]``.

    :raises InvalidRequest: when the name breaks a rule of npm, or the version is neither exact nor a tag.
    """
    match = _FORM.match(reference[: _LONGEST_REFERENCE + 1])
    if match is None or len(reference) > _LONGEST_REFERENCE:
        raise InvalidRequest(f"{reference[:_LONGEST]!r} does not name an npm package", hint=_HINT)
    package = NpmPackage(_checked_name(match["name"]), LATEST if match["version"] is None else match["version"])
    if not package.exact and not _TAG.match(package.version):
        raise InvalidRequest(
            f"{package.version[:100]!r} in {reference[:_LONGEST]!r} is neither an exact version nor a tag",
            hint=_VERSION_HINT,
        )
    return package


def exact(package: PackageSpec) -> NpmPackage:
    """Return the package of a specification whose version is fixed.

    :raises InvalidRequest: when it is malformed, of another scheme, or leaves the version open.
    """
    parsed = parse(package.reference)
    if not parsed.exact:
        raise InvalidRequest(f"{package.reference!r} has no exact version", hint=_VERSION_HINT)
    return parsed


def _checked_name(name: str) -> str:
    rules = (
        (len(name) > _LONGEST, f"it is longer than {_LONGEST} characters"),
        (name != name.lower(), "it has capital letters"),
        (name.rpartition("/")[2].startswith((".", "_")), "it begins with a dot or an underscore"),
        (name in _RESERVED, "the name is reserved"),
        (not _NAME.match(name), "only a-z 0-9 - . _ ~ may be in it"),
    )
    for broken, why in rules:
        if broken:
            raise InvalidRequest(f"{name[:_LONGEST]!r} is not the name of an npm package: {why}", hint=_HINT)
    return name
