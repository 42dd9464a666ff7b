"""Bare non-blocking sockets on any event loop: wait, receive, send, connect, and three ways to let go.

The loop's own ``sock_*`` methods keep a descriptor registered until a cancelled future is seen to, when its number may
belong to somebody else; here a registration ends before its socket closes.
"""

from __future__ import annotations

import asyncio
import contextlib
import errno
import os
import socket
import struct
from collections.abc import Callable

__all__ = ["CHUNK", "connect", "discard", "prepare", "receive", "reset", "send"]

CHUNK = 64 * 1024

KEEP_ALIVE = 60
"""Seconds of silence after which the system asks whether the other side is still there."""

_ABORT = struct.pack("ii", 1, 0)


def prepare(sock: socket.socket) -> None:
    """Send small writes at once, notice peers that vanished, and never block."""
    sock.setblocking(False)
    with contextlib.suppress(OSError):
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPIDLE, KEEP_ALIVE)


async def receive(sock: socket.socket, size: int = CHUNK) -> bytes:
    """Return what has arrived, at least a byte unless the peer has ended.

    :raises OSError: when the connection is broken.
    """
    while True:
        try:
            return sock.recv(size)
        except (BlockingIOError, InterruptedError):
            await _ready(sock, reading=True)


async def send(sock: socket.socket, data: bytes, count: Callable[[int], None] = lambda size: None) -> None:
    """Send all of ``data``, as fast as the peer takes it.

    :param count: told the size of each piece that was sent, also when the rest never is.
    :raises OSError: when the connection is broken.
    """
    rest = memoryview(data)
    while rest:
        try:
            size = sock.send(rest)
        except (BlockingIOError, InterruptedError):
            await _ready(sock, reading=False)
        else:
            rest = rest[size:]
            count(size)


async def connect(sock: socket.socket, address: tuple[str, int]) -> None:
    """Connect to an address; never looks anything up.

    :raises OSError: when it cannot be reached.
    """
    code = sock.connect_ex(address)
    if code == errno.EINPROGRESS:
        await _ready(sock, reading=False)
        code = sock.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR)
    if code:
        raise OSError(code, os.strerror(code))


def discard(sock: socket.socket) -> None:
    """Stop watching a socket and close it; what was sent still arrives."""
    if sock.fileno() >= 0:
        loop = asyncio.get_running_loop()
        loop.remove_reader(sock)
        loop.remove_writer(sock)
        sock.close()


def reset(sock: socket.socket) -> None:
    """Stop watching a socket and abort its connection, so that the peer sees an error and not an end."""
    if sock.fileno() >= 0:
        with contextlib.suppress(OSError):
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _ABORT)
        discard(sock)


async def _ready(sock: socket.socket, *, reading: bool) -> None:
    loop = asyncio.get_running_loop()
    woken = loop.create_future()
    add, remove = (loop.add_reader, loop.remove_reader) if reading else (loop.add_writer, loop.remove_writer)
    add(sock, _wake, woken)
    try:
        await woken
    finally:
        if sock.fileno() >= 0:
            remove(sock)


def _wake(woken: asyncio.Future[None]) -> None:
    if not woken.done():
        woken.set_result(None)
