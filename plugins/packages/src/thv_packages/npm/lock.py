"""Read what npm locked: every package with its address and integrity, or a refusal."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass

import msgspec

from thv_core.errors import PreparationFailed
from thv_packages.reach import authority

__all__ = ["Lock", "checked_lock"]

_MOST_NAMED = 8
_STRONG = ("sha512-", "sha384-", "sha256-")


class _Locked(msgspec.Struct, rename="camel"):
    resolved: str = ""
    integrity: str = ""
    link: bool = False
    in_bundle: bool = False
    has_install_script: bool = False


class _File(msgspec.Struct, rename="camel"):
    lockfile_version: int
    packages: dict[str, _Locked]


@dataclass(frozen=True)
class Lock:
    """What a lock says: where each package lies below the tree, and the names of those with install scripts.

    It names packages for other machines too, which are not installed.
    """

    paths: tuple[str, ...]
    scripted: tuple[str, ...]

    @property
    def named(self) -> str:
        """The names of those with install scripts, for people."""
        more = len(self.scripted) - _MOST_NAMED
        return ", ".join(self.scripted[:_MOST_NAMED]) + (f" and {more} more" if more > 0 else "")


def checked_lock(text: bytes, package: str, hosts: Collection[str]) -> Lock:
    """Read a ``package-lock.json`` of version 2 or 3.

    :param hosts: ``HOST:PORT`` of every registry, and of where they keep their files.
    :raises PreparationFailed: when a package comes from elsewhere, or is not bound to its content by a strong hash.
    """
    try:
        packages = msgspec.json.decode(text, type=_File).packages
    except msgspec.DecodeError as error:
        hint = "Set `node` of the plugin npx to a Node with another npm."
        raise PreparationFailed(
            f"npm left no usable lock of {package}", evidence=[str(error)[:400]], hint=hint
        ) from None
    packages.pop("", None)
    for path, each in packages.items():
        if reason := "" if each.in_bundle else _refusal(each, hosts):
            raise PreparationFailed(
                f"{package} needs {_name(path)}, {reason}",
                evidence=[each.resolved[:400] or "it has no address"],
                hint="Only packages of the registry are installed, and only what its hashes vouch for.",
            )
    scripted = sorted({_name(path) for path, each in packages.items() if each.has_install_script})
    return Lock(tuple(packages), tuple(scripted))


def _refusal(each: _Locked, hosts: Collection[str]) -> str:
    if each.link or not each.resolved.startswith(("https://", "http://")):
        return "which does not come from a registry"
    if authority(each.resolved) not in hosts:
        return "whose file lies at another host than the registry"
    if not any(part.startswith(_STRONG) for part in each.integrity.split()):
        return "of which the registry announces no strong hash"
    return ""


def _name(path: str) -> str:
    return path.rpartition("node_modules/")[2]
