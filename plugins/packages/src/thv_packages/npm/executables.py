"""Find what an npm package offers to run, by reading its ``package.json``."""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from pathlib import Path

import msgspec

from thv_core.errors import PreparationFailed
from thv_packages.disk import read_bounded
from thv_packages.npm.node import Node
from thv_packages.npm.package_name import NpmPackage

__all__ = ["command"]

_LONGEST_MANIFEST = 4 * 1024 * 1024
_HEAD = 1024
_NODE_LINE = re.compile(rb"#!\s*/\S*?(?:/env\s+(?:-S\s*)?)?\bnode\b(?P<options>(?:[ \t]+--\S+)*)[ \t\r]*(?:\n|\Z)")
_SCRIPTS = (".js", ".cjs", ".mjs", "")


class _Manifest(msgspec.Struct):
    bin: str | dict[str, str] | None = None
    """One executable, named like the package, or several by their names."""


def command(tree: Path, package: NpmPackage, node: Node) -> tuple[str, ...]:
    """Return the argument vector of the executable named like the package, or of its only one.

    A script for Node is given to Node by path, with the options of its ``#!`` line.

    :raises PreparationFailed: when the package offers none, or several of other names, or one that is not there.
    """
    folder = tree / "node_modules" / package.name
    offered = _offered(folder, package)
    if not offered:
        raise PreparationFailed(
            f"{package.line} offers no executable",
            evidence=["its package.json has no `bin`"],
            hint="It may be a library that a server of another name uses.",
        )
    chosen = offered.get(package.bare) or (next(iter(offered.values())) if len(set(offered.values())) == 1 else "")
    if not chosen:
        raise PreparationFailed(
            f"{package.line} offers several executables, none named {package.bare}",
            evidence=[", ".join(sorted(offered))[:400]],
            hint="Only an executable named like its package is started. Look for a package named like one of these.",
        )
    # No path holds a NUL; the folder itself is no file.
    script = Path(os.path.realpath(folder / ("" if "\0" in chosen else chosen)))
    if not script.is_relative_to(os.path.realpath(tree)) or not script.is_file():
        raise PreparationFailed(
            f"the executable of {package.line} is not there",
            evidence=[chosen[:400]],
            hint="Its install scripts may make it:  thv run --allow-scripts",
        )
    options = _node_options(script)
    return (str(script),) if options is None else (node.executable, *options, str(script))


def _offered(folder: Path, package: NpmPackage) -> Mapping[str, str]:
    try:
        text = read_bounded(folder / "package.json", _LONGEST_MANIFEST)
        offered = msgspec.json.decode(text, type=_Manifest).bin
    except (OSError, msgspec.DecodeError) as error:
        raise PreparationFailed(
            f"{package.line} has no usable package.json", evidence=[str(error)[:400]], hint="Try another version."
        ) from None
    return {package.bare: offered} if isinstance(offered, str) and offered else dict(offered or {})


def _node_options(script: Path) -> tuple[str, ...] | None:
    """Return the options for Node, or nothing when the executable is not for Node."""
    with script.open("rb") as file:
        head = file.read(_HEAD)
    if head.startswith(b"#!"):
        line = _NODE_LINE.match(head)
        return tuple(line["options"].decode("ascii", "ignore").split()) if line else None
    return () if script.suffix in _SCRIPTS and not head.startswith(b"\x7fELF") else None
