"""Say what the file system refuses, in our words."""

from __future__ import annotations

import contextlib
from collections.abc import Generator

from thv_core.errors import PreparationFailed
from thv_packages.requirement import Requirement

__all__ = ["disk_errors"]


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
