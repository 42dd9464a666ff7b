"""Where prepared roots are kept: ``roots/DIGEST`` with a mark of completeness, and an index that finds them.

``index/LABEL/VERSION_IDENTITY`` holds a digest, so that a prepared package is found without network and without
starting a program. ``roots/DIGEST/complete`` is written last and holds the :class:`PackageRoot`; a root without it, or
with one that does not parse, is made again under the lock ``roots/DIGEST.lock``, which is never removed.
"""

from __future__ import annotations

import contextlib
import ctypes
import fcntl
import os
import re
import shutil
import time
from collections.abc import Generator
from dataclasses import dataclass
from pathlib import Path

from thv_core.errors import InvalidDocument, TimedOut
from thv_core.model.document import decode_document, encode_document
from thv_core.spi import PackageRoot
from thv_packages.requirement import Requirement

__all__ = ["Shelf"]

_DIGEST = re.compile(r"[0-9a-f]{32}\Z")
_LABEL = re.compile(r"(?P<name>[^\[]+)(?:\[(?P<extras>.*)\])?\Z")
_LONGEST_ENTRY = 64
_WAIT_SECONDS = 1200.0
_POLL_SECONDS = 0.05


@dataclass(frozen=True)
class Shelf:
    """The prepared roots in one cache folder, as far as they fit the interpreter of ``identity``."""

    cache: Path
    identity: str

    def find(self, requirement: Requirement) -> PackageRoot | None:
        """Return the prepared root of an exact version, or nothing; takes less than a millisecond."""
        try:
            with self._entry(requirement).open(encoding="ascii") as entry:
                digest = entry.read(_LONGEST_ENTRY).strip()
        except (OSError, UnicodeDecodeError):
            return None
        return self.root(digest) if _DIGEST.match(digest) else None

    def root(self, digest: str) -> PackageRoot | None:
        """Return a complete root by its digest, or nothing when it is absent, half-made, damaged or was moved."""
        folder = self.folder(digest)
        try:
            root = decode_document((folder / "complete").read_bytes(), PackageRoot, "complete")
        except (OSError, InvalidDocument):
            return None
        whole = root.path == str(folder) and all(Path(each).exists() for each in root.command if each.startswith("/"))
        return root if whole else None

    def folder(self, digest: str) -> Path:
        """Return where the root of a digest lies."""
        return self.cache / "roots" / digest

    @contextlib.contextmanager
    def held(self, digest: str) -> Generator[int, None, None]:
        """Hold the lock of a root, and yield its descriptor for the programs that work on the root.

        A program that inherited it holds the lock too: when this process is killed, nobody starts over until the
        program has ended.

        :raises TimedOut: when another holds it for 20 minutes.
        """
        self.folder(digest).parent.mkdir(parents=True, exist_ok=True)
        descriptor = os.open(f"{self.folder(digest)}.lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            _wait_for(descriptor)
            yield descriptor
        finally:
            os.close(descriptor)

    def cleared(self, digest: str) -> Path:
        """Return an empty folder for a root, whatever an interrupted attempt left there."""
        folder = self.folder(digest)
        if folder.exists():
            shutil.rmtree(folder)
        folder.mkdir(parents=True)
        return folder

    def complete(self, digest: str, root: PackageRoot) -> None:
        """Mark a root as complete, after everything in it has reached the disk."""
        folder = self.folder(digest)
        _flush(folder)
        _write(folder / "complete", encode_document(root))

    def remember(self, requirement: Requirement, digest: str) -> None:
        """Let :meth:`find` find the root of a requirement."""
        entry = self._entry(requirement)
        entry.parent.mkdir(parents=True, exist_ok=True)
        _write(entry, digest.encode())

    def prepared(self) -> list[Requirement]:
        """Return the exact requirements that are prepared, those prepared last first."""
        entries = sorted(self.cache.glob(f"index/*/*_{self.identity}"), key=_age)
        return [each for each in map(_requirement, entries) if self.find(each)]

    def _entry(self, requirement: Requirement) -> Path:
        return self.cache / "index" / requirement.label / f"{requirement.version}_{self.identity}"


def _age(entry: Path) -> float:
    with contextlib.suppress(OSError):
        return -entry.stat().st_mtime
    return 0.0


def _requirement(entry: Path) -> Requirement:
    label = _LABEL.match(entry.parent.name)
    extras = label["extras"] if label else None
    return Requirement(
        name=label["name"] if label else entry.parent.name,
        extras=tuple(extras.split(",")) if extras else (),
        version=entry.name.rpartition("_")[0],
    )


def _wait_for(descriptor: int) -> None:
    end = time.monotonic() + _WAIT_SECONDS
    while True:
        try:
            return fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            if time.monotonic() > end:
                raise TimedOut(
                    "another process has been preparing the same package for 20 minutes",
                    hint="Run the command again when that process has ended.",
                ) from None
            time.sleep(_POLL_SECONDS)


def _flush(folder: Path) -> None:
    """Write the file system of a folder to disk; one call instead of one ``fsync`` for each of thousands of files."""
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        ctypes.CDLL(None).syncfs(descriptor)
    finally:
        os.close(descriptor)


def _write(path: Path, content: bytes) -> None:
    """Write a file that is either absent, old or whole, even after a loss of power."""
    fresh = path.with_name(f".{path.name}.{os.getpid()}.{time.monotonic_ns()}")
    with fresh.open("wb") as file:
        file.write(content)
        file.flush()
        os.fsync(file.fileno())
    fresh.replace(path)
    descriptor = os.open(path.parent, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
