"""The Unix socket on which control hands over the sockets that were made in servers' network namespaces.

``Handover`` packets come in, with descriptors (SCM_RIGHTS), and ``NetworkReport`` packets go out.
"""

from __future__ import annotations

import asyncio
import os
import socket
from array import array
from collections.abc import Callable, Iterable
from pathlib import Path

from thv_core.errors import InvalidDocument
from thv_core.model.document import decode_document, encode_document
from thv_core.model.network import Handover, NetworkReport
from thv_gateway.process.channel import bind_private
from thv_gateway.process.outlets import Outlets

__all__ = ["MAX_DESCRIPTORS", "MAX_PACKET", "NetworkRoom"]

MAX_PACKET = 256 * 1024
MAX_DESCRIPTORS = 253
"""As many as Linux passes with one message (SCM_MAX_FD)."""

_ANCILLARY = socket.CMSG_LEN(MAX_DESCRIPTORS * array("i").itemsize)

MAX_PEERS = 16
_BACKLOG = 16
_PAUSE_SECONDS = 1.0


class NetworkRoom:
    """Serves any number of connections of control; one that sends what cannot be meant is disconnected.

    :param reread: reads the snapshot again.
    """

    def __init__(self, outlets: Outlets, reread: Callable[[], None]) -> None:
        self._outlets = outlets
        self._reread = reread
        self._peers: set[socket.socket] = set()
        self._listener: socket.socket | None = None

    def open(self, path: Path) -> None:
        """Listen on ``path``, mode 0600, replacing the socket of a dead predecessor."""
        self._listener = bind_private(path, socket.SOCK_SEQPACKET)
        self._listener.listen(_BACKLOG)
        self._listen(self._listener)

    def publish(self) -> None:
        """Send the report to every peer."""
        for peer in list(self._peers):
            self._report(peer, self._outlets.report)

    def close(self) -> None:
        """Disconnect everyone."""
        if self._listener is not None:
            asyncio.get_running_loop().remove_reader(self._listener)
            self._listener.close()
        for peer in list(self._peers):
            self._dismiss(peer)

    def _listen(self, listener: socket.socket) -> None:
        if listener.fileno() >= 0:
            asyncio.get_running_loop().add_reader(listener, self._accept, listener)

    def _accept(self, listener: socket.socket) -> None:
        loop = asyncio.get_running_loop()
        try:
            peer, _ = listener.accept()
        except BlockingIOError:
            return
        except OSError:
            # Out of descriptors: the listener stays readable, and would be asked without a pause.
            loop.remove_reader(listener)
            loop.call_later(_PAUSE_SECONDS, self._listen, listener)
            return
        if len(self._peers) >= MAX_PEERS:
            peer.close()
            return
        peer.setblocking(False)
        self._peers.add(peer)
        loop.add_reader(peer, self._readable, peer)
        self._report(peer, self._outlets.report)

    def _readable(self, peer: socket.socket) -> None:
        try:
            # Not socket.recv_fds, which drops its flags: the descriptors would be inherited.
            packet, ancillary, flags, _ = peer.recvmsg(MAX_PACKET, _ANCILLARY, socket.MSG_CMSG_CLOEXEC)
        except BlockingIOError:
            return
        except OSError:
            self._dismiss(peer)
            return
        sockets = _sockets(ancillary)
        is_whole = not flags & (socket.MSG_TRUNC | socket.MSG_CTRUNC)
        try:
            if not (packet and is_whole):
                raise InvalidDocument("the packet is cut off")
            handover = decode_document(packet, Handover, "the handover")
        except InvalidDocument:
            for each in sockets:
                each.close()
            self._dismiss(peer)
            return
        self._take(peer, handover, sockets)

    def _take(self, peer: socket.socket, handover: Handover, sockets: list[socket.socket]) -> None:
        name = handover.incarnation
        if not self._outlets.wants(name):
            self._reread()
        if self._outlets.wants(name):
            self._outlets.take(handover, sockets)
            self.publish()
            return
        for each in sockets:
            each.close()
        report = self._outlets.report
        refused = {**report.refused, name: f"{name} is not in the routes"}
        self._report(peer, NetworkReport(missing=report.missing, refused=refused))

    def _report(self, peer: socket.socket, report: NetworkReport) -> None:
        # A peer that does not read is disconnected; it gets everything again when it comes back.
        try:
            peer.send(encode_document(report), socket.MSG_NOSIGNAL)
        except OSError:
            self._dismiss(peer)

    def _dismiss(self, peer: socket.socket) -> None:
        if peer in self._peers:
            self._peers.discard(peer)
            asyncio.get_running_loop().remove_reader(peer)
            peer.close()


def _sockets(ancillary: Iterable[tuple[int, int, bytes]]) -> list[socket.socket]:
    """Return the descriptors that came as sockets; those that are none are closed and missing."""
    received = array("i")
    for level, kind, data in ancillary:
        if (level, kind) == (socket.SOL_SOCKET, socket.SCM_RIGHTS):
            received.frombytes(data[: len(data) - len(data) % received.itemsize])
    sockets: list[socket.socket] = []
    for descriptor in received:
        try:
            sockets.append(socket.socket(fileno=descriptor))
        except OSError:
            os.close(descriptor)
    return sockets
