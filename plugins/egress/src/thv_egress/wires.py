"""Wires: a bare socket and the HTTP/1.1 state of its connection, event by event."""

from __future__ import annotations

import asyncio
import contextlib
import socket
from collections.abc import Callable
from http import HTTPStatus

import h11

from thv_egress import sockets

__all__ = ["OverLimit", "Wire", "part", "refuse"]

LARGEST_HEAD = 64 * 1024
PARTING = 1.0
"""Seconds for which a client may go on sending after the last response, so that it reads that before the end."""

Role = type[h11.CLIENT] | type[h11.SERVER]


class OverLimit(Exception):
    """The limit of bytes is reached."""


class Wire:
    """One HTTP connection; ``spend`` is asked about each piece of bytes and ends it by saying no."""

    __slots__ = ("_spend", "received", "sent", "socket", "state")

    def __init__(self, sock: socket.socket, role: Role, spend: Callable[[int], bool] = lambda size: True) -> None:
        self.socket, self._spend = sock, spend
        self.state = h11.Connection(role, max_incomplete_event_size=LARGEST_HEAD)
        self.sent = self.received = 0

    async def next(self) -> h11.Event | type[h11.PAUSED]:
        """Return the next event of the other side.

        :raises OSError: when the connection is broken.
        :raises h11.RemoteProtocolError: when the other side does not speak HTTP.
        :raises OverLimit: when the limit of bytes is reached.
        """
        while True:
            event = self.state.next_event()
            if not isinstance(event, type) or event is h11.PAUSED:
                return event
            data = await sockets.receive(self.socket)
            self._count(len(data))
            self.received += len(data)
            self.state.receive_data(data)

    async def send(self, event: h11.Event) -> None:
        """Send an event; raises what :meth:`next` raises, and ``h11.LocalProtocolError`` when it is out of place."""
        data = self.state.send(event) or b""
        self._count(len(data))
        await sockets.send(self.socket, data, self._sent)

    def _sent(self, size: int) -> None:
        self.sent += size

    def _count(self, size: int) -> None:
        if not self._spend(size):
            raise OverLimit


async def refuse(client: socket.socket, status: HTTPStatus, text: str) -> None:
    """Send a response of our own and part."""
    body = f"{text}\n".encode()
    head = f"HTTP/1.1 {status.value} {status.phrase}\r\nContent-Type: text/plain; charset=utf-8\r\n"
    head += f"Content-Length: {len(body)}\r\nConnection: close\r\n\r\n"
    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout(PARTING):
            await sockets.send(client, head.encode() + body)
    await part(client)


async def part(client: socket.socket) -> None:
    """End a connection so that what was sent is read: closing with unread bytes would reset it."""
    if client.fileno() < 0:
        return
    with contextlib.suppress(OSError):
        client.shutdown(socket.SHUT_WR)
        async with asyncio.timeout(PARTING):
            while await sockets.receive(client):
                pass
