"""The conformance class of a plugin's distribution: what pip, the catalog and a type checker find in it."""

# ruff: noqa: D102 - the name of a test is its sentence

from __future__ import annotations

import importlib.util
import subprocess
import sys
from importlib.metadata import EntryPoint, distribution
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

__all__ = ["HEAVY", "DistributionContract"]

HEAVY = (
    "aiohttp",
    "authlib",
    "boto3",
    "cedarpy",
    "cryptography",
    "docker",
    "fastmcp",
    "httpx",
    "hvac",
    "keyring",
    "kubernetes",
    "mcp",
    "onepassword",
    "opentelemetry",
    "podman",
    "requests",
    "litestar",
    "textual",
    "uvicorn",
)
"""SDKs that take long to import: a plugin imports its own where it is used, and not when it is loaded."""

_IMPORT_AND_TELL = """
import importlib, sys
for module in sys.argv[1].split():
    importlib.import_module(module)
print(*(name for name in sys.argv[2].split() if name in sys.modules))
"""


class DistributionContract:
    """What every distribution of a plugin does. Say which: ``distribution = "acme-thv-secrets"``."""

    distribution: str
    """The name of an installed distribution."""

    heavy: tuple[str, ...] = HEAVY
    """Modules that loading the plugin must not import."""

    @pytest.fixture
    def entry_points(self) -> list[EntryPoint]:
        """Give the entry points that the distribution offers to thv."""
        return [each for each in distribution(self.distribution).entry_points if each.group.startswith("thv.")]

    def test_it_offers_something_to_thv(self, entry_points: list[EntryPoint]) -> None:
        assert entry_points

    def test_every_entry_point_loads(self, entry_points: list[EntryPoint]) -> None:
        for each in entry_points:
            assert each.load() is not None, each

    def test_it_bounds_thv_core_from_below_and_above(self) -> None:
        requirements = [Requirement(text) for text in distribution(self.distribution).requires or []]
        on_core = [each for each in requirements if canonicalize_name(each.name) == "thv-core" and not each.marker]
        assert on_core, "it does not require thv-core"
        signs = {specifier.operator for each in on_core for specifier in each.specifier}
        assert signs & {">=", "==", "~=", ">"}, "its requirement on thv-core has no lower bound"
        assert signs & {"<", "<=", "==", "~="}, "its requirement on thv-core has no upper bound"

    def test_its_packages_are_typed(self, entry_points: list[EntryPoint]) -> None:
        for package in {each.module.partition(".")[0] for each in entry_points}:
            spec = importlib.util.find_spec(package)
            assert spec is not None
            assert spec.origin is not None
            assert (Path(spec.origin).parent / "py.typed").exists(), f"{package} ships no py.typed"

    def test_loading_it_imports_no_heavy_sdk(self, entry_points: list[EntryPoint]) -> None:
        modules = " ".join(sorted({each.module for each in entry_points}))
        command = [sys.executable, "-c", _IMPORT_AND_TELL, modules, " ".join(self.heavy)]
        imported = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
        assert imported.returncode == 0, imported.stderr
        assert not imported.stdout.split(), f"loading {modules} imports {imported.stdout.strip()}"
