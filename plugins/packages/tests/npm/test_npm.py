"""The real registry: a reference server is found, prepared, and answers; so does a machine without Node."""

from __future__ import annotations

import dataclasses
import json
import os
import subprocess
from collections.abc import Mapping
from pathlib import Path

import pytest

from thv_core.errors import PackageNotFound, Unavailable
from thv_core.spi import PackageRoot, Progress, Surroundings
from thv_packages.npm.builder import NpxBuilder
from thv_packages.npm.source import NpxSource

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


def named(root: PackageRoot, *arguments: str) -> str:
    result = subprocess.run(
        (*root.command, *arguments),
        input=json.dumps(INITIALIZE) + "\n",
        env=root.environment,
        capture_output=True,
        text=True,
        timeout=60,
    )
    name = json.loads(result.stdout.splitlines()[0])["result"]["serverInfo"]["name"]
    assert isinstance(name, str)
    return name


def test_a_reference_server_is_prepared_and_answers(real, workshop):
    entry = NpxSource.from_settings({}, real).resolve("npx://@modelcontextprotocol/server-filesystem")
    seen: list[Progress] = []

    root = NpxBuilder.from_settings({}, real).build(entry.package, seen.append, workshop)

    assert "secure-filesystem-server" in named(root, "/tmp")
    assert root.packages > 50
    assert seen[-1].step == "prepared"


def test_a_machine_without_node_gets_one(real, workshop):
    surroundings = dataclasses.replace(real, environment={**real.environment, "PATH": "/nowhere"})
    entry = NpxSource.from_settings({}, surroundings).resolve("npx://@modelcontextprotocol/server-memory")
    builder = NpxBuilder.from_settings({}, surroundings)

    root = builder.build(entry.package, lambda progress: None, workshop)

    assert root.command[0].startswith(str(real.cache))
    assert root.command[0] in root.view
    assert "memory-server" in named(root)
    assert builder.build(entry.package, lambda progress: None, workshop) == root
    assert len(workshop.jobs) == 1


def test_a_misspelt_package_is_not_found(real):
    with pytest.raises(PackageNotFound) as caught:
        NpxSource.from_settings({}, real).resolve("npx://@modelcontextprotocol/server-memroy")
    assert caught.value.message == "npm has no package @modelcontextprotocol/server-memroy"


def test_npm_is_asked_once_whom_it_asks(real):
    source = NpxSource.from_settings({}, dataclasses.replace(real, environment=plain(real.environment)))
    assert source.resolve("npx://@modelcontextprotocol/server-memory").origin == "npm"
    (answered,) = real.cache.glob("default-registry_*")
    answered.write_text("http://127.0.0.1:1")

    with pytest.raises(Unavailable, match=r"127\.0\.0\.1"):
        source.resolve("npx://@modelcontextprotocol/server-memory")


def plain(environment: Mapping[str, str]) -> dict[str, str]:
    return {name: value for name, value in environment.items() if not name.lower().startswith("npm_config_")} | {
        "HOME": "/nonexistent"
    }
