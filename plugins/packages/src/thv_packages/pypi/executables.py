"""Find what a package offers to run, by reading what its wheel recorded."""

from __future__ import annotations

import contextlib
import csv
import os
import re
from collections.abc import Iterator
from pathlib import Path

from thv_core.errors import PreparationFailed
from thv_packages.disk import read_bounded
from thv_packages.pypi.requirement import Requirement

__all__ = ["command"]

_HEAD = 1024
_LONGEST_RECORD = 16 * 1024 * 1024


def command(tree: Path, packages: Path, requirement: Requirement) -> tuple[str, ...]:
    """Return the argument vector of the executable named like the package, or of its only one.

    A Python script is given to the tree's Python by path, so that no kernel limit on ``#!`` lines matters.

    :raises PreparationFailed: when the package offers none, or several of other names.
    """
    offered = _executables(tree, packages, requirement)
    alike = [path for path in offered if _plain(path.name) == requirement.name]
    chosen = alike or offered
    if not chosen:
        raise PreparationFailed(
            f"{requirement.line} offers no executable",
            evidence=[f"the wheel of {requirement.name} has no console script and no other script"],
            hint="It may be a library that a server of another name uses.",
        )
    if len(chosen) > 1:
        names = ", ".join(sorted(path.name for path in chosen))
        raise PreparationFailed(
            f"{requirement.line} offers several executables, none named {requirement.name}",
            evidence=[names],
            hint="Only an executable named like its package is started. Look for a package named like one of these.",
        )
    return (str(tree / "bin" / "python"), str(chosen[0])) if _is_python(chosen[0]) else (str(chosen[0]),)


def _executables(tree: Path, packages: Path, requirement: Requirement) -> list[Path]:
    """Return the files that the package itself, not what it depends on, put into the ``bin`` folder."""
    binaries = Path(os.path.realpath(tree / "bin"))
    recorded = (
        Path(os.path.realpath(packages / line))
        for info in packages.glob("*.dist-info")
        if _plain(info.name.removesuffix(".dist-info").rpartition("-")[0]) == requirement.name
        for line in _recorded(info / "RECORD")
    )
    return sorted({tree / "bin" / path.name for path in recorded if path.parent == binaries and path.is_file()})


def _recorded(record: Path) -> Iterator[str]:
    """Yield the paths that a wheel recorded (PEP 376); a build may have written anything there."""
    with contextlib.suppress(OSError, ValueError, csv.Error):
        lines = read_bounded(record, _LONGEST_RECORD).decode().splitlines()
        yield from (row[0] for row in csv.reader(lines) if row and "\0" not in row[0])


def _plain(name: str) -> str:
    return re.sub(r"[-_.]+", "-", name).lower()


def _is_python(script: Path) -> bool:
    with script.open("rb") as file:
        head = file.read(_HEAD)
    return head.startswith(b"#!") and b"python" in head
