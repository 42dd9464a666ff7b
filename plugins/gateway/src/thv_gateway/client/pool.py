"""The pool of connections to one server: as many as can be dialled at once, kept alive for a while."""

from __future__ import annotations

import asyncio
import contextlib
import socket
from collections import deque
from collections.abc import Callable, Mapping
from typing import Any, Protocol

from thv_gateway.client.connection import Connection

__all__ = ["IDLE_SECONDS", "MAX_WAITERS", "WAIT_SECONDS", "Busy", "Dialler", "Pool"]

IDLE_SECONDS = 3.0
"""Below what servers wait for the next request: uvicorn and Node close after 5 seconds."""

WAIT_SECONDS = 10.0
_LEAVE_SECONDS = 1.0
MAX_WAITERS = 1024


class Busy(Exception):
    """Every connector is taken, and none became free in time."""


class Dialler(Protocol):
    """Makes connections to one server, at most ``len(dialler)`` at a time.

    ``security`` are keywords of ``loop.create_connection``: those of TLS, or none.
    """

    @property
    def security(self) -> Mapping[str, Any]:
        """How each connection is secured."""
        ...

    @property
    def free(self) -> int:
        """How many connections can be made now."""
        ...

    def __len__(self) -> int: ...

    async def connect(self, port: int) -> tuple[socket.socket, socket.socket]:
        """Connect; return a socket to be given back, and a duplicate of it that a transport may close.

        :raises OSError: when the server accepts none.
        """
        ...

    def give_back(self, connector: socket.socket) -> None:
        """Take back a socket; its duplicates are closed, or about to be."""
        ...

    def close(self) -> None:
        """Make no more connections."""
        ...


def _nobody() -> None:
    """Take no note of a lost connection."""


class Pool:
    """Leases connections of one incarnation; each lease is ended by :meth:`release`.

    ``on_loss`` is called when the server closed a connection that was not in use.
    """

    def __init__(self, dialler: Dialler) -> None:
        self.on_loss: Callable[[], None] = _nobody
        self._dialler = dialler
        self._size = len(dialler)
        # A lease holds a token; what has none is free or idle, so that who has one finds either.
        self._tokens = self._size
        self._queue: deque[asyncio.Future[None]] = deque()
        self._idle: deque[Connection] = deque()
        self._leaving: set[Connection] = set()
        self._freed = asyncio.Event()
        self._closed = False
        self._sweeping = False

    def __len__(self) -> int:
        """How many connections there can be."""
        return self._size

    def take(self) -> Connection | None:
        """Return a connection that was used before, when there is one to be had at once."""
        if self._closed or self._queue or not self._tokens:
            return None
        while self._idle:
            connection = self._idle.pop()
            if connection.is_alive():
                self._tokens -= 1
                connection.leased = True
                return connection
            connection.abort()
        return None

    async def lease(self, port: int, *, fresh: bool = False) -> Connection:
        """Return a connection to ``port``, one that was used before unless ``fresh``.

        :raises Busy: when there is none in time.
        :raises OSError: when the server accepts none.
        """
        await self._token()
        try:
            if self._closed:
                raise Busy
            while self._idle and not fresh:
                connection = self._idle.pop()
                if connection.is_alive():
                    connection.leased = True
                    return connection
                connection.abort()
            return await self._connected(port)
        except BaseException:
            self._give_back_token()
            raise

    def release(self, connection: Connection) -> None:
        """Keep a connection whose exchange is complete, and close any other."""
        if not connection.leased:
            return
        if connection.busy or self._closed:
            connection.abort()
            return
        connection.leased = False
        self._give_back_token()
        if connection.reusable:
            connection.idle_since = asyncio.get_running_loop().time()
            self._idle.append(connection)
            self._sweep_later()
        else:
            self._leave(connection)

    def close(self) -> None:
        """Close every connection and every connector."""
        self.on_loss = _nobody
        self._closed = True
        self._dialler.close()
        self._freed.set()
        for connection in (*self._idle, *self._leaving):
            connection.abort()

    async def _token(self) -> None:
        if self._tokens and not self._queue:
            self._tokens -= 1
            return
        if len(self._queue) >= MAX_WAITERS:
            raise Busy
        turn = asyncio.get_running_loop().create_future()
        self._queue.append(turn)
        try:
            async with asyncio.timeout(WAIT_SECONDS):
                await turn
        except BaseException as error:
            if turn.done() and not turn.cancelled():
                self._give_back_token()
            with contextlib.suppress(ValueError):
                self._queue.remove(turn)
            if isinstance(error, TimeoutError):
                raise Busy from None
            raise

    def _give_back_token(self) -> None:
        """Hand a token to whoever waits longest, or keep it."""
        while self._queue:
            turn = self._queue.popleft()
            if not turn.done():
                turn.set_result(None)
                return
        self._tokens += 1

    async def _connected(self, port: int) -> Connection:
        if not (self._dialler.free or self._leaving) and self._idle:
            self._leaving.add(self._idle.popleft())
        while not (self._dialler.free or self._closed):
            # Whoever holds a token gets a connector: closed connections give theirs back in the next turns.
            for leaving in list(self._leaving):
                leaving.abort()
            self._freed.clear()
            await self._freed.wait()
        if self._closed:
            raise Busy
        connector, stream = await self._dialler.connect(port)
        loop = asyncio.get_running_loop()
        try:
            _, connection = await loop.create_connection(
                lambda: Connection(connector, self._lost), sock=stream, **self._dialler.security
            )
        except BaseException:
            stream.close()
            self._dialler.give_back(connector)
            raise
        return connection

    def _lost(self, connection: Connection) -> None:
        self._dialler.give_back(connection.connector)
        self._leaving.discard(connection)
        self._freed.set()
        if connection.leased:
            connection.leased = False
            self._give_back_token()
        elif connection in self._idle:
            self._idle.remove(connection)
            self.on_loss()

    def _sweep_later(self) -> None:
        if not self._sweeping:
            self._sweeping = True
            asyncio.get_running_loop().call_later(IDLE_SECONDS, self._sweep)

    def _sweep(self) -> None:
        self._sweeping = False
        oldest = asyncio.get_running_loop().time() - IDLE_SECONDS
        while self._idle and self._idle[0].idle_since <= oldest:
            self._leave(self._idle.popleft())
        if self._idle:
            self._sweep_later()

    def _leave(self, connection: Connection) -> None:
        """Close without a reset, which many servers report as an error, unless the connector is needed meanwhile."""
        self._leaving.add(connection)
        connection.finish()
        asyncio.get_running_loop().call_later(_LEAVE_SECONDS, connection.abort)
