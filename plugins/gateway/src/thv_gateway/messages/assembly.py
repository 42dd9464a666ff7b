"""Assemble JSON-RPC lines from raw pieces: values are spliced, never re-serialised."""

from __future__ import annotations

from collections.abc import Mapping
from functools import lru_cache

import msgspec

from thv_core.model.message import Message

__all__ = ["assemble", "quoted", "with_members"]

_LONGEST_CACHED = 64


def assemble(message: Message) -> bytes:
    """Return ``message`` as one line without its newline; whatever breaks lines between the pieces becomes a space."""
    parts = [b'{"jsonrpc":"2.0"']
    if message.id:
        parts += (b',"id":', message.id)
    if message.method:
        parts += (b',"method":', quoted(message.method))
    if message.has_params:
        parts += (b',"params":', with_members(message.params))
    if message.error:
        parts += (b',"error":', message.error)
    elif message.result:
        parts += (b',"result":', message.result)
    parts.append(b"}")
    line = b"".join(parts)
    # Raw control characters are invalid inside strings, so these can only stand between tokens.
    return line.replace(b"\n", b" ").replace(b"\r", b" ")


def with_members(members: Mapping[str, bytes]) -> bytes:
    """Return the object of these raw members."""
    return b"{" + b",".join([quoted(key) + b":" + value for key, value in members.items()]) + b"}"


def quoted(text: str) -> bytes:
    """Return ``text`` as a JSON string."""
    return _cached(text) if len(text) <= _LONGEST_CACHED else msgspec.json.encode(text)


@lru_cache(maxsize=512)
def _cached(text: str) -> bytes:
    return msgspec.json.encode(text)
