"""Programs of npm that tests run, each of one version, in a cache folder where the next run finds them."""

from __future__ import annotations

import os
import shutil
import subprocess
import tempfile
from pathlib import Path

NODE = "node@22.23.3"
QUIET = ("--silent", "--no-audit", "--no-fund", "--no-update-notifier")


def _cache() -> Path:
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "thv-tests"


def installed(package: str) -> Path:
    """Return the folder ``node_modules`` with a package, ``NAME@VERSION``, that was installed now or earlier."""
    folder = _cache() / package.replace("/", "+")
    if not folder.is_dir():
        npm = shutil.which("npm")
        assert npm, "npm is needed: apt-get install npm"
        folder.parent.mkdir(parents=True, exist_ok=True)
        draft = Path(tempfile.mkdtemp(dir=folder.parent))
        subprocess.run([npm, "install", *QUIET, "--prefix", str(draft), package], check=True, timeout=280)
        draft.rename(folder)
    return folder / "node_modules"


def node() -> str:
    """Return node 22 or newer, which the conformance suites need."""
    found = shutil.which("node")
    if found is not None:
        version = subprocess.run([found, "--version"], capture_output=True, text=True, timeout=60).stdout
        if int(version.strip().lstrip("v").partition(".")[0]) >= 22:
            return found
    return str(installed(NODE) / ".bin" / "node")
