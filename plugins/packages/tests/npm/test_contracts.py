"""The source and the builder of npx keep the contracts of every source and builder."""

from __future__ import annotations

import dataclasses

import pytest

from thv_core.spi import PackageSpec
from thv_packages.npm.builder import NpxBuilder
from thv_packages.npm.source import NpxSource
from thv_testkit.builders import BuilderContract
from thv_testkit.sources import ServerSourceContract

SERVER = """#!/usr/bin/env node
require('readline').createInterface({ input: process.stdin }).on('line', (line) => {
  const result = { serverInfo: { name: 'by-hand' }, capabilities: {}, protocolVersion: '2025-11-25' };
  console.log(JSON.stringify({ jsonrpc: '2.0', id: JSON.parse(line).id, result }));
});
"""


@pytest.fixture(autouse=True)
def offered(registry) -> None:
    for version in ("1.0.0", "2.0.0"):
        registry.package("@modelcontextprotocol/server-memory", version, files={"index.js": SERVER})
    registry.package("library", bin=None)


@pytest.fixture
def silent(surroundings):
    """Give the same folders, with a registry that does not answer."""
    environment = {**surroundings.environment, "npm_config_registry": "http://127.0.0.1:1"}
    return dataclasses.replace(surroundings, environment=environment)


class TestNpxSource(ServerSourceContract):
    scheme, package, version = "npx", "@modelcontextprotocol/server-memory", "1.0.0"
    misspelt = "@modelcontextprotocol/server-memroy"
    malformed = ("npx://-A", "npx://a@1.*", "npx://a/b")

    @pytest.fixture
    def source(self, surroundings) -> NpxSource:
        return NpxSource.from_settings({}, surroundings)

    @pytest.fixture
    def unreachable(self, silent) -> NpxSource:
        return NpxSource.from_settings({}, silent)


class TestNpxBuilder(BuilderContract):
    @pytest.fixture
    def builder(self, surroundings) -> NpxBuilder:
        return NpxBuilder.from_settings({}, surroundings)

    @pytest.fixture
    def unreachable(self, silent) -> NpxBuilder:
        return NpxBuilder.from_settings({}, silent)

    @pytest.fixture
    def package(self) -> PackageSpec:
        return PackageSpec(scheme="npx", name="@modelcontextprotocol/server-memory", version="1.0.0")

    @pytest.fixture
    def unrunnable(self) -> PackageSpec:
        return PackageSpec(scheme="npx", name="library", version="1.0.0")
