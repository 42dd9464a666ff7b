"""Turn what a server of the era of handshakes answers into what the modern era says (MCP 2026-07-28, changelog).

Every result is ``complete`` and names its server; lists, resources and ``server/discover`` say for how long they may be
kept: not at all, and by nobody else, because a stage may show each caller another part of them.
"""

from __future__ import annotations

from collections.abc import Mapping

import msgspec

from thv_core.model.message import Kind, Message
from thv_gateway.messages.answers import (
    HEADER_MISMATCH,
    INTERNAL_ERROR,
    INVALID_PARAMS,
    INVALID_REQUEST,
    METHOD_NOT_FOUND,
    MISSING_CAPABILITY,
    PARSE_ERROR,
    RESOURCE_NOT_FOUND,
    UNSUPPORTED_VERSION,
    failure,
)
from thv_gateway.messages.assembly import with_members
from thv_gateway.messages.envelope import SERVER_INFO, unreserved
from thv_gateway.messages.parsing import members
from thv_gateway.messages.versions import LEGACY_VERSIONS, MODERN_VERSIONS
from thv_gateway.servers.handshake import UNREADABLE, Handshake

__all__ = ["completed", "discovered", "marked", "status_of"]

_CACHEABLE = frozenset(
    {
        *("server/discover", "tools/list", "prompts/list", "resources/list", "resources/templates/list"),
        "resources/read",
    }
)
_UNKEPT = {"ttlMs": b"0", "cacheScope": b'"private"'}
_BAD = (PARSE_ERROR, INVALID_REQUEST, INVALID_PARAMS, HEADER_MISMATCH, MISSING_CAPABILITY, UNSUPPORTED_VERSION)
_STATUS = {METHOD_NOT_FOUND: 404, **dict.fromkeys(_BAD, 400)}

_CAPABILITIES = frozenset({"completions", "experimental", "extensions", "logging", "prompts", "resources", "tools"})
"""What a server can do in either era; tasks are an extension now, and another one."""


class _Error(msgspec.Struct):
    code: int = 0


_error = msgspec.json.Decoder(_Error)


def completed(method: str, response: Message, handshake: Handshake) -> Message:
    """Return the response to a request as the modern era says it."""
    try:
        if response.error:
            return msgspec.structs.replace(response, error=_renumbered(response.error))
        result = {**members(response.result), "resultType": b'"complete"'}
        if method in _CACHEABLE:
            result = {**_UNKEPT, **result}
        return msgspec.structs.replace(response, result=with_members(marked(result, handshake)))
    except UNREADABLE:
        return failure(response.id, INTERNAL_ERROR, "The server answered with what cannot be read")


def marked(result: Mapping[str, bytes], handshake: Handshake) -> dict[str, bytes]:
    """Return the members of a result with the name of the server."""
    meta = unreserved(members(result.get("_meta", b"")))
    info = members(bytes(handshake.result)).get("serverInfo")
    named = {SERVER_INFO: info} if info is not None else {}
    return {**result, "_meta": with_members({**meta, **named})}


def discovered(handshake: Handshake) -> bytes:
    """Return the raw ``DiscoverResult`` of a server that was shaken hands with."""
    said = members(bytes(handshake.result))
    declared = {name: raw for name, raw in members(said.get("capabilities", b"")).items() if name in _CAPABILITIES}
    told = {"instructions": said["instructions"]} if "instructions" in said else {}
    result = {
        "supportedVersions": msgspec.json.encode([*LEGACY_VERSIONS, *MODERN_VERSIONS]),
        "capabilities": with_members(declared),
        **told,
    }
    response = Message(kind=Kind.RESPONSE, id=b"0", result=with_members(result))
    return completed("server/discover", response, handshake).result


def status_of(response: Message) -> int:
    """Return the HTTP status of a response that is the whole answer."""
    if not response.error:
        return 200
    return _STATUS.get(_code(response.error), 200)


def _code(error: bytes) -> int:
    try:
        return _error.decode(error).code
    except msgspec.DecodeError:
        return 0


def _renumbered(error: bytes) -> bytes:
    if _code(error) != RESOURCE_NOT_FOUND:
        return error
    return with_members({**members(error), "code": b"%d" % INVALID_PARAMS})
