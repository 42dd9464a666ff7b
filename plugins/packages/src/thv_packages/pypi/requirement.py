"""What a ``uvx://`` reference asks for: a package, optional extras, and a version or the newest."""

from __future__ import annotations

import re
from dataclasses import dataclass

from thv_core.errors import InvalidRequest
from thv_core.spi import PackageSpec

__all__ = ["NEWEST", "SCHEME", "Requirement", "exact", "labelled", "parse"]

SCHEME = "uvx"

NEWEST = ""
"""The version of a requirement that leaves it open."""

_NAME = r"[A-Za-z0-9](?:[A-Za-z0-9._-]*[A-Za-z0-9])?"
_FORM = re.compile(rf"{SCHEME}://(?P<name>{_NAME})(?:\[(?P<extras>{_NAME}(?:,{_NAME})*)\])?(?:@(?P<version>.*))?\Z")
_LONGEST = 200
_HINT = f"Write {SCHEME}://PACKAGE, such as {SCHEME}://mcp-server-time."
_EXTRA_HINT = f"Write {SCHEME}://PACKAGE[EXTRA], or {SCHEME}://PACKAGE[EXTRA]@VERSION."
_VERSION_HINT = f"Write {SCHEME}://PACKAGE@VERSION, such as {SCHEME}://mcp-server-time@2026.10.19."


@dataclass(frozen=True)
class Requirement:
    """A package by its normalised name (PEP 503), extras in order, and normalised version (PEP 440) or ``NEWEST``."""

    name: str
    extras: tuple[str, ...] = ()
    version: str = NEWEST

    @property
    def label(self) -> str:
        """The name with its extras, ``name[extra]``."""
        return f"{self.name}[{','.join(self.extras)}]" if self.extras else self.name

    @property
    def reference(self) -> str:
        """What a user types for it, ``uvx://name[extra]@version``."""
        return f"{SCHEME}://{self.label}" + (f"@{self.version}" if self.version else "")

    @property
    def line(self) -> str:
        """The line of a requirements file for it (PEP 508)."""
        return f"{self.label}=={self.version}" if self.version else self.label


def parse(reference: str) -> Requirement:
    """Parse ``uvx://NAME[EXTRA]@VERSION``; ``@latest`` is the same as no version.

    :raises InvalidRequest: when the name, an extra (PEP 508) or the version (PEP 440) is malformed.
    """
    match = _FORM.match(reference)
    if match is None or len(reference) > _LONGEST:
        raise InvalidRequest(
            f"{reference[:_LONGEST]!r} does not name a Python package",
            hint=_EXTRA_HINT if "[" in reference else _HINT,
        )
    extras = sorted({_normalised(extra) for extra in (match["extras"] or "").split(",") if extra})
    version = match["version"]
    return Requirement(
        name=_normalised(match["name"]),
        extras=tuple(extras),
        version=NEWEST if version in (None, "latest") else _normalised_version(version, reference),
    )


def exact(package: PackageSpec) -> Requirement:
    """Return the requirement of a package whose version is fixed.

    :raises InvalidRequest: when it is malformed, of another scheme, or leaves the version open.
    """
    requirement = parse(package.reference)
    if not requirement.version:
        raise InvalidRequest(f"{package.reference!r} has no exact version", hint=_VERSION_HINT)
    return requirement


def labelled(label: str, version: str) -> Requirement:
    """Return the requirement of a label, ``name[extra]``, and a version."""
    name, _, extras = label.rstrip("]").partition("[")
    return Requirement(name, tuple(extras.split(",")) if extras else (), version)


def _normalised(name: str) -> str:
    return re.sub(r"[-_.]+", "-", name).lower()


def _normalised_version(version: str, reference: str) -> str:
    # Costs more than 10 ms, and a reference without a version does not need it.
    from packaging.version import InvalidVersion, Version

    try:
        return str(Version(version))
    except InvalidVersion:
        raise InvalidRequest(f"{version!r} in {reference!r} is not a version", hint=_VERSION_HINT) from None
