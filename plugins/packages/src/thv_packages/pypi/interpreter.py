"""The Python that a package will run with: which it is, and what it says of itself."""

from __future__ import annotations

import sys
from collections.abc import Mapping

from thv_core.errors import InvalidDocument, PreparationFailed
from thv_core.model.document import Document, decode_document
from thv_packages.identity import file_identity
from thv_packages.process import Program
from thv_packages.pypi import interpreter_facts

__all__ = ["Interpreter", "default_python", "identity", "inspect"]

_SECONDS = 30.0
_HINT = "Set `python` of the plugin to the path of a Python, or remove the setting."


class Interpreter(Document, frozen=True, kw_only=True):
    """A base interpreter: ``packages`` is its package folder below an environment, ``view`` what it needs to see."""

    executable: str
    version: str
    abi: str
    platform: str
    packages: str
    view: tuple[str, ...]


def default_python() -> str:
    """Return the base interpreter of the running Python, never that of a virtual environment."""
    return str(getattr(sys, "_base_executable", "") or sys.executable)


def identity(python: str) -> str:
    """Return 16 hex digits that change with the interpreter or the machine, without starting it.

    :raises PreparationFailed: when there is no such file.
    """
    try:
        return file_identity(python)
    except OSError as error:
        raise PreparationFailed(f"there is no Python at {python}: {error.strerror}", hint=_HINT) from error


def inspect(python: str, environment: Mapping[str, str]) -> Interpreter:
    """Ask an interpreter for its facts; takes some 50 ms.

    :raises PreparationFailed: when it does not start or answer.
    """
    facts = interpreter_facts.__file__
    finished = Program((python, "-I", "-S", facts), directory="/", seconds=_SECONDS, environment=environment).run()
    try:
        return decode_document(finished.output, Interpreter, python)
    except InvalidDocument:
        evidence = finished.errors.strip().splitlines()[-3:]
        raise PreparationFailed(f"{python} is not a usable Python", evidence=evidence, hint=_HINT) from None
