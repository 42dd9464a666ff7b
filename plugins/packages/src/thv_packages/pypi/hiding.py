"""What a Python package is not to find on the system: npm, which some run on first use to install into themselves.

A prepared root is read-only, so there that fails, and takes down what would have done without (readabilipy, of
mcp-server-fetch). An image with nothing but Python, for which such packages are written, has no npm either.
"""

from __future__ import annotations

import shutil
from pathlib import Path

from thv_packages.room import SYSTEM_PATH

__all__ = ["hidden_folders"]

_PROGRAMS = ("npm", "npx")


def hidden_folders(path: str = SYSTEM_PATH) -> tuple[str, ...]:
    """Return the package folders of npm on ``path``; without them the program's link leads nowhere.

    An npm that is no link into such a folder cannot be hidden.
    """
    found = (shutil.which(program, path=path) for program in _PROGRAMS)
    folders = (_package(Path(program)) for program in found if program)
    return tuple(dict.fromkeys(str(folder) for folder in folders if folder))


def _package(program: Path) -> Path | None:
    real = program.resolve()
    return next((each for each in real.parents if (each / "package.json").is_file()), None) if real != program else None
