"""TCP sockets inside a server's own network namespace, each connected to its port again and again.

The helper of ``thv-netns`` made them; nothing else leads into that namespace, and nothing of it is published.
"""

from __future__ import annotations

import asyncio
import ctypes
import socket
from collections.abc import Mapping, Sequence
from types import MappingProxyType
from typing import Any

__all__ = ["CONNECT_SECONDS", "Connectors"]

CONNECT_SECONDS = 5.0

_ADDRESS_SIZE = 16
_PLAIN: Mapping[str, Any] = MappingProxyType({})
_libc = ctypes.CDLL(None, use_errno=True)


class Connectors:
    """The connectors of one incarnation: :meth:`connect` takes one, :meth:`give_back` makes it free again."""

    security = _PLAIN

    def __init__(self, sockets: Sequence[socket.socket]) -> None:
        self._free = list(sockets)
        self._taken: set[socket.socket] = set()
        self._closed = False

    def __len__(self) -> int:
        """How many there are, free or taken."""
        return len(self._free) + len(self._taken)

    @property
    def free(self) -> int:
        """How many can be taken now."""
        return len(self._free)

    async def connect(self, port: int) -> tuple[socket.socket, socket.socket]:
        """Take a connector and connect it to ``port``; return it with a duplicate that a transport may close.

        :raises OSError: when nothing accepts there, or not in time; the connector is free again then.
        """
        connector = self._free.pop()
        self._taken.add(connector)
        stream = connector.dup()
        stream.setblocking(False)
        try:
            async with asyncio.timeout(CONNECT_SECONDS):
                await asyncio.get_running_loop().sock_connect(stream, ("127.0.0.1", port))
        except BaseException:
            stream.close()
            self.give_back(connector)
            raise
        return connector, stream

    def give_back(self, connector: socket.socket) -> None:
        """End whatever association a taken connector has; its duplicates must be closed, or about to be."""
        if connector not in self._taken:
            return
        self._taken.remove(connector)
        if self._closed:
            connector.close()
        else:
            _dissolve(connector)
            self._free.append(connector)

    def close(self) -> None:
        """Close the free ones now and the others when they come back."""
        self._closed = True
        while self._free:
            self._free.pop().close()


def _dissolve(connector: socket.socket) -> None:
    """Connect to AF_UNSPEC, which makes a TCP socket of Linux as good as new (``tcp_disconnect``), also a refused one.

    Python offers no such address, hence the C library.
    """
    _libc.connect(connector.fileno(), ctypes.create_string_buffer(_ADDRESS_SIZE), _ADDRESS_SIZE)
