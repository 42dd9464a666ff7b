"""Installed distributions as their metadata describes them; nothing is imported, not even ``importlib.metadata``.

Reading the few files that matter takes a third of the time of importing :mod:`importlib.metadata`, and every command
pays it. Path entries that are archives, and finders of distributions other than the standard one, are left to it.
Sources: the core metadata specification and the entry points specification of the Python Packaging User Guide.
"""

from __future__ import annotations

import os
import re
import stat
import sys
from collections.abc import Callable, Iterable, Iterator
from importlib.machinery import PathFinder
from typing import TYPE_CHECKING, NamedTuple

from thv_core.loading.kinds import GROUP_PREFIX

if TYPE_CHECKING:
    from importlib.metadata import Distribution

__all__ = ["CORE", "Installed", "Offer", "described", "installed", "normalised"]

CORE = "thv-core"

Reader = Callable[[str], str]


class Offer(NamedTuple):
    """One entry point of a ``thv.*`` group, as written."""

    group: str
    name: str
    value: str


class Installed(NamedTuple):
    """One distribution: ``name`` is empty when its metadata has none, ``folder`` is its metadata directory or empty."""

    key: str
    name: str
    version: str
    requires: tuple[str, ...]
    offers: tuple[Offer, ...]
    folder: str


def normalised(name: str) -> str:
    """Return the form of a distribution's name that comparisons use (PEP 503)."""
    return re.sub(r"[-_.]+", "-", name).lower()


def installed() -> Iterator[Installed]:
    """Yield thv-core and every distribution with a ``thv.*`` entry point, the first of each name on ``sys.path``."""
    if _only_folders():
        return _relevant(_in_folders())
    import importlib.metadata  # costs every command 40 ms, so only where folders are not enough

    return described(importlib.metadata.distributions())


def described(distributions: Iterable[Distribution]) -> Iterator[Installed]:
    """Yield what :func:`installed` yields, of the given distributions."""
    return _relevant((_key(each), _folder(each), _text_of(each)) for each in distributions)


def _only_folders() -> bool:
    finders = [each for each in sys.meta_path if hasattr(each, "find_distributions") and each is not PathFinder]
    return not finders and not any(_is_archive(entry) for entry in sys.path)


def _is_archive(entry: str) -> bool:
    try:
        return stat.S_ISREG(os.stat(entry).st_mode)  # noqa: PTH116 - pathlib costs every command 9 ms
    except (OSError, ValueError):
        return False


def _in_folders() -> Iterator[tuple[str, str, Reader]]:
    for entry in dict.fromkeys(sys.path):
        try:
            names = os.listdir(entry or ".")  # noqa: PTH208 - the order and the speed of importlib.metadata
        except (OSError, ValueError):
            continue
        for name in names:
            if name.endswith((".dist-info", ".egg-info")):
                folder = f"{entry or '.'}/{name}"
                yield _stem(name), folder, _files_of(folder)


def _relevant(found: Iterable[tuple[str, str, Reader]]) -> Iterator[Installed]:
    seen: set[str] = set()
    for key, folder, read in found:
        # pip renames what it is about to delete to ~ame and may leave it behind.
        if key in seen or key.startswith("~"):
            continue
        seen.add(key)
        offers = _offers(read("entry_points.txt"))
        if offers or key == CORE:
            yield _described(key, folder, read, offers)


def _described(key: str, folder: str, read: Reader, offers: tuple[Offer, ...]) -> Installed:
    headers = _headers(read("METADATA") or read("PKG-INFO"))
    return Installed(
        key=key,
        name=next(iter(headers.get("name", ())), ""),
        version=next(iter(headers.get("version", ())), ""),
        requires=(*headers.get("requires-dist", ()), *_unconditional(read("requires.txt"))),
        offers=offers,
        folder=folder,
    )


def _stem(name: str) -> str:
    return normalised(name.rsplit(".", 1)[0].partition("-")[0])


def _key(distribution: Distribution) -> str:
    try:
        name = str(distribution.metadata["Name"] or "")
    except Exception:  # a stranger's finder may do anything, and a scan survives it
        name = ""
    folder = _folder(distribution)
    return normalised(name) or _stem(folder.rpartition("/")[2])


def _folder(distribution: Distribution) -> str:
    return str(getattr(distribution, "_path", "")).replace(os.sep, "/")


def _files_of(folder: str) -> Reader:
    def read(name: str) -> str:
        try:
            # pathlib costs every command 9 ms
            with open(f"{folder}/{name}", encoding="utf-8", errors="replace") as file:  # noqa: PTH123 - see above
                return file.read()
        except OSError:
            return ""

    return read


def _text_of(distribution: Distribution) -> Reader:
    def read(name: str) -> str:
        try:
            return distribution.read_text(name) or ""
        except Exception:  # a stranger's finder may do anything, and a scan survives it
            return ""

    return read


def _headers(text: str) -> dict[str, list[str]]:
    found: dict[str, list[str]] = {}
    for line in text.splitlines():
        if not line.strip():
            break
        name, _, value = line.partition(":")
        found.setdefault(name.strip().lower(), []).append(value.strip())
    return found


def _unconditional(text: str) -> Iterator[str]:
    for line in text.splitlines():
        if line.startswith("["):
            return
        if line.strip():
            yield line.strip()


def _offers(text: str) -> tuple[Offer, ...]:
    found: list[Offer] = []
    group = ""
    if f"[{GROUP_PREFIX}" not in text:
        return ()
    for line in map(str.strip, text.splitlines()):
        if line.startswith("[") and line.endswith("]"):
            group = line[1:-1].strip()
        elif line and line[0] not in "#;" and group.startswith(GROUP_PREFIX):
            name, _, value = line.partition("=")
            found.append(Offer(group, name.strip(), value.strip()))
    return tuple(found)
