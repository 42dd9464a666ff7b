"""The source and the builder keep the contracts of every source and builder."""

from __future__ import annotations

import dataclasses

import pytest

from thv_core.spi import PackageSpec
from thv_packages.pypi.builder import UvxBuilder
from thv_packages.pypi.source import UvxSource
from thv_testkit.builders import BuilderContract
from thv_testkit.sources import ServerSourceContract

SERVER = """
import json, sys

def main():
    for line in sys.stdin:
        asked = json.loads(line)
        result = {"serverInfo": {"name": "by-hand"}, "capabilities": {}, "protocolVersion": "2025-11-25"}
        print(json.dumps({"jsonrpc": "2.0", "id": asked.get("id"), "result": result}), flush=True)
"""


@pytest.fixture(autouse=True)
def offered(index) -> None:
    for version in ("1.0", "2.0"):
        index.wheel(
            "mcp-server-time", version, scripts=["mcp-server-time"], files={"mcp_server_time/__init__.py": SERVER}
        )
    index.wheel("library")


@pytest.fixture
def silent(surroundings):
    """Give the same folders, with an index that does not answer and nothing of it in uv's cache."""
    environment = {**surroundings.environment, "UV_DEFAULT_INDEX": "http://127.0.0.1:1/simple"}
    return dataclasses.replace(surroundings, environment=environment)


class TestUvxSource(ServerSourceContract):
    scheme, package, version, misspelt = "uvx", "mcp-server-time", "1.0", "mcp-server-tiem"
    malformed = ("uvx://-a", "uvx://a@1.*", "uvx://a/b")

    @pytest.fixture
    def source(self, surroundings) -> UvxSource:
        return UvxSource.from_settings({}, surroundings)

    @pytest.fixture
    def unreachable(self, silent) -> UvxSource:
        return UvxSource.from_settings({}, silent)


class TestUvxBuilder(BuilderContract):
    @pytest.fixture
    def builder(self, surroundings) -> UvxBuilder:
        return UvxBuilder.from_settings({}, surroundings)

    @pytest.fixture
    def unreachable(self, silent) -> UvxBuilder:
        return UvxBuilder.from_settings({}, silent)

    @pytest.fixture
    def package(self) -> PackageSpec:
        return PackageSpec(scheme="uvx", name="mcp-server-time", version="1.0")

    @pytest.fixture
    def unrunnable(self) -> PackageSpec:
        return PackageSpec(scheme="uvx", name="library", version="1.0")
