"""Every error of the plugin says what to do next."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import thv_packages
from thv_core import errors

SOURCES = sorted(Path(thv_packages.__path__[0]).rglob("*.py"))


def made() -> Iterator[tuple[str, ast.Call]]:
    for path in SOURCES:
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id in errors.__all__:
                yield f"{path.name}:{node.lineno}", node


def test_no_error_is_made_without_a_hint():
    hints = {where: [each.value for each in call.keywords if each.arg == "hint"] for where, call in made()}

    assert len(hints) > 15
    assert [where for where, given in hints.items() if not given or '""' in ast.unparse(given[0])] == []
