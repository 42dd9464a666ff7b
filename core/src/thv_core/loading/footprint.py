"""What a distribution with plugins looks like on disk, as lines that change when it is upgraded or edited."""

from __future__ import annotations

import importlib.util
import os
from collections.abc import Iterator

from thv_core.loading.metadata import Installed

__all__ = ["footprint"]

_ABSENT = (0, 0)
_MOST_FILES = 5000


def footprint(distribution: Installed) -> Iterator[str]:
    """Yield a line for a distribution, one for each of its entry points, and one for each file of their packages."""
    modified, _ = _measured(distribution.folder)
    yield f"{distribution.key} {distribution.version} {modified}"
    for offer in distribution.offers:
        yield f"{distribution.key} {offer.group} {offer.name} {offer.value}"
    packages = sorted({offer.value.partition(":")[0].strip().partition(".")[0] for offer in distribution.offers})
    for package in packages:
        yield from _sources(package)


def _sources(package: str) -> Iterator[str]:
    """Yield a line for each Python file of a top-level package or module, found without importing anything."""
    try:
        spec = importlib.util.find_spec(package)
    except (ImportError, ValueError):
        return
    if spec is None:
        return
    folders = [*(spec.submodule_search_locations or ())]
    files = [spec.origin] if spec.origin and not folders else []
    for _ in range(_MOST_FILES):
        if not folders and not files:
            return
        if files:
            file = files.pop()
            yield "{} {} {}".format(file, *_measured(file))
        else:
            _unfold(folders.pop(), folders, files)


def _unfold(folder: str, folders: list[str], files: list[str]) -> None:
    try:
        with os.scandir(folder) as entries:
            found = sorted(entries, key=lambda entry: entry.name)
    except OSError:
        return
    files += [entry.path for entry in found if entry.name.endswith((".py", ".so"))]
    folders += [entry.path for entry in found if entry.name != "__pycache__" and entry.is_dir(follow_symlinks=False)]


def _measured(path: str) -> tuple[int, int]:
    try:
        found = os.stat(path)  # noqa: PTH116 - pathlib costs every command 9 ms
    except (OSError, ValueError):
        return _ABSENT
    return found.st_mtime_ns, found.st_size
