"""The key that signs session ids."""

from __future__ import annotations

import contextlib
from pathlib import Path
from secrets import token_bytes

from thv_gateway.servers.handshake import write_private

__all__ = ["session_key"]

_FILE = "session.key"
_BYTES = 32


def session_key(folder: Path) -> bytes:
    """Return the key of a gateway, made once and kept for every later one."""
    path = folder / _FILE
    with contextlib.suppress(FileNotFoundError):
        key = path.read_bytes()
        if len(key) == _BYTES:
            return key
    key = token_bytes(_BYTES)
    write_private(path, key)
    return key
