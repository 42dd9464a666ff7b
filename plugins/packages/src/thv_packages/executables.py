"""Find what a package offers to run, by reading what its wheel recorded."""

from __future__ import annotations

import re
from pathlib import Path

from thv_core.errors import PreparationFailed
from thv_packages.requirement import Requirement

__all__ = ["command"]

_HEAD = 1024


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
    # Costs more than 10 ms, and only a package that is not prepared yet needs it.
    from importlib.metadata import distributions

    found = distributions(name=requirement.name, path=[str(packages)])
    recorded = [Path(str(file.locate())).resolve() for each in found for file in each.files or ()]
    binaries = (tree / "bin").resolve()
    return sorted({tree / "bin" / path.name for path in recorded if path.parent == binaries and path.is_file()})


def _plain(name: str) -> str:
    return re.sub(r"[-_.]+", "-", name).lower()


def _is_python(script: Path) -> bool:
    with script.open("rb") as file:
        head = file.read(_HEAD)
    return head.startswith(b"#!") and b"python" in head
