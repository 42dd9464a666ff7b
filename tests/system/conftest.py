"""The whole system in a home of its own: real processes, real sandbox, real packages from an index on this disk."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from harness.home import Thv
from harness.wheels import wheel

TESTKIT = Path(__file__).parents[2] / "plugins/testkit/src/thv_testkit"


@pytest.fixture(scope="session")
def wheels(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An index on this disk: ``echo-mcp`` is the testkit's echo server, ``no-scripts`` has no executable."""
    folder = tmp_path_factory.mktemp("wheels")
    echo = {f"thv_testkit/echo/{path.name}": path.read_text() for path in (TESTKIT / "echo").glob("*.py")}
    wheel(folder, "echo-mcp", {"thv_testkit/__init__.py": "", **echo}, {"echo-mcp": "thv_testkit.echo.__main__:main"})
    wheel(folder, "no-scripts", {"no_scripts.py": ""}, {})
    return folder


@pytest.fixture
def thv(tmp_path: Path, wheels: Path) -> Iterator[Thv]:
    """A fresh home."""
    system = Thv(tmp_path / "home", wheels)
    yield system
    system.close()
