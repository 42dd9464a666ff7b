"""What a command is for, read from its source without executing it.

``thv --help`` lists the commands of every installed distribution. Importing them would let the slowest of them decide
how long that takes, and run the code of each for a line of text. Reading also finds what cannot work: a module or
name that is not there, a syntax error, and an import of something that is not installed.
"""

from __future__ import annotations

import ast
import sys
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from functools import cache
from importlib.machinery import ModuleSpec, SourceFileLoader

__all__ = ["Summary", "summary"]

_DEFINITIONS = (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef)
_MAKERS = ("command", "group")


@dataclass(frozen=True)
class Summary:
    """One line about a command: its ``text``, whether it is ``hidden``, and why it is ``broken``, if it is."""

    text: str = ""
    hidden: bool = False
    broken: str = ""


def summary(value: str) -> Summary:
    """Summarise the click command at ``value``, such as ``acme_tools.commands:greet``. Never raises."""
    module, _, name = value.partition(":")
    try:
        return _read(module.strip(), name.partition("[")[0].strip())
    except Exception as error:  # a stranger's file can be anything
        return Summary(broken=f"{type(error).__name__}: {error}")


def _read(module: str, name: str) -> Summary:
    spec = _spec(module)
    if spec is None:
        return Summary(broken=f"there is no module {module}")
    source = spec.loader.get_source(module) if isinstance(spec.loader, SourceFileLoader) else None
    if source is None:
        return Summary()
    body = ast.parse(source).body
    missing = [package for package in _imported(body) if not _installed(package)]
    if missing:
        return Summary(broken=f"it imports {missing[0]}, which is not installed")
    definition = next((node for node in body if _defines(node, name)), None)
    if definition is not None:
        return _described(definition)
    # A definition under a condition, or a star import, may give the name.
    unclear = any(isinstance(node, (ast.If, ast.Try, ast.With)) or _defines(node, "*") for node in body)
    return Summary() if unclear else Summary(broken=f"{module} has no {name}")


def _spec(module: str) -> ModuleSpec | None:
    """Find a module as an import would, but without importing the packages around it."""
    spec = None
    path: Iterable[str] | None = None
    parts = module.split(".")
    for count in range(1, len(parts) + 1):
        spec = _found(".".join(parts[:count]), None if path is None else list(path))
        if spec is None:
            return None
        path = spec.submodule_search_locations or ()
    return spec


def _found(name: str, path: list[str] | None) -> ModuleSpec | None:
    found = (finder.find_spec(name, path) for finder in sys.meta_path)
    return next((spec for spec in found if spec is not None), None)


@cache
def _installed(package: str) -> bool:
    return package in sys.modules or package in sys.stdlib_module_names or _found(package, None) is not None


def _imported(body: list[ast.stmt]) -> Iterator[str]:
    """Name the packages that a module cannot do without: those it imports unconditionally."""
    for node in body:
        if isinstance(node, ast.Import):
            yield from (alias.name.partition(".")[0] for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.level == 0 and node.module:
            yield node.module.partition(".")[0]


def _defines(node: ast.stmt, name: str) -> bool:
    if isinstance(node, _DEFINITIONS):
        return node.name == name
    if isinstance(node, ast.Assign):
        return any(isinstance(target, ast.Name) and target.id == name for target in node.targets)
    if isinstance(node, ast.AnnAssign):
        return isinstance(node.target, ast.Name) and node.target.id == name
    return isinstance(node, (ast.Import, ast.ImportFrom)) and any(
        (alias.asname or alias.name) == name for alias in node.names
    )


def _described(node: ast.stmt) -> Summary:
    keywords = {each.arg: each.value.value for each in _keywords(node) if isinstance(each.value, ast.Constant)}
    docstring = ast.get_docstring(node) if isinstance(node, _DEFINITIONS) else None
    text = keywords.get("short_help") or keywords.get("help") or docstring or ""
    return Summary(text=_first_sentence(str(text)), hidden=keywords.get("hidden") is True)


def _keywords(node: ast.stmt) -> Iterator[ast.keyword]:
    """Yield the keywords of the call that makes the command: its decorator, or the assigned call."""
    if isinstance(node, _DEFINITIONS):
        calls = [each for each in node.decorator_list if _makes_command(each)]
    else:
        calls = [node.value] if isinstance(node, (ast.Assign, ast.AnnAssign)) and node.value else []
    for call in calls:
        if isinstance(call, ast.Call):
            yield from call.keywords


def _makes_command(decorator: ast.expr) -> bool:
    # @click.command(…), @click.group(…) or @parent.command(…), but not @click.option(…, help=…).
    called = decorator.func if isinstance(decorator, ast.Call) else decorator
    return (isinstance(called, ast.Attribute) and called.attr in _MAKERS) or (
        isinstance(called, ast.Name) and called.id in _MAKERS
    )


def _first_sentence(text: str) -> str:
    paragraph = " ".join(text.strip().partition("\n\n")[0].split())
    return paragraph.partition(". ")[0].removesuffix(".")
