"""Listeners that live as long as the connection of whoever asked for them: whoever is killed leaks none."""

from __future__ import annotations

import asyncio
import os
import secrets
from collections.abc import AsyncGenerator, Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, ClassVar

import msgspec
from litestar.response import Response
from litestar.types import ASGIApp

from thv_core.state.files import read_or_none, write_atomically
from thv_core.state.paths import Paths
from thv_supervisor.control.api.answering import Call, line, received
from thv_supervisor.control.api.binding import Bound, bind
from thv_supervisor.control.api.gate import Gate, Policy, Settling
from thv_supervisor.control.api.operation import Answer, Contract, serves
from thv_supervisor.control.api.requests import ListenerRequest
from thv_supervisor.control.api.server import HttpServer
from thv_supervisor.control.api.streaming import Stream
from thv_supervisor.control.api.token import token_in
from thv_supervisor.control.api.views import LeaseLine, Listening
from thv_supervisor.wire import LINES, LISTENERS

__all__ = ["Leases", "ListenerRoom"]

BEAT = 10.0
"""Seconds between two lines that show that a lease lives."""

PATIENCE = 30.0
LEASE = Contract(
    answers={201: Answer("Where it listens, and then an empty object now and then while it does.", LINES, LeaseLine)},
    body=ListenerRequest,
    errors=(409,),
    private=True,
)


@dataclass
class Leases:
    """What every listener is made of, and the event that ends them all."""

    paths: Paths
    settlement: Settling
    application: Callable[[bool], ASGIApp]
    """Returns the application for a listener, with the description of the API or without it."""

    def __post_init__(self) -> None:
        self._parting = asyncio.Event()

    def farewell(self) -> None:
        """Tell everyone who has a lease that control is to end."""
        self._parting.set()

    async def open(self, asked: ListenerRequest) -> Lease:
        """Open a listener.

        :raises InvalidRequest: when it cannot be meant, or may not be.
        :raises PortUnavailable: when somebody else listens there.
        """
        wants_token = not asked.socket and asked.auth != "none"
        token = token_in(self.paths.api_token) if wants_token else ""
        bound = bind(asked)
        policy = Policy(nonce=secrets.token_hex(16), token=token, authorities=bound.authorities)
        server = HttpServer(Gate(self.application(asked.openapi), policy, self.settlement), bound.socket)
        lease = Lease(bound, server, _Discovery(self.paths.discovery, bound.url, policy.nonce), self._parting)
        await lease.begin()
        lease.listening = Listening(url=bound.url, token_file=str(self.paths.api_token) if token else "")
        return lease


class Lease:
    """One listener, and what it says of itself."""

    def __init__(self, bound: Bound, server: HttpServer, discovery: _Discovery, parting: asyncio.Event) -> None:
        self._bound = bound
        self._server = server
        self._discovery = discovery
        self._parting = parting
        self.listening = Listening(url=bound.url)

    async def begin(self) -> None:
        """Listen, and say so where programs of this machine look."""
        try:
            await self._server.start()
            self._discovery.write()
        except BaseException:
            await self.end()
            raise

    async def lines(self) -> AsyncGenerator[bytes, None]:
        """Yield where it listens, and then a sign of life until it or control ends."""
        yield line(LeaseLine(listening=self.listening))
        while not self._server.ended:
            try:
                async with asyncio.timeout(BEAT):
                    await self._parting.wait()
            except TimeoutError:
                yield line(LeaseLine())
                continue
            yield line(LeaseLine(ended="the processes of thv were told to end"))
            return

    async def end(self) -> None:
        """Stop listening and leave nothing behind."""
        self._discovery.withdraw()
        await self._server.close()
        self._bound.clear()


class _Discovery:
    """The file by which desktop apps find the API, as ToolHive writes it: of the listener that was opened last."""

    def __init__(self, path: Path, url: str, nonce: str) -> None:
        self._path = path
        self._url = url
        self._nonce = nonce

    def write(self) -> None:
        document = {
            "url": self._url,
            "pid": os.getpid(),
            "nonce": self._nonce,
            "started_at": datetime.now(UTC).isoformat(timespec="seconds"),
        }
        write_atomically(self._path, msgspec.json.encode(document))

    def withdraw(self) -> None:
        """Remove the file, unless another listener has written it since."""
        if self._nonce.encode() in (read_or_none(self._path) or b""):
            self._path.unlink(missing_ok=True)


class ListenerRoom:
    """The operation that opens a listener."""

    tag: ClassVar[str] = "system"

    def __init__(self, leases: Leases) -> None:
        self._leases = leases

    @serves("POST", LISTENERS, LEASE)
    async def listen(self, call: Call) -> Response[Any]:
        """Listen on TCP or on another Unix socket, for as long as this connection lives."""
        lease = await self._leases.open(await received(call, ListenerRequest))
        return Stream(lease.lines(), 201, LINES, PATIENCE, lease.end)
