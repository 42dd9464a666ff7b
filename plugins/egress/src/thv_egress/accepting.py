"""Accepting: one task for each connection of a server, and never more of them than the limit."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import socket
from typing import Protocol

from thv_egress import sockets

__all__ = ["Doors", "Service"]


class Service(Protocol):
    """What is behind a listener."""

    async def serve(self, client: socket.socket) -> None:
        """Serve one connection until its end; whatever is left open is closed behind it."""
        ...

    def crowded(self, client: socket.socket) -> None:
        """Note a connection that is about to be reset because there are too many."""
        ...


AT_ONCE = 32
"""Connections that are accepted before the loop sees to others."""

PAUSE = 1.0
"""Seconds without accepting when the process has no descriptors left."""

_log = logging.getLogger(__name__)


class Doors:
    """Listeners that share a limit of connections."""

    __slots__ = ("_limit", "_listeners", "_loop", "_tasks", "_timers")

    def __init__(self, limit: int) -> None:
        self._loop = asyncio.get_running_loop()
        self._limit = limit
        self._listeners: list[socket.socket] = []
        self._tasks: dict[asyncio.Task[None], socket.socket] = {}
        self._timers: dict[socket.socket, asyncio.TimerHandle] = {}

    def open(self, listener: socket.socket, service: Service) -> None:
        """Accept on a listener from now on."""
        self._listeners.append(listener)
        self._loop.add_reader(listener, self._accept, listener, service)

    def close(self) -> None:
        """Close the listeners and abort what is being served."""
        for timer in self._timers.values():
            timer.cancel()
        for listener in self._listeners:
            sockets.discard(listener)
        for task, client in list(self._tasks.items()):
            task.cancel()
            sockets.reset(client)

    def _accept(self, listener: socket.socket, service: Service) -> None:
        for _ in range(AT_ONCE):
            try:
                client, _ = listener.accept()
            except (BlockingIOError, InterruptedError, ConnectionError):
                return
            except OSError as error:
                self._pause(listener, service, error)
                return
            self._admit(client, service)

    def _pause(self, listener: socket.socket, service: Service, error: OSError) -> None:
        _log.warning("no connection can be accepted for a moment: %s", error.strerror)
        self._loop.remove_reader(listener)
        self._timers[listener] = self._loop.call_later(
            PAUSE, self._loop.add_reader, listener, self._accept, listener, service
        )

    def _admit(self, client: socket.socket, service: Service) -> None:
        if len(self._tasks) >= self._limit:
            service.crowded(client)
            sockets.reset(client)
            return
        sockets.prepare(client)
        task = self._loop.create_task(_served(client, service))
        self._tasks[task] = client
        task.add_done_callback(self._tasks.pop)


async def _served(client: socket.socket, service: Service) -> None:
    try:
        # A peer that breaks its own connection is nobody's error.
        with contextlib.suppress(OSError):
            await service.serve(client)
    except Exception:
        _log.exception("a connection was cut because of an error in the egress")
        sockets.reset(client)
    finally:
        sockets.discard(client)
