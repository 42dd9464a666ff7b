"""Make the cache folder when it is missing, and say what the file system refuses, in our words."""

from __future__ import annotations

import contextlib
from collections.abc import Generator
from pathlib import Path

from thv_core.errors import PreparationFailed
from thv_packages.requirement import Requirement

__all__ = ["disk_errors", "private_folder"]

_PRIVATE = 0o700


@contextlib.contextmanager
def disk_errors(requirement: Requirement) -> Generator[None, None, None]:
    """Turn an error of the file system into a failed preparation of ``requirement``.

    :raises PreparationFailed: naming the file.
    """
    try:
        yield
    except OSError as error:
        raise PreparationFailed(
            f"{requirement.line} could not be prepared: {error.strerror or error}",
            evidence=[str(error.filename)] if error.filename else (),
            hint="Check the space and the rights of the cache folder.",
        ) from error


def private_folder(folder: Path) -> None:
    """Make a folder that only its owner may enter, and what is missing above it, unless it is there.

    A cache may be deleted at any time, also while the process that uses it lives on.
    """
    if not folder.is_dir():
        private_folder(folder.parent)
        folder.mkdir(mode=_PRIVATE, exist_ok=True)
