"""One parsed MCP message: the envelope and ``params`` as raw pieces, decoded once.

Every middleware reads these pieces; none parses again. What goes upstream is assembled from exactly these pieces, so
the server sees what the policy saw. Source: JSON-RPC 2.0 and the MCP specification, base protocol.
"""

from __future__ import annotations

from collections.abc import Mapping
from enum import StrEnum

import msgspec

__all__ = ["Kind", "Message"]


class Kind(StrEnum):
    """What a JSON-RPC message is."""

    REQUEST = "request"
    NOTIFICATION = "notification"
    RESPONSE = "response"


class Message(msgspec.Struct, frozen=True, kw_only=True):
    """A JSON-RPC message.

    ``id`` is the raw JSON of its id (``b'1'``, ``b'"a"'``), empty for a notification. ``method`` is empty for a
    response. ``params`` maps each key to the raw JSON of its value, in order. ``result`` and ``error`` are raw JSON,
    one of them set in a response. ``name`` is the decoded ``params.name`` or ``params.uri``, which most policies ask.
    """

    kind: Kind
    id: bytes = b""
    method: str = ""
    params: Mapping[str, bytes] = msgspec.field(default_factory=dict[str, bytes])
    has_params: bool = False
    name: str = ""
    result: bytes = b""
    error: bytes = b""
