"""The real index: mcp-server-time is found, prepared, and answers."""

from __future__ import annotations

import dataclasses
import json
import os
import subprocess
from pathlib import Path

import pytest

from thv_core.errors import PackageNotFound, PreparationFailed
from thv_core.spi import Progress, Surroundings
from thv_packages.pypi.builder import UvxBuilder
from thv_packages.pypi.source import UvxSource

INITIALIZE = {
    "jsonrpc": "2.0",
    "id": 1,
    "method": "initialize",
    "params": {"protocolVersion": "2025-06-18", "capabilities": {}, "clientInfo": {"name": "test", "version": "1"}},
}


@pytest.fixture
def real(tmp_path: Path) -> Surroundings:
    """Give folders of their own and the environment of the tests, with its proxies and certificates, but no index."""
    for name in ("state", "cache"):
        (tmp_path / name).mkdir(mode=0o700)
    kept = {name: value for name, value in os.environ.items() if not name.startswith("UV_")}
    return Surroundings(tmp_path / "state", tmp_path / "cache", {**kept, "XDG_CONFIG_HOME": str(tmp_path / "none")})


def test_mcp_server_time_is_prepared_and_answers(real, workshop):
    entry = UvxSource.from_settings({}, real).resolve("uvx://mcp-server-time")
    seen: list[Progress] = []
    root = UvxBuilder.from_settings({}, real).build(entry.package, seen.append, workshop)

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
    assert caught.value.message == "PyPI has no package mcp-server-tiem"
    assert caught.value.hint == "Did you mean mcp-server-time?"


def test_a_version_that_does_not_exist_is_not_said_to_come_from_pypi_and_not_found_there(real, workshop):
    entry = UvxSource.from_settings({}, real).resolve("uvx://mcp-server-time@9999")
    assert entry.origin == ""

    with pytest.raises(PackageNotFound) as caught:
        UvxBuilder.from_settings({}, real).build(entry.package, lambda progress: None, workshop)
    assert caught.value.message == "PyPI has no version 9999 of mcp-server-time"
    assert caught.value.hint == "The newest:  thv run uvx://mcp-server-time"


def test_what_the_system_trusts_is_enough_to_ask_pypi(real):
    unset = {name: value for name, value in real.environment.items() if not name.startswith("SSL_CERT_")}

    entry = UvxSource.from_settings({}, dataclasses.replace(real, environment=unset)).resolve("uvx://mcp-server-time")
    assert entry.origin == "PyPI"


def test_a_real_package_without_wheels_is_found_built_and_installed(real, workshop):
    entry = UvxSource.from_settings({}, real).resolve("uvx://docopt")
    assert (entry.package.version, entry.origin) == ("0.6.2", "PyPI")

    with pytest.raises(PreparationFailed, match=r"docopt==0\.6\.2 offers no executable"):
        UvxBuilder.from_settings({}, real).build(entry.package, lambda progress: None, workshop)
    assert [job.name for job in workshop.jobs] == ["resolve", "install"]
    assert len({entry for entry in workshop.jobs[0].reach if not entry[0].isdigit()}) == 2
