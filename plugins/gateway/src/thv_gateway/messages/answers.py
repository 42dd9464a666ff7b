"""Build the JSON-RPC errors and HTTP replies with which the gateway itself answers.

Codes: JSON-RPC 2.0 §5.1 and the MCP specification; -32001 with HTTP 404 makes a client initialise anew.
"""

from __future__ import annotations

import msgspec

from thv_core.model.message import Kind, Message
from thv_core.spi.middleware import Reply

__all__ = [
    "CANCELLED",
    "INTERNAL_ERROR",
    "INVALID_REQUEST",
    "LEGACY_ERROR",
    "METHOD_NOT_FOUND",
    "PARSE_ERROR",
    "SESSION_NOT_FOUND",
    "accepted",
    "document",
    "failure",
    "refusal",
]

PARSE_ERROR = -32700
INVALID_REQUEST = -32600
METHOD_NOT_FOUND = -32601
INTERNAL_ERROR = -32603
CANCELLED = -32800
LEGACY_ERROR = -32000
SESSION_NOT_FOUND = -32001

JSON = (b"content-type", b"application/json")

accepted = Reply(202, b"", ())
"""The answer to a notification or a response: no body (MCP 2025-03-26, transports)."""


def failure(identifier: bytes, code: int, text: str) -> Message:
    """Return the JSON-RPC error response to the request with the raw id ``identifier``."""
    return Message(kind=Kind.RESPONSE, id=identifier, error=msgspec.json.encode({"code": code, "message": text}))


def refusal(
    status: int, code: int, text: str, identifier: bytes = b"", headers: tuple[tuple[bytes, bytes], ...] = ()
) -> Reply:
    """Return an HTTP refusal with a JSON-RPC error; the id is omitted when it is not known."""
    error = msgspec.json.encode({"code": code, "message": text})
    known = b'"id":' + identifier + b"," if identifier else b""
    return Reply(status, b'{"jsonrpc":"2.0",' + known + b'"error":' + error + b"}", (JSON, *headers))


def document(status: int, value: object, headers: tuple[tuple[bytes, bytes], ...] = ()) -> Reply:
    """Return plain data as a JSON body."""
    return Reply(status, msgspec.json.encode(value), (JSON, *headers))
