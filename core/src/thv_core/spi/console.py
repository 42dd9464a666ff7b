"""The contract of commands: click commands of group ``thv.commands``, and the console that the CLI hands them.

A command takes the console with ``@click.pass_obj``. stdout carries data, stderr carries progress and messages.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Protocol

__all__ = ["Console"]


class Console(Protocol):
    """How a command speaks to its user, and what it may know of where it runs."""

    environment: Mapping[str, str]
    directory: Path

    def table(self, columns: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
        """Print an aligned table to stdout."""
        ...

    def document(self, value: object) -> None:
        """Print plain data as indented JSON to stdout."""
        ...

    def line(self, text: str) -> None:
        """Print one line of data to stdout."""
        ...

    def message(self, text: str) -> None:
        """Print one line for people to stderr, unless ``--quiet``."""
        ...

    def step(self, word: str, text: str, seconds: float = 0.0) -> None:
        """Print one finished step, ``  prepared   14 packages, 21 MB   2.1 s``, to stderr, unless ``--quiet``."""
        ...

    def going_on(self, word: str, text: str, seconds: float = 0.0) -> None:
        """Show on a terminal what takes a while, in a line that the next one replaces; elsewhere say nothing."""
        ...
