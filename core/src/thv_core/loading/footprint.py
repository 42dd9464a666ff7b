"""What a distribution with plugins looks like on disk, as lines that change when it is upgraded or edited."""

from __future__ import annotations

import importlib.machinery
import importlib.util
import os
from collections.abc import Iterator

from thv_core.loading.metadata import Installed

__all__ = ["footprint"]

_ABSENT = (0, 0)


def footprint(distribution: Installed) -> Iterator[str]:
    """Yield a line for a distribution and one for the module file of each of its entry points."""
    modified, _ = _measured(distribution.folder)
    yield f"{distribution.key} {distribution.version} {modified}"
    for offer in distribution.offers:
        modified, size = _module_measured(offer.value.partition(":")[0].strip())
        yield f"{distribution.key} {offer.group} {offer.name} {offer.value} {modified} {size}"


def _measured(path: str) -> tuple[int, int]:
    try:
        found = os.stat(path)  # noqa: PTH116 - pathlib costs every command 9 ms
    except (OSError, ValueError):
        return _ABSENT
    return found.st_mtime_ns, found.st_size


def _module_measured(module: str) -> tuple[int, int]:
    measures = (_measured(file) for file in _possible_files(module))
    return next((measure for measure in measures if measure != _ABSENT), _ABSENT)


def _possible_files(module: str) -> Iterator[str]:
    """Yield where a module may lie, found without importing its package as :func:`find_spec` of a dotted name would."""
    top, *inner = module.split(".")
    try:
        spec = importlib.util.find_spec(top)
    except Exception:  # a stranger's finder may raise anything, and a scan survives it
        return
    if spec is None:
        return
    if not inner:
        yield spec.origin or ""
        return
    for folder in spec.submodule_search_locations or ():
        stem = "/".join((folder, *inner))
        yield f"{stem}/__init__.py"
        yield from (stem + suffix for suffix in importlib.machinery.all_suffixes())
