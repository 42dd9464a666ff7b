"""The lines of a bridge: read within bounds, and written as exactly one message each."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any, BinaryIO, cast

__all__ = [
    "INTERNAL_ERROR",
    "INVALID_REQUEST",
    "MAX_LINE",
    "PARSE_ERROR",
    "answers",
    "as_line",
    "failure",
    "lines",
    "message_of",
    "refusal",
    "result_of",
]

MAX_LINE = 8 * 1024 * 1024
"""What the gateway takes for one message."""

PARSE_ERROR = -32700
INVALID_REQUEST = -32600
INTERNAL_ERROR = -32603


def lines(source: BinaryIO) -> Iterator[bytes]:
    """Yield the lines of a pipe that are not empty; of one that is too long, so much that this shows."""
    while line := source.readline(MAX_LINE + 1):
        piece = line
        while len(piece) > MAX_LINE and not piece.endswith(b"\n"):
            piece = source.readline(MAX_LINE + 1)
        if line.strip():
            yield line if len(line) > MAX_LINE else line.strip()


def message_of(data: bytes) -> dict[str, Any] | None:
    """Return the JSON object of some bytes, or ``None`` when they are none."""
    try:
        value: object = json.loads(data)
    except (ValueError, RecursionError):
        return None
    return cast("dict[str, Any]", value) if isinstance(value, dict) else None


def answers(message: dict[str, Any], identifier: object) -> bool:
    """Tell whether a message is the answer to the request of an id; 1 and ``true`` are different ids."""
    given = message.get("id")
    return "method" not in message and type(given) is type(identifier) and given == identifier


def result_of(message: dict[str, Any] | None) -> dict[str, Any]:
    """Return the result that a message has, or an empty one."""
    result: object = (message or {}).get("result")
    return cast("dict[str, Any]", result) if isinstance(result, dict) else {}


def as_line(data: bytes) -> bytes:
    """Return a message as one line: what breaks lines can only stand between its tokens."""
    return data.replace(b"\r", b" ").replace(b"\n", b" ") + b"\n"


def refusal(identifier: object, code: int, text: str) -> bytes:
    """Return an error of the bridge as a line."""
    return _error(identifier, {"code": code, "message": text})


def failure(identifier: object, method: str, status: int, body: bytes) -> bytes:
    """Return what an HTTP answer other than 200 means to a request: the error in it, or what its status was."""
    error = (message_of(body) or {}).get("error")
    if isinstance(error, dict):
        return _error(identifier, cast("dict[str, Any]", error))
    return refusal(identifier, INTERNAL_ERROR, f"HTTP {status} is no answer to {method}")


def _error(identifier: object, error: object) -> bytes:
    return json.dumps({"jsonrpc": "2.0", "id": identifier, "error": error}).encode() + b"\n"
