"""The fixtures that pytest finds by the entry point ``pytest11``.

This module is imported whenever pytest starts, before coverage does: it imports the product inside its fixtures only.
"""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from thv_core.spi import Surroundings
    from thv_testkit.fakes import FakeClock, FakeRuntime, MemoryStore, RecordingObserver

_ASSERTING = (
    "builders",
    "conversations",
    "distributions",
    "egress",
    "egress_fixtures",
    "egress_names",
    "gateway_network",
    "gateway_processes",
    "gateways",
    "middleware",
    "network_peers",
    "observers",
    "outlets",
    "runtime_limits",
    "runtime_logs",
    "runtime_network",
    "runtime_views",
    "runtimes",
    "secrets",
    "sources",
    "waiting",
    "workshops",
)
pytest.register_assert_rewrite(*(f"thv_testkit.{module}" for module in _ASSERTING))

__all__ = ["clock", "echo_server", "fake_plugins", "fake_runtime", "memory_store", "observer", "surroundings"]

_FAKE_PLUGINS = {
    "METADATA": "Metadata-Version: 2.1\nName: thv-fakes\nVersion: 0.1.0\nRequires-Dist: thv-core>=0.1,<0.2\n",
    "entry_points.txt": """
[thv.runtimes]
fake = thv_testkit.fakes:FakeRuntime
[thv.sources]
fake = thv_testkit.fakes:FakeSource
[thv.builders]
fake = thv_testkit.fakes:FakeBuilder
[thv.egress]
fake = thv_testkit.fakes:SocketlessEgress
[thv.secrets]
fake = thv_testkit.fakes:MemoryStore
""",
}


@pytest.fixture
def surroundings(tmp_path: Path) -> Surroundings:
    """Give surroundings below ``tmp_path``: empty private folders and the smallest environment that finds programs."""
    from thv_core.spi import Surroundings

    folders = {name: tmp_path / "surroundings" / name for name in ("state", "cache", "home")}
    for folder in folders.values():
        folder.mkdir(mode=0o700, parents=True)
    environment = {"PATH": os.environ.get("PATH", os.defpath), "HOME": str(folders["home"])}
    return Surroundings(state=folders["state"], cache=folders["cache"], environment=environment)


@pytest.fixture
def fake_runtime(surroundings: Surroundings) -> FakeRuntime:
    """Give a runtime without isolation, in the surroundings of the test."""
    from thv_testkit.fakes import FakeRuntime

    return FakeRuntime.from_settings({}, surroundings)


@pytest.fixture
def memory_store() -> MemoryStore:
    """Give an empty secret store."""
    from thv_testkit.fakes import MemoryStore

    return MemoryStore()


@pytest.fixture
def observer() -> RecordingObserver:
    """Give an observer that remembers."""
    from thv_testkit.fakes import RecordingObserver

    return RecordingObserver()


@pytest.fixture
def clock() -> FakeClock:
    """Give a clock that stands still until it is told."""
    from thv_testkit.fakes import FakeClock

    return FakeClock()


@pytest.fixture
def echo_server() -> tuple[str, ...]:
    """Give the command of the echo server, for standard input and output; append its other arguments."""
    from thv_testkit.fakes import ECHO_PROGRAM

    return (sys.executable, "-I", "-S", str(ECHO_PROGRAM))


@pytest.fixture
def fake_plugins(tmp_path: Path) -> Path:
    """Give a folder that offers the fakes as plugins, each named ``fake``, to a process that has it on its path.

    Put it into ``PYTHONPATH`` of a program of thv, or into ``sys.path``: nothing is installed, and no user sees a fake.
    """
    metadata = tmp_path / "fake-plugins" / "thv_fakes-0.1.0.dist-info"
    metadata.mkdir(parents=True)
    for name, text in _FAKE_PLUGINS.items():
        (metadata / name).write_text(text)
    return metadata.parent
