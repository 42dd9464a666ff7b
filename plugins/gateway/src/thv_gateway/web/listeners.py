"""Listeners: one per route, on uvicorn's httptools protocol, with bounds that uvicorn lacks."""

from __future__ import annotations

import asyncio
import errno
import os
import socket
from collections.abc import Callable
from typing import Any

from uvicorn.config import Config
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol
from uvicorn.server import ServerState

__all__ = ["MAX_HEAD", "Listener"]

MAX_HEAD = 64 * 1024
MAX_CONNECTIONS = 2048
HEAD_SECONDS = 30.0
KEEPALIVE_SECONDS = 75

_BACKLOG = 1024
_FIRST_PAUSE = 0.05
_LONGEST_PAUSE = 1.0
_TOO_LARGE = b"HTTP/1.1 431 Request Header Fields Too Large\r\nconnection: close\r\ncontent-length: 0\r\n\r\n"


class _BoundedProtocol(HttpToolsProtocol):
    """uvicorn's protocol with a bound on the size of a request head, and on the time it may take."""

    head_since: float | None
    body_since: float | None = None
    _head_size = 0

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override] # uvicorn narrows it too
        self.head_since = self.loop.time()
        super().connection_made(transport)

    def on_message_begin(self) -> None:
        self.head_since = self.loop.time()
        self._head_size = 0
        super().on_message_begin()

    def on_headers_complete(self) -> None:
        self.head_since = None
        self.body_since = self.loop.time()
        super().on_headers_complete()

    def on_message_complete(self) -> None:
        self.body_since = None
        super().on_message_complete()

    def drop_if_slow(self, now: float) -> None:
        """Drop a client that takes too long over a head, or over a body that was answered already."""
        since = self.head_since
        if since is None and self.body_since is not None and self.cycle.response_complete:
            since = self.body_since
        if since is not None and now - since > HEAD_SECONDS:
            self.transport.abort()

    def data_received(self, data: bytes) -> None:
        if self.head_since is not None:
            if self._head_size > MAX_HEAD:
                self.transport.write(_TOO_LARGE)
                self.transport.close()
                return
            self._head_size += len(data)
        super().data_received(data)


class Listener:
    """Listens on one address for as long as the route exists, retrying while the port is taken.

    :param address: host and port.
    :param changed: called when ``bound`` or ``problem`` changes.
    :param shared: whether another listener of ours has the same port on another host; see :meth:`share`.
    """

    def __init__(
        self, address: tuple[str, int], app: Callable[..., Any], changed: Callable[[], None], *, shared: bool = False
    ) -> None:
        self.bound = False
        self.problem = ""
        self._address = address
        self._shared = shared
        self._changed = changed
        self._config = Config(
            app,
            interface="asgi3",
            lifespan="off",
            ws="none",
            log_config=None,
            access_log=False,
            proxy_headers=False,
            limit_concurrency=MAX_CONNECTIONS,
            timeout_keep_alive=KEEPALIVE_SECONDS,
        )
        self._config.load()
        self._state = ServerState()
        self._server: asyncio.Server | None = None
        self._task = asyncio.get_running_loop().create_task(self._serve())

    @property
    def is_used(self) -> bool:
        """Whether a connection is open."""
        return bool(self._state.connections)

    def share(self, *, wanted: bool) -> None:
        """Let another listener of this user be bound to the same port on another host, or no more.

        A host may include another one (0.0.0.0), and both have to be there while one takes the place of the other.
        """
        self._shared = wanted
        for bound in self._server.sockets if self._server is not None else ():
            bound.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, int(wanted))

    def stop_accepting(self) -> None:
        """Take no new connections; every open one is closed after the response that it is sending."""
        self._task.cancel()
        if self._server is not None:
            self._server.close()
        for connection in self._connections():
            connection.shutdown()

    def close(self) -> None:
        """Stop at once; open connections are closed."""
        self.stop_accepting()
        for connection in self._connections():
            connection.transport.close()

    async def _serve(self) -> None:
        await self._bind()
        while True:
            await asyncio.sleep(HEAD_SECONDS / 4)
            self._drop_slow()

    async def _bind(self) -> None:
        loop = asyncio.get_running_loop()
        host, port = self._address
        pause = _FIRST_PAUSE
        while not self.bound:
            try:
                self._server = await loop.create_server(
                    self._protocol, host, port, backlog=_BACKLOG, reuse_address=True, reuse_port=self._shared
                )
            except OSError as error:
                self._say(f"port {port} on {host} cannot be used: {_why(error)}")
                await asyncio.sleep(pause)
                pause = min(pause * 2, _LONGEST_PAUSE)
            else:
                self.bound = True
                self.problem = ""
                self._changed()

    def _say(self, problem: str) -> None:
        if problem != self.problem:
            self.problem = problem
            self._changed()

    def _protocol(self) -> asyncio.Protocol:
        return _BoundedProtocol(config=self._config, server_state=self._state, app_state={})

    def _connections(self) -> list[_BoundedProtocol]:
        return [each for each in list(self._state.connections) if isinstance(each, _BoundedProtocol)]

    def _drop_slow(self) -> None:
        now = asyncio.get_running_loop().time()
        for connection in self._connections():
            connection.drop_if_slow(now)


def _why(error: OSError) -> str:
    if error.errno == errno.EADDRINUSE:
        return "another program listens on it"
    return os.strerror(error.errno) if error.errno else "it cannot be bound"
