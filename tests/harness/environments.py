"""Virtual environments of their own, with thv from this checkout and a vendor's plugin."""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
from pathlib import Path

from uv import find_uv_bin

ROOT = Path(__file__).parents[2]
TEMPLATE = ROOT / "contrib/example-secrets"


class Environment:
    """A virtual environment."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.scripts = str(path / "bin")
        self.python = str(path / "bin/python")
        _uv("venv", "--quiet", "--python", sys.executable, str(path))

    def install(self, *what: str, dependencies: bool = True) -> None:
        """Install distributions from folders or by name."""
        extra = [] if dependencies else ["--no-deps"]
        _uv("pip", "install", "--quiet", "--python", self.python, *extra, *what)

    def uninstall(self, name: str) -> None:
        """Remove a distribution."""
        _uv("pip", "uninstall", "--quiet", "--python", self.python, name)

    def run(self, *arguments: str, **options: str) -> subprocess.CompletedProcess[str]:
        """Run the environment's Python."""
        return subprocess.run(
            [self.python, *arguments], capture_output=True, text=True, timeout=120, cwd=options.get("cwd")
        )


def workspace() -> list[str]:
    """Return every folder of this checkout that thv itself consists of, and the testkit."""
    return [str(path.parent) for path in sorted([ROOT / "core/pyproject.toml", *ROOT.glob("plugins/*/pyproject.toml")])]


def renamed_template(destination: Path, vendor: str) -> Path:
    """Copy the template and rename it, as its README tells a vendor to do."""
    shutil.copytree(TEMPLATE, destination, ignore=shutil.ignore_patterns("__pycache__", ".*"))
    for path in sorted(destination.rglob("*"), reverse=True):
        if path.is_file() and path.suffix in (".py", ".toml", ".md"):
            path.write_text(_renamed(path.read_text(), vendor))
        if "example" in path.name:
            path.rename(path.with_name(_renamed(path.name, vendor)))
    return destination


def _renamed(text: str, vendor: str) -> str:
    return re.sub(r"\bexample(?=[-_ ]|\b)", vendor, text)


def _uv(*arguments: str) -> None:
    done = subprocess.run([find_uv_bin(), *arguments], capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr
