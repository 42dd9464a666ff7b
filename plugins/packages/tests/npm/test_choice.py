"""Which Node of a machine is chosen."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from thv_core.spi import Surroundings
from thv_packages.npm.choice import Nodes
from thv_packages.npm.settings import NpxSettings

# Modules first: an ordinary user may not be able to read where they lie.
_AS_ORDINARY = "import os, thv_packages.npm.node; " + ("os.setuid(47114); " if os.getuid() == 0 else "")


def nodes(path: str, cache: Path) -> Nodes:
    surroundings = Surroundings(state=cache, cache=cache, environment={"PATH": path})
    return Nodes(surroundings, NpxSettings.parse({}, surroundings.secret))


@pytest.fixture
def bare(tmp_path: Path) -> Path:
    """A copy of Node that came without npm."""
    folder = tmp_path / "bare"
    folder.mkdir()
    installed = shutil.which("node", path="/usr/local/bin:/usr/bin:/bin")
    assert installed, "the tests need a Node of the system"
    shutil.copy2(Path(installed).resolve(), folder / "node")
    return folder


def test_a_node_without_npm_is_passed_over_for_the_next_of_the_path(bare: Path, tmp_path: Path) -> None:
    candidates = nodes(f"{bare}:/usr/local/bin:/usr/bin", tmp_path)
    chosen, node = candidates.choose()
    assert chosen != str(bare / "node")
    assert Path(node.npm).is_dir()


def test_a_folder_of_the_path_that_may_not_be_entered_is_passed_over(tmp_path: Path) -> None:
    closed = tmp_path / "closed"
    closed.mkdir()
    (closed / "node").touch(0o755)
    closed.chmod(0o000)
    looking = f"from thv_packages.npm.node import on_path; print(list(on_path('{closed}')))"
    try:
        found = subprocess.run(
            [sys.executable, "-c", _AS_ORDINARY + looking], capture_output=True, text=True, check=True
        )
    finally:
        closed.chmod(0o700)
    assert found.stdout == "[]\n"


def test_every_node_of_the_path_is_looked_at_for_what_is_prepared(bare: Path, tmp_path: Path) -> None:
    here = list(nodes(f"{bare}:relative:/absent:{bare}:/usr/bin", tmp_path).here())
    assert here[0] == str(bare / "node")
    assert len(here) == len(set(here)) > 1
