"""What a request of the modern era repeats of its body in its head (MCP 2026-07-28, transports; SEP-2243)."""

from __future__ import annotations

import re
from collections import OrderedDict
from collections.abc import Iterator, Mapping

import msgspec

from thv_core.model.message import Message
from thv_gateway.eras.mirrored import encoded
from thv_gateway.messages.parsing import members, text_of

__all__ = ["Mirrors", "mirrored"]

MAX_TOOLS = 10_000
MAX_NESTING = 64

_NAMED = {"tools/call": "name", "prompts/get": "name", "resources/read": "uri"}
_TOKEN = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]{1,128}")
_TYPES = frozenset({b'"string"', b'"integer"', b'"boolean"'})

Fields = list[tuple[bytes, bytes]]
_Path = tuple[str, ...]

_raws = msgspec.json.Decoder(list[msgspec.Raw])


def mirrored(message: Message) -> Fields:
    """Return the field that names what a request asks for, if it has to."""
    place = _NAMED.get(message.method)
    name = text_of(message.params.get(place, b"")) if place else ""
    return [(b"mcp-name", encoded(name))] if name else []


class Mirrors:
    """Which arguments of which tool belong into the head, as far as the tools were listed."""

    def __init__(self) -> None:
        self._known: OrderedDict[str, Mapping[bytes, _Path]] = OrderedDict()

    def learn(self, response: Message) -> None:
        """Take note of the schemas in the response to ``tools/list``; those that are none are passed over."""
        try:
            tools = _raws.decode(members(response.result).get("tools", b"[]"))
            for raw in tools:
                tool = members(bytes(raw))
                found = dict(_annotated(tool.get("inputSchema", b""), ()))
                self._keep(text_of(tool.get("name", b"")), found)
        except (msgspec.DecodeError, RecursionError):
            return

    def of(self, message: Message) -> Fields:
        """Return the fields of a call; an argument that is absent or null has none."""
        known = self._known.get(text_of(message.params.get("name", b"")), {})
        arguments = message.params.get("arguments", b"")
        fields: Fields = []
        for name, path in known.items():
            value = _at(arguments, path)
            if value not in (b"", b"null") and value[:1] not in b"[{":
                text = text_of(value) if value[:1] == b'"' else value.decode("ascii", "replace")
                fields.append((b"mcp-param-" + name, encoded(text)))
        return fields

    def _keep(self, tool: str, found: Mapping[bytes, _Path]) -> None:
        self._known.pop(tool, None)
        if tool and found:
            self._known[tool] = found
            while len(self._known) > MAX_TOOLS:
                self._known.popitem(last=False)


def _annotated(schema: bytes, path: _Path) -> Iterator[tuple[bytes, _Path]]:
    """Yield the annotated properties of a schema on chains of ``properties`` alone."""
    if b"x-mcp-header" not in schema or len(path) >= MAX_NESTING:
        return
    for name, raw in list(members(members(schema).get("properties", b"")).items()):
        each = members(raw)
        header = text_of(each.get("x-mcp-header", b""))
        if header and _TOKEN.fullmatch(header) and each.get("type", b"") in _TYPES:
            yield header.encode(), (*path, name)
        yield from _annotated(raw, (*path, name))


def _at(arguments: bytes, path: _Path) -> bytes:
    for name in path:
        arguments = members(arguments).get(name, b"")
    return arguments
