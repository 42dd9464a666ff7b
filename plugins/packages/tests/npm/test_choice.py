"""Which Node of a machine is chosen."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from thv_core.spi import Surroundings
from thv_packages.npm.choice import Nodes
from thv_packages.npm.settings import NpxSettings


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


def test_every_node_of_the_path_is_looked_at_for_what_is_prepared(bare: Path, tmp_path: Path) -> None:
    here = list(nodes(f"{bare}:relative:/absent:{bare}:/usr/bin", tmp_path).here())
    assert here[0] == str(bare / "node")
    assert len(here) == len(set(here)) > 1
