"""Where prepared roots are kept: ``roots/DIGEST`` with a mark of completeness, and an index that finds them.

``index/LABEL/VERSION_IDENTITY`` holds a digest, so that a prepared package is found without network and without
starting a program. ``roots/DIGEST/complete`` is written last and holds the :class:`PackageRoot`, and its modification
time says when the root was found last; a root without it, or with one that does not parse, is made again under the lock
``roots/DIGEST.lock``, which is never removed. ``jobs/DIGEST`` belongs to whoever holds that lock.
"""

from __future__ import annotations

import contextlib
import ctypes
import fcntl
import glob
import os
import re
import time
from collections.abc import Generator
from dataclasses import dataclass
from pathlib import Path

from thv_core.errors import InvalidDocument, TimedOut
from thv_core.model.document import decode_document, encode_document
from thv_core.spi import PackageRoot
from thv_packages.disk import remove, write_whole

__all__ = ["DIGEST", "Entry", "Shelf", "entries"]

DIGEST = re.compile(r"[0-9a-f]{32}\Z")

_LONGEST_ENTRY = 64
_WAIT_SECONDS = 1200.0
_POLL_SECONDS = 0.05
_FOLDER = 0o755
_SLASH = "%2f"


@dataclass(frozen=True)
class Entry:
    """One entry of the index, ``index/LABEL/VERSION_IDENTITY``; a slash in a label is escaped."""

    path: Path

    @property
    def label(self) -> str:
        """The package, with whatever else tells two of its roots apart for a user."""
        return self.path.parent.name.replace(_SLASH, "/")

    @property
    def version(self) -> str:
        """The exact version."""
        return self.path.name.rpartition("_")[0]

    @property
    def digest(self) -> str:
        """The name of the root, or an empty string when the entry is damaged or gone."""
        with contextlib.suppress(OSError, UnicodeDecodeError), self.path.open(encoding="ascii") as entry:
            digest = entry.read(_LONGEST_ENTRY).strip()
            return digest if DIGEST.match(digest) else ""
        return ""


def entries(cache: Path, identity: str = "*") -> list[Entry]:
    """Return the entries of the index, of one identity or of all, those made last first."""
    # Not pathlib's: that one raises where a folder vanishes meanwhile, and lists entries that are being written.
    names = glob.glob(f"index/*/*_{identity}", root_dir=cache)  # noqa: PTH207 - see above
    return [Entry(path) for path in sorted((cache / name for name in names), key=_age)]


@dataclass(frozen=True)
class Shelf:
    """The prepared roots in one cache folder, as far as they fit the ``identity`` of what runs them."""

    cache: Path
    identity: str

    def find(self, label: str, version: str) -> PackageRoot | None:
        """Return the prepared root of an exact version, or nothing; takes less than a millisecond."""
        digest = self._entry(label, version).digest
        root = self.root(digest) if digest else None
        if root:
            # The root was used: whoever prunes the cache asks when.
            with contextlib.suppress(OSError):
                os.utime(self.folder(digest) / "complete")
        return root

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

    def jobs(self, digest: str) -> Path:
        """Return where the jobs that make a root may keep what is not kept."""
        return self.cache / "jobs" / digest

    @contextlib.contextmanager
    def held(self, digest: str, patience: float | None = None) -> Generator[int, None, None]:
        """Hold the lock of a root, and yield its descriptor for the programs that work on the root.

        A program that inherited it holds the lock too: when this process is killed, nobody starts over until the
        program has ended.

        :raises TimedOut: when another holds it for 20 minutes, or for ``patience`` seconds.
        """
        self.folder(digest).parent.mkdir(parents=True, exist_ok=True)
        descriptor = os.open(f"{self.folder(digest)}.lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            _wait_for(descriptor, _WAIT_SECONDS if patience is None else patience)
            yield descriptor
        finally:
            os.close(descriptor)

    @contextlib.contextmanager
    def making(self, digest: str) -> Generator[Path, None, None]:
        """Yield an empty folder for a root, and delete it when making the root fails: nobody else would soon."""
        folder = self.folder(digest)
        remove(folder)
        folder.mkdir(parents=True)
        folder.chmod(_FOLDER)
        try:
            yield folder
        except BaseException:
            remove(folder)
            raise

    def complete(self, digest: str, root: PackageRoot) -> None:
        """Mark a root as complete, after everything in it has reached the disk."""
        folder = self.folder(digest)
        _flush(folder)
        write_whole(folder / "complete", encode_document(root))

    def remember(self, label: str, version: str, digest: str) -> None:
        """Let :meth:`find` find the root of an exact version."""
        entry = self._entry(label, version).path
        entry.parent.mkdir(parents=True, exist_ok=True)
        write_whole(entry, digest.encode())

    def prepared(self) -> list[tuple[str, str]]:
        """Return the labels and versions that are prepared, those prepared last first."""
        listed = entries(self.cache, self.identity)
        return [(each.label, each.version) for each in listed if each.digest and self.root(each.digest)]

    def _entry(self, label: str, version: str) -> Entry:
        return Entry(self.cache / "index" / label.replace("/", _SLASH) / f"{version}_{self.identity}")


def _age(entry: Path) -> float:
    with contextlib.suppress(OSError):
        return -entry.stat().st_mtime
    return 0.0


def _wait_for(descriptor: int, patience: float) -> None:
    end = time.monotonic() + patience
    while True:
        try:
            return fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            if time.monotonic() > end:
                raise TimedOut(
                    f"another process has been preparing the same package for {_duration(patience)}",
                    hint="Run the command again when that process has ended.",
                ) from None
            time.sleep(_POLL_SECONDS)


def _duration(seconds: float) -> str:
    return f"{seconds / 60:.0f} minutes" if seconds >= 120 else f"{seconds:g} seconds"


def _flush(folder: Path) -> None:
    """Write the file system of a folder to disk; one call instead of one ``fsync`` for each of thousands of files."""
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        ctypes.CDLL(None).syncfs(descriptor)
    finally:
        os.close(descriptor)
