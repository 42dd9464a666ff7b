"""The real index: mcp-server-time is found, prepared, and answers."""

from __future__ import annotations

import json
import os
import subprocess
from pathlib import Path

import pytest

from thv_core.errors import PackageNotFound
from thv_core.spi import Progress, Surroundings
from thv_packages.builder import UvxBuilder
from thv_packages.source import UvxSource

INITIALIZE = {
    "jsonrpc": "2.0",
    "id": 1,
    "method": "initialize",
    "params": {"protocolVersion": "2025-06-18", "capabilities": {}, "clientInfo": {"name": "test", "version": "1"}},
}


@pytest.fixture
def real(tmp_path: Path) -> Surroundings:
    """Give folders of their own and the environment of the tests, with its proxies and certificates."""
    for name in ("state", "cache"):
        (tmp_path / name).mkdir(mode=0o700)
    return Surroundings(tmp_path / "state", tmp_path / "cache", dict(os.environ))


def test_mcp_server_time_is_prepared_and_answers(real):
    entry = UvxSource.from_settings({}, real).resolve("uvx://mcp-server-time")
    seen: list[Progress] = []
    root = UvxBuilder.from_settings({}, real).build(entry.package, seen.append)

    result = subprocess.run(
        root.command,
        input=json.dumps(INITIALIZE) + "\n",
        env=root.environment,
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert json.loads(result.stdout.splitlines()[0])["result"]["serverInfo"]["name"] == "mcp-time"
    assert seen[-1].step == "prepared"
    assert root.packages > 5


def test_a_misspelt_package_is_not_found(real):
    with pytest.raises(PackageNotFound) as caught:
        UvxSource.from_settings({}, real).resolve("uvx://mcp-server-tiem")
    assert caught.value.hint == "Did you mean mcp-server-time?"
