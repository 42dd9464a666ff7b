"""One HTTP server of the API beside the one on the control socket, in the same event loop."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Generator
from contextlib import contextmanager
from typing import Any

import h11
import uvicorn
from uvicorn.protocols.http.h11_impl import H11Protocol

from thv_core.errors import Unavailable
from thv_supervisor.control.api.binding import BACKLOG

__all__ = ["HttpServer"]

HEAD_TIME = 10.0
"""Seconds in which the head of a request must have arrived."""

IDLE_TIME = 60
LONGEST_HEAD = 32 << 10
MOST_CONNECTIONS = 256
FAREWELL = 1
"""Seconds that answers under way may take when a listener is closed."""


class _GuardedProtocol(H11Protocol):
    """HTTP/1.1 whose clients may neither dribble nor crowd: uvicorn itself waits for a head for ever."""

    _due: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override] # uvicorn narrows it too
        super().connection_made(transport)
        if len(self.connections) > MOST_CONNECTIONS:
            transport.abort()
            return
        self._expect_head()

    def data_received(self, data: bytes) -> None:
        super().data_received(data)
        self._expect_head()

    def on_response_complete(self) -> None:
        super().on_response_complete()
        if self.conn.trailing_data[0]:
            self._expect_head()

    def connection_lost(self, exc: Exception | None) -> None:
        self._arrived()
        super().connection_lost(exc)

    def _expect_head(self) -> None:
        if self.conn.their_state is not h11.IDLE:
            self._arrived()
        elif self._due is None:
            self._due = self.loop.call_later(HEAD_TIME, self.transport.abort)

    def _arrived(self) -> None:
        if self._due is not None:
            self._due.cancel()
            self._due = None


class _Server(uvicorn.Server):
    """A server that leaves the signals of the process to the one on the control socket."""

    @contextmanager
    def capture_signals(self) -> Generator[None, None, None]:
        yield


class HttpServer:
    """An ASGI application served on one bound socket until it is closed."""

    def __init__(self, app: Any, bound: socket.socket) -> None:
        self._bound = bound
        self._server = _Server(
            uvicorn.Config(
                app,
                http=_GuardedProtocol,
                ws="none",
                lifespan="off",
                log_config=None,
                log_level="warning",
                access_log=False,
                server_header=False,
                backlog=BACKLOG,
                h11_max_incomplete_event_size=LONGEST_HEAD,
                timeout_keep_alive=IDLE_TIME,
                timeout_graceful_shutdown=FAREWELL,
            )
        )
        self._serving: asyncio.Task[None] | None = None

    async def start(self) -> None:
        """Listen.

        :raises Unavailable: when that is not possible.
        """
        self._serving = asyncio.create_task(self._server.serve(sockets=[self._bound]), name="API listener")
        while not self._server.started:
            if self._serving.done():
                raise Unavailable("the listener ended before it began", evidence=[str(self._serving.exception())])
            await asyncio.sleep(0.005)

    @property
    def ended(self) -> bool:
        """Whether nobody listens any more."""
        return self._serving is None or self._serving.done()

    async def close(self) -> None:
        """Let answers under way end for a moment, and stop listening."""
        self._server.should_exit = True
        if self._serving is not None:
            await asyncio.gather(self._serving, return_exceptions=True)
        self._bound.close()
