"""Take over what a job left in a tree, make it read-only, and measure it."""

from __future__ import annotations

import itertools
import os
import stat
from collections.abc import Iterator
from pathlib import Path

from thv_core.errors import PreparationFailed
from thv_packages.disk import by_descriptor, listed, pinned

__all__ = ["seal", "size", "take_over"]

_READABLE = 0o444
_RUNNABLE = 0o555
_FOLDER = 0o755
_DEEPEST = 100
_MOST_ENTRIES = 1_000_000
_SPECIAL = stat.S_ISUID | stat.S_ISGID


def take_over(tree: Path, package: str) -> None:
    """Make the tree that a job wrote ours, writable for us alone; nothing in it is trusted.

    What is looked at is what is changed, whatever its name becomes meanwhile: a job may have outlived its workshop.

    :raises PreparationFailed: when it holds anything but folders, plain files, and links that stay within it.
    """
    within = os.path.realpath(tree)
    with pinned(str(tree)) as pin:
        _own(pin, _FOLDER)
    pending = [(tree, 0)]
    left = _MOST_ENTRIES
    while pending:
        folder, depth = pending.pop()
        with pinned(str(folder)) as pin, listed(pin) as opened:
            names = _names(opened, left + 1)
            left -= len(names)
            for name in names:
                _accept(
                    package, tree, folder / name, _crowded(left, depth) or _taken_over(folder / name, opened, within)
                )
        pending += [(folder / name, depth + 1) for name in names if _is_folder(folder / name)]


def seal(tree: Path) -> None:
    """Make every file read-only; folders stay writable, so that whoever may delete the cache can.

    Everybody may read, because a sandbox may run the server as another user; the cache above the tree is private.
    """
    for path in _inner(tree):
        if path.is_dir():
            path.chmod(_FOLDER)
        else:
            path.chmod(_mode(path.stat().st_mode))


def size(tree: Path) -> int:
    """Return how many bytes the files of a tree have."""
    return sum(path.stat().st_size for path in _inner(tree) if not path.is_dir())


def _names(folder: int, most: int) -> list[str]:
    with os.scandir(folder) as found:
        return [entry.name for entry in itertools.islice(found, most)]


def _is_folder(path: Path) -> bool:
    return path.is_dir() and not path.is_symlink()


def _taken_over(path: Path, folder: int, within: str) -> str:
    """Make one thing ours, or say why it is not safe to keep."""
    with pinned(path.name, folder) as pin:
        mode = os.fstat(pin).st_mode
        if stat.S_ISLNK(mode):
            os.chown(path.name, os.geteuid(), os.getegid(), dir_fd=folder, follow_symlinks=False)
            target = os.path.realpath(path)
            inside = target == within or target.startswith(f"{within}/")
            return "" if inside else "it is a link that leaves the package"
        if stat.S_ISREG(mode) and mode & _SPECIAL:
            return "it would run with the rights of another user"
        if not stat.S_ISREG(mode) and not stat.S_ISDIR(mode):
            return "it is neither a file nor a folder"
        _own(pin, _FOLDER if stat.S_ISDIR(mode) else _mode(mode) | stat.S_IWUSR)
    return ""


def _crowded(left: int, depth: int) -> str:
    return "there are too many files, or folders within folders" if left < 0 or depth > _DEEPEST else ""


def _accept(package: str, tree: Path, path: Path, reason: str) -> None:
    if reason:
        raise PreparationFailed(
            f"{package} put something into its folder that is not safe to keep",
            evidence=[f"{os.path.relpath(path, tree)[:400]!r}: {reason}"],
            hint="Do not run this package; tell its authors.",
        )


def _own(pin: int, mode: int) -> None:
    if os.fstat(pin).st_uid != os.geteuid():
        os.chown(by_descriptor(pin), os.geteuid(), os.getegid())
    os.chmod(by_descriptor(pin), mode)  # noqa: PTH101 - the path is of a descriptor


def _mode(mode: int) -> int:
    return _RUNNABLE if mode & 0o100 else _READABLE


def _inner(tree: Path) -> Iterator[Path]:
    """Yield a tree and every folder and file in it, no link, however deep they lie."""
    pending = [tree]
    while pending:
        folder = pending.pop()
        yield folder
        for path in folder.iterdir():
            if path.is_symlink():
                continue
            if path.is_dir():
                pending.append(path)
            else:
                yield path
