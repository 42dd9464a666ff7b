"""What the files below a home are like, so that a test sees whether anything was written."""

from __future__ import annotations

import hashlib
import sqlite3
import stat
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import NamedTuple

_SHARED = "state/state.db-shm"
"""Readers of the database lock parts of this file too; transactions are counted otherwise."""


class File(NamedTuple):
    """One file: when it was written, its size, and what is in it."""

    modified: int
    size: int
    digest: str


def snapshot(home: Path) -> dict[str, File]:
    """Return each file and folder below a home by its path, logs left out."""
    return {path.relative_to(home).as_posix(): _file(path) for path in sorted(home.rglob("*")) if _counts(home, path)}


@contextmanager
def watched(home: Path) -> Iterator[list[str]]:
    """Collect what is written below a home while the block runs: files but logs, and transactions of the database."""
    written: list[str] = []
    with closing(sqlite3.connect(f"file:{home / 'state/state.db'}?mode=ro", uri=True)) as database:
        version = database.execute("PRAGMA data_version").fetchone()
        before = snapshot(home)
        yield written
        after = snapshot(home)
        written += sorted(name for name in before.keys() | after.keys() if before.get(name) != after.get(name))
        if database.execute("PRAGMA data_version").fetchone() != version:
            written.append("a transaction of the database")


def _counts(home: Path, path: Path) -> bool:
    return ".log" not in path.name and path.relative_to(home).as_posix() != _SHARED


def _file(path: Path) -> File:
    found = path.lstat()
    content = path.read_bytes() if stat.S_ISREG(found.st_mode) else b""
    return File(found.st_mtime_ns, found.st_size, hashlib.sha256(content).hexdigest())
