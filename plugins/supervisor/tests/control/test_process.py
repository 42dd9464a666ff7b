"""Control as a process: what it leaves behind when it cannot start, and how it names its drivers."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import dataclass

import pytest

from thv_core.state.paths import Paths
from thv_supervisor.control.process import _origin


def test_a_control_that_cannot_start_tells_whoever_waits_why(paths: Paths, environment: dict[str, str]) -> None:
    paths.config_file.write_text("runtim: x\n")
    reading, writing = os.pipe()
    try:
        done = subprocess.run(
            [sys.executable, "-P", "-m", "thv_supervisor.control", str(reading)],
            env=environment,
            pass_fds=[reading],
            capture_output=True,
            timeout=30,
        )
    finally:
        os.close(reading)
        os.close(writing)
    told = json.loads(paths.control_error.read_bytes())
    assert done.returncode != 0
    assert told["code"] == "invalid-settings"
    assert "runtim is not a known setting" in told["message"]
    assert b"control cannot start" in done.stderr
    assert not paths.control_socket.exists()


@dataclass
class FakePlugin:
    name: str
    origin: str


class FakeCatalog:
    """A catalog of one runtime."""

    def of_kind(self, kind: str) -> list[FakePlugin]:
        plugins: Mapping[str, list[FakePlugin]] = {"runtime": [FakePlugin("box", "acme-box 1.0")]}
        return plugins.get(kind, [])


@pytest.mark.parametrize(
    ("driver", "named"),
    [
        ("runtime box", "the runtime 'box' of acme-box 1.0"),
        ("runtime box end", "the runtime 'box' of acme-box 1.0"),
        ("runtime other", "runtime other"),
        ("observer box", "observer box"),
        ("admission", "admission"),
    ],
)
def test_a_driver_is_named_with_its_distribution(driver: str, named: str) -> None:
    assert _origin(FakeCatalog(), driver) == named
