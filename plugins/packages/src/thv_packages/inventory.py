"""What is prepared, for people who look at their disk, and how it is deleted."""

from __future__ import annotations

import contextlib
import os
import time
from collections.abc import Iterator
from pathlib import Path

from thv_core.errors import TimedOut
from thv_core.spi import PreparedPackage
from thv_packages.disk import disk_errors, remove
from thv_packages.shelf import DIGEST, Shelf, entries

__all__ = ["discard", "prepared", "sweep"]

_PATIENCE = 10.0
_GONE = ".gone-"


def prepared(cache: Path, scheme: str) -> list[PreparedPackage]:
    """List the complete roots of a cache, whatever runs them, those made last first."""
    return list(_prepared(Shelf(cache, ""), scheme))


def discard(cache: Path, package: PreparedPackage) -> None:
    """Delete a root and its entries, and what interrupted preparations left; a root that is being made stays.

    The root is renamed first, so that nobody ever finds half of it.

    :raises TimedOut: when another process works on the root.
    """
    shelf = Shelf(cache, "")
    digest = Path(package.path).name
    if not DIGEST.match(digest) or str(shelf.folder(digest)) != package.path:
        return
    with disk_errors(package.reference):
        if shelf.folder(digest).is_dir():
            with shelf.held(digest, _PATIENCE):
                _set_aside(shelf, digest)
        _forget(cache, digest)
        sweep(cache)


def sweep(cache: Path) -> None:
    """Delete what was set aside, and half-made roots and jobs that nobody works on any more.

    :raises OSError: when something cannot be deleted.
    """
    shelf = Shelf(cache, "")
    roots = cache / "roots"
    if not roots.is_dir():
        return
    half = {path.name for path in roots.iterdir() if DIGEST.match(path.name) and not (path / "complete").exists()}
    half |= {path.name for path in (cache / "jobs").glob("*") if DIGEST.match(path.name)}
    for digest in half:
        with contextlib.suppress(TimedOut), shelf.held(digest, 0.0):
            remove(shelf.jobs(digest))
            if not (shelf.folder(digest) / "complete").exists():
                _set_aside(shelf, digest)
    for gone in roots.glob(f"{_GONE}*"):
        with contextlib.suppress(FileNotFoundError):
            remove(gone)


def _prepared(shelf: Shelf, scheme: str) -> Iterator[PreparedPackage]:
    for entry in entries(shelf.cache):
        digest = entry.digest
        root = shelf.root(digest) if digest else None
        if root:
            with contextlib.suppress(OSError):
                yield PreparedPackage(
                    reference=f"{scheme}://{entry.label}@{entry.version}",
                    path=root.path,
                    packages=root.packages,
                    size=root.size,
                    used_at=(shelf.folder(digest) / "complete").stat().st_mtime,
                )


def _set_aside(shelf: Shelf, digest: str) -> None:
    folder = shelf.folder(digest)
    with contextlib.suppress(FileNotFoundError):
        folder.rename(folder.with_name(f"{_GONE}{digest}-{os.getpid()}-{time.monotonic_ns()}"))


def _forget(cache: Path, digest: str) -> None:
    for entry in entries(cache):
        if entry.digest == digest:
            entry.path.unlink(missing_ok=True)
            with contextlib.suppress(OSError):
                entry.path.parent.rmdir()
