"""What a request of the modern era says in its body and repeats in its head (MCP 2026-07-28, transports; SEP-2243)."""

from __future__ import annotations

import base64
import re
from collections import OrderedDict
from collections.abc import Iterator, Mapping
from typing import Any, cast

from thv_core import __version__

__all__ = ["MODERN_VERSION", "Mirrors", "envelope", "modern_head", "modern_version"]

MODERN_VERSION = "2026-07-28"
MOST_TOOLS = 10_000
DEEPEST = 32

_VERSION = "io.modelcontextprotocol/protocolVersion"
_NAMED = {
    "tools/call": "name",
    "prompts/get": "name",
    "resources/read": "uri",
    "tasks/get": "taskId",
    "tasks/update": "taskId",
    "tasks/cancel": "taskId",
}
_TOKEN = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]{1,128}\Z")
_PLAIN = re.compile(r"[\x21-\x7e](?:[\x20-\x7e]*[\x21-\x7e])?\Z|\Z")
_SENTINEL = re.compile(r"=\?base64\?.*\?=\Z")
_MIRRORED = ("string", "integer", "boolean")


def envelope() -> dict[str, object]:
    """Return what each request of thv itself carries in ``_meta``."""
    return {
        _VERSION: MODERN_VERSION,
        "io.modelcontextprotocol/clientInfo": {"name": "thv", "version": __version__},
        "io.modelcontextprotocol/clientCapabilities": {},
    }


def modern_version(message: Mapping[str, Any]) -> str:
    """Return the revision that a message says it is of, or nothing when it is of the older era."""
    meta = _mapping(_mapping(message.get("params")).get("_meta"))
    version = meta.get(_VERSION)
    return version if isinstance(version, str) and message.get("method") != "initialize" else ""


class Mirrors:
    """Which arguments of which tool are repeated in the head, as far as the tools were listed."""

    def __init__(self) -> None:
        self._known: OrderedDict[str, dict[str, tuple[str, ...]]] = OrderedDict()

    def learn(self, result: Mapping[str, Any]) -> None:
        """Take note of the schemas in a result of ``tools/list``."""
        for tool in _list(result.get("tools")):
            known = _mapping(tool)
            name = known.get("name")
            if isinstance(name, str):
                self._known.pop(name, None)
                self._known[name] = dict(_annotated(_mapping(known.get("inputSchema")), ()))
        while len(self._known) > MOST_TOOLS:
            self._known.popitem(last=False)

    def knows(self, tool: object) -> bool:
        """Tell whether a tool was listed."""
        return tool in self._known

    def of(self, params: Mapping[str, Any]) -> dict[str, str]:
        """Return the fields of a call; an argument that is absent or null has none."""
        known = self._known.get(str(params.get("name")), {})
        found = {header: _at(params.get("arguments"), path) for header, path in known.items()}
        texts = {header: _text(value) for header, value in found.items() if value is not None}
        return {f"mcp-param-{header}": _encoded(text) for header, text in texts.items() if text is not None}


def modern_head(message: Mapping[str, Any], mirrors: Mirrors) -> dict[str, str]:
    """Return the header fields of a message of the modern era."""
    method, params = str(message.get("method")), _mapping(message.get("params"))
    head = {"mcp-protocol-version": modern_version(message), "mcp-method": _encoded(method)}
    named = params.get(_NAMED.get(method, ""))
    if isinstance(named, str):
        head["mcp-name"] = _encoded(named)
    return head | (mirrors.of(params) if method == "tools/call" else {})


def _annotated(schema: Mapping[str, Any], path: tuple[str, ...]) -> Iterator[tuple[str, tuple[str, ...]]]:
    if len(path) >= DEEPEST:
        return
    for name, each in _mapping(schema.get("properties")).items():
        known = _mapping(each)
        header = known.get("x-mcp-header")
        if isinstance(header, str) and _TOKEN.match(header) and known.get("type") in _MIRRORED:
            yield header.lower(), (*path, name)
        yield from _annotated(known, (*path, name))


def _at(value: object, path: tuple[str, ...]) -> object:
    for name in path:
        value = _mapping(value).get(name)
    return value


def _text(value: object) -> str | None:
    if isinstance(value, bool):
        return "true" if value else "false"
    return str(value) if isinstance(value, int | float | str) else None


def _encoded(text: str) -> str:
    """Return a text as a header can have it: what is not plain, or looks encoded, in base64."""
    if _PLAIN.match(text) and not _SENTINEL.match(text):
        return text
    return f"=?base64?{base64.b64encode(text.encode('utf-8', 'surrogatepass')).decode('ascii')}?="


def _mapping(value: object) -> Mapping[str, Any]:
    return cast("Mapping[str, Any]", value) if isinstance(value, dict) else {}


def _list(value: object) -> list[object]:
    return cast("list[object]", value) if isinstance(value, list) else []
