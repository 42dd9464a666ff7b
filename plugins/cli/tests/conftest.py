"""A command line to run, on a machine with distributions of strangers on it."""

from __future__ import annotations

import io
import os
import subprocess
import sysconfig
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from thv_cli.console import TerminalConsole

GOOD = "thv-core>=0.1,<0.2"


@dataclass
class Machine:
    """A home of its own, and a folder on ``sys.path`` in which distributions are installed."""

    home: Path
    site: Path
    environment: dict[str, str] = field(default_factory=dict[str, str])

    def install(self, distribution: str, entry_points: str, requires: str = GOOD, **modules: str) -> None:
        metadata = self.site / f"{distribution.replace('-', '_')}-1.4.0.dist-info"
        metadata.mkdir(parents=True)
        (metadata / "METADATA").write_text(
            f"Metadata-Version: 2.4\nName: {distribution}\nVersion: 1.4.0\nRequires-Dist: {requires}\n"
        )
        (metadata / "entry_points.txt").write_text(entry_points)
        for name, source in modules.items():
            (self.site / f"{name}.py").write_text(source)

    def command(self, name: str, source: str, requires: str = GOOD) -> None:
        module = f"acme_{name}"
        self.install(f"acme-thv-{name}", f"[thv.commands]\n{name} = {module}:{name}\n", requires, **{module: source})

    def variables(self, more: Mapping[str, str]) -> dict[str, str]:
        kept = {name: value for name, value in os.environ.items() if not name.startswith(("THV_", "TOOLHIVE_", "XDG_"))}
        return {**kept, "HOME": str(self.home), "PYTHONPATH": str(self.site), **self.environment, **more}

    def argv(self, *arguments: str, program: str = "thv") -> list[str]:
        return [str(Path(sysconfig.get_path("scripts"), program)), *arguments]

    def thv(self, *arguments: str, program: str = "thv", **more: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            self.argv(*arguments, program=program),
            env=self.variables(more),
            cwd=self.home,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )


@pytest.fixture
def machine(tmp_path: Path) -> Machine:
    home, site = tmp_path / "home", tmp_path / "site"
    home.mkdir()
    site.mkdir()
    return Machine(home, site)


class Terminal(io.StringIO):
    """A stream that says it is a terminal."""

    def isatty(self) -> bool:
        return True


@dataclass
class Streams:
    console: TerminalConsole
    stdout: io.StringIO
    stderr: io.StringIO


@pytest.fixture
def streams() -> Callable[..., Streams]:
    def build(terminal: bool = False, **environment: str) -> Streams:
        stdout, stderr = (Terminal(), Terminal()) if terminal else (io.StringIO(), io.StringIO())
        return Streams(TerminalConsole(stdout, stderr, environment, Path("/here")), stdout, stderr)

    return build
