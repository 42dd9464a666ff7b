"""Read which arguments of a tool are mirrored as header fields: ``x-mcp-header`` in its ``inputSchema`` (SEP-2243).

It stands on properties that a chain of ``properties`` leads to, is a token of RFC 9110, unique whatever its case, and
their type is string, integer or boolean. A tool that breaks one of these rules mirrors nothing: clients leave it out.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import cast

import msgspec

from thv_gateway.servers.handshake import UNREADABLE

__all__ = ["Mirror", "mirrors_of"]

_KEY = "x-mcp-header"
_TOKEN = re.compile(r"[!#$%&'*+\-.^_`|~0-9A-Za-z]+")
_DECIMAL = re.compile(r"(-?[0-9]{1,400})(?:\.0+)?")
_TYPES = frozenset({"string", "integer", "boolean"})
_ONE = frozenset(
    {
        *("items", "contains", "unevaluatedItems", "additionalProperties", "propertyNames", "unevaluatedProperties"),
        *("not", "if", "then", "else", "contentSchema"),
    }
)
_SEVERAL = frozenset({"allOf", "anyOf", "oneOf", "prefixItems"})
_NAMED = frozenset({"patternProperties", "dependentSchemas", "$defs", "definitions"})

Path = tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Mirror:
    """One argument at ``path`` that is mirrored as ``Mcp-Param-<header>``; ``kind`` is its type."""

    path: Path
    header: str
    kind: str

    def rendered(self, arguments: object) -> str | None:
        """Return the argument as its header says it, ``None`` when it is absent or cannot be said."""
        value = self._value(arguments)
        if isinstance(value, bool):
            return str(value).lower()
        return str(value) if isinstance(value, str | int | float) else None

    def matches(self, arguments: object, rendered: str, said: str) -> bool:
        """Tell whether a header says what the argument is; integers are compared as numbers."""
        value, number = self._value(arguments), _DECIMAL.fullmatch(said)
        is_whole = isinstance(value, int | float) and not isinstance(value, bool) and value == value // 1
        if self.kind == "integer" and is_whole and number is not None:
            return int(number[1]) == value
        return said == rendered

    def _value(self, arguments: object) -> object:
        node = arguments
        for key in self.path:
            node = cast("dict[str, object]", node).get(key) if isinstance(node, dict) else None
        return node


def mirrors_of(schema: bytes) -> tuple[Mirror, ...]:
    """Return the arguments that a raw ``inputSchema`` says are mirrored; none when it breaks a rule."""
    try:
        root = msgspec.json.decode(schema)
    except UNREADABLE:
        return ()
    found: dict[str, Mirror] = {}
    for path, node in _positions(root):
        if _KEY not in node:
            continue
        header, kind = node[_KEY], node.get("type")
        if not path or not isinstance(header, str) or _TOKEN.fullmatch(header) is None or header.lower() in found:
            return ()
        if not isinstance(kind, str) or kind not in _TYPES:
            return ()
        found[header.lower()] = Mirror(path, header, kind)
    return tuple(found.values())


def _positions(root: object) -> Iterator[tuple[Path | None, Mapping[str, object]]]:
    """Yield every schema within a schema, with its path; none for one that more than ``properties`` leads to."""
    stack: list[tuple[Path | None, object]] = [((), root)]
    while stack:
        path, node = stack.pop()
        if not isinstance(node, dict):
            continue
        schema = cast("dict[str, object]", node)
        yield path, schema
        for word, value in schema.items():
            stack += _below(path, word, value)


def _below(path: Path | None, word: str, value: object) -> list[tuple[Path | None, object]]:
    if word == "properties" and isinstance(value, dict):
        properties = cast("dict[str, object]", value)
        return [((*path, name) if path is not None else None, each) for name, each in properties.items()]
    if word in _ONE:
        return [(None, value)]
    if word in _SEVERAL and isinstance(value, list):
        return [(None, each) for each in cast("list[object]", value)]
    if word in _NAMED and isinstance(value, dict):
        return [(None, each) for each in cast("dict[str, object]", value).values()]
    return []
