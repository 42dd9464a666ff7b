"""Build the JSON-RPC errors and HTTP replies with which the gateway itself answers.

Codes: JSON-RPC 2.0 §5.1 and the MCP specification; -32001 with HTTP 404 makes a client initialise anew.
"""

from __future__ import annotations

from collections.abc import Iterable

import msgspec

from thv_core.model.message import Kind, Message
from thv_core.spi.middleware import Reply
from thv_gateway.messages.assembly import assemble

__all__ = [
    "CANCELLED",
    "HEADER_MISMATCH",
    "INTERNAL_ERROR",
    "INVALID_PARAMS",
    "INVALID_REQUEST",
    "LEGACY_ERROR",
    "METHOD_NOT_FOUND",
    "MISSING_CAPABILITY",
    "PARSE_ERROR",
    "RESOURCE_NOT_FOUND",
    "SESSION_NOT_FOUND",
    "UNSUPPORTED_VERSION",
    "accepted",
    "document",
    "failure",
    "refusal",
    "unsupported",
]

PARSE_ERROR = -32700
INVALID_REQUEST = -32600
METHOD_NOT_FOUND = -32601
INVALID_PARAMS = -32602
INTERNAL_ERROR = -32603
CANCELLED = -32800
LEGACY_ERROR = -32000
SESSION_NOT_FOUND = -32001
RESOURCE_NOT_FOUND = -32002
"""Of the era of handshakes; the modern one says :data:`INVALID_PARAMS`."""

HEADER_MISMATCH = -32020
MISSING_CAPABILITY = -32021
UNSUPPORTED_VERSION = -32022

JSON = (b"content-type", b"application/json")

accepted = Reply(202, b"", ())
"""The answer to a notification or a response: no body (MCP 2025-03-26, transports)."""


def failure(identifier: bytes, code: int, text: str, data: object = None) -> Message:
    """Return the JSON-RPC error response to the request with the raw id ``identifier``."""
    return Message(kind=Kind.RESPONSE, id=identifier, error=_error(code, text, data))


def refusal(
    status: int, code: int, text: str, identifier: bytes = b"", headers: tuple[tuple[bytes, bytes], ...] = ()
) -> Reply:
    """Return an HTTP refusal with a JSON-RPC error; the id is omitted when it is not known."""
    error = _error(code, text, None)
    known = b'"id":' + identifier + b"," if identifier else b""
    return Reply(status, b'{"jsonrpc":"2.0",' + known + b'"error":' + error + b"}", (JSON, *headers))


def document(status: int, value: object, headers: tuple[tuple[bytes, bytes], ...] = ()) -> Reply:
    """Return plain data as a JSON body."""
    return Reply(status, msgspec.json.encode(value), (JSON, *headers))


def unsupported(requested: str, supported: Iterable[str], identifier: bytes = b"") -> Reply:
    """Return the refusal of a revision, with those that would be understood (MCP 2026-07-28, versioning)."""
    data = {"supported": list(supported), "requested": requested}
    return Reply(400, assemble(failure(identifier, UNSUPPORTED_VERSION, "Unsupported protocol version", data)))


def _error(code: int, text: str, data: object) -> bytes:
    more = {} if data is None else {"data": data}
    return msgspec.json.encode({"code": code, "message": text, **more})
