"""Connect to Unix sockets of the principal, however long their paths are."""

from __future__ import annotations

import os
import socket
from collections.abc import Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Any

__all__ = ["UnixDialler", "connected"]

MOST_CONNECTIONS = 256

_PLAIN: Mapping[str, Any] = MappingProxyType({})


def connected(path: Path) -> socket.socket:
    """Return a connection to whoever listens on a path; a socket address holds about 107 bytes of it.

    :raises OSError: when nobody does, or has no time for it.
    """
    folder = os.open(path.parent, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    stream = socket.socket(socket.AF_UNIX)
    try:
        stream.setblocking(False)
        # A Unix socket is connected at once, or not at all.
        stream.connect(f"/proc/self/fd/{folder}/{path.name}")
    except OSError:
        stream.close()
        raise
    finally:
        os.close(folder)
    return stream


class UnixDialler:
    """Dials one Unix socket; see :class:`thv_gateway.client.pool.Dialler`."""

    security = _PLAIN

    def __init__(self, path: Path) -> None:
        self._path = path
        self._taken: set[socket.socket] = set()

    def __len__(self) -> int:
        """How many connections there may be."""
        return MOST_CONNECTIONS

    @property
    def free(self) -> int:
        """How many more there may be now."""
        return MOST_CONNECTIONS - len(self._taken)

    async def connect(self, port: int) -> tuple[socket.socket, socket.socket]:
        """Connect; the path says where, and the port nothing."""
        stream = connected(self._path)
        self._taken.add(stream)
        return stream, stream.dup()

    def give_back(self, connector: socket.socket) -> None:
        """Close a socket."""
        self._taken.discard(connector)
        connector.close()

    def close(self) -> None:
        """Close nothing: what is taken is given back."""
