"""What tests of the commands and of the processes share."""

from __future__ import annotations

import os
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

import pytest

from thv_core.state.paths import Paths


class RecordingConsole:
    """A console that keeps what a command says."""

    def __init__(self, environment: Mapping[str, str], directory: Path) -> None:
        self.environment = environment
        self.directory = directory
        self.lines: list[str] = []
        self.messages: list[str] = []
        self.tables: list[tuple[Sequence[str], Sequence[Sequence[str]]]] = []
        self.documents: list[object] = []
        self.steps: list[tuple[str, str, bool]] = []

    def table(self, columns: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
        self.tables.append((columns, rows))

    def document(self, value: object) -> None:
        self.documents.append(value)

    def line(self, text: str) -> None:
        self.lines.append(text)

    def message(self, text: str) -> None:
        self.messages.append(text)

    def step(self, word: str, text: str, seconds: float = 0.0) -> None:
        self.steps.append((word, text, True))

    def going_on(self, word: str, text: str, seconds: float = 0.0) -> None:
        self.steps.append((word, text, False))


@pytest.fixture
def environment(tmp_path: Path) -> dict[str, str]:
    """The smallest environment of a user with a home of their own."""
    return {"THV_HOME": str(tmp_path / "home"), "PATH": os.environ.get("PATH", os.defpath), "HOME": str(tmp_path)}


@pytest.fixture
def paths(environment: dict[str, str]) -> Paths:
    paths = Paths.from_environment(environment, sys.platform)
    paths.ensure()
    return paths


@pytest.fixture
def console(environment: dict[str, str], tmp_path: Path) -> RecordingConsole:
    return RecordingConsole(environment, tmp_path)
