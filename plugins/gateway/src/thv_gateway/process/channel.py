"""The Unix socket between control and the gateway: ``GatewayCommand`` lines in, ``RouteReport`` lines out."""

from __future__ import annotations

import asyncio
import os
import socket
from collections.abc import Callable, Mapping
from pathlib import Path

from thv_core.errors import InvalidDocument
from thv_core.model.document import decode_document, encode_document
from thv_core.model.route import GatewayCommand, Order, RouteReport

__all__ = ["Channel", "bind_private"]

MAX_LINE = 1024 * 1024
MAX_WAITING = 4 * 1024 * 1024
_LONGEST_PATH = 100


class Channel:
    """Serves any number of connections of control.

    A peer that does not read is disconnected; it gets everything again when it comes back.

    :param reports: returns the current report of every route.
    :param order: called with each order but that to take values.
    :param values: called with the values of the secrets that routes name.
    """

    def __init__(
        self,
        reports: Callable[[], list[RouteReport]],
        order: Callable[[Order], None],
        values: Callable[[Mapping[str, str]], object] = dict,
    ) -> None:
        self._reports = reports
        self._order = order
        self._values = values
        self._peers: set[asyncio.StreamWriter] = set()
        self._server: asyncio.Server | None = None

    async def open(self, path: Path) -> None:
        """Listen on ``path``, mode 0600, replacing the socket of a dead predecessor."""
        self._server = await asyncio.start_unix_server(self._serve, sock=bind_private(path), limit=MAX_LINE)

    def publish(self, report: RouteReport) -> None:
        """Send a report to every peer."""
        line = encode_document(report) + b"\n"
        for peer in list(self._peers):
            if peer.transport.get_write_buffer_size() > MAX_WAITING:
                peer.transport.abort()
            else:
                peer.write(line)

    def close(self) -> None:
        """Disconnect everyone."""
        if self._server is not None:
            self._server.close()
        for peer in list(self._peers):
            peer.close()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        for report in self._reports():
            writer.write(encode_document(report) + b"\n")
        self._peers.add(writer)
        try:
            while line := await reader.readline():
                self._obey(decode_document(line, GatewayCommand, "the command"))
        except (InvalidDocument, OSError, ValueError):
            # A peer of another version, or one that speaks something else: it is told by the closed connection.
            return
        finally:
            self._peers.discard(writer)
            writer.close()

    def _obey(self, command: GatewayCommand) -> None:
        if command.order is Order.VALUES:
            self._values(command.values)
        else:
            self._order(command.order)


def bind_private(path: Path, kind: socket.SocketKind = socket.SOCK_STREAM) -> socket.socket:
    """Bind a Unix socket of a kind that only its owner can connect to, however long its path is.

    A socket address holds about 107 bytes; a longer path is reached through a descriptor of its folder.
    """
    path.unlink(missing_ok=True)
    listener = socket.socket(socket.AF_UNIX, kind)
    folder = os.open(path.parent, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    mask = os.umask(0o177)
    try:
        short = len(os.fsencode(path)) <= _LONGEST_PATH
        listener.bind(str(path) if short else f"/proc/self/fd/{folder}/{path.name}")
    except OSError:
        listener.close()
        raise
    finally:
        os.umask(mask)
        os.close(folder)
    listener.setblocking(False)
    return listener
