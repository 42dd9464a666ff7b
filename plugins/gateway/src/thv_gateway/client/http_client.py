"""Ask an HTTP server: requests are written here, stale connections are evicted, and what may be asked again is."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Protocol

from thv_gateway.client.connection import Broken, Connection, Head
from thv_gateway.client.pool import Busy, Pool

__all__ = ["ENDPOINT", "Carrier", "HttpClient", "Place"]

ENDPOINT = b"/mcp"
"""Where servers answer: the path that the SDKs choose by default."""


@dataclass(frozen=True, slots=True)
class Place:
    """Where a server answers: its ``port``, the line of the head that names its host, and the path of its endpoint."""

    port: int
    host: bytes
    path: bytes = ENDPOINT

    @classmethod
    def inside(cls, port: int) -> Place:
        """Return the place of a server at a port of its own loopback interface."""
        return cls(port, b"host: 127.0.0.1:%d" % port)


class Carrier(Protocol):
    """An exchange from outside: ``connection`` is the one that carries it, ``fault`` a word once it is given up."""

    connection: Connection | None
    fault: str


class HttpClient:
    """Speaks to one incarnation at its place."""

    def __init__(self, pool: Pool, place: Place) -> None:
        self._pool = pool
        self._place = place

    @property
    def path(self) -> str:
        """The path of the endpoint, without a query, which may hold a secret."""
        return self._place.path.partition(b"?")[0].decode("ascii")

    def request(self, method: bytes, fields: Iterable[tuple[bytes, bytes]], body: bytes = b"") -> bytes:
        """Return a whole request to the endpoint."""
        place = self._place
        lines = [method + b" " + place.path + b" HTTP/1.1", place.host]
        lines += [name + b": " + value for name, value in fields]
        if body:
            lines.append(b"content-length: %d" % len(body))
        return b"\r\n".join(lines) + b"\r\n\r\n" + body

    async def ask(self, carrier: Carrier, request: bytes, *, again: bool) -> tuple[Connection, Head]:
        """Send a request and return its connection and the head of the answer.

        Whatever happens, :meth:`release` has to follow.

        :param again: whether it may be sent a second time, when the server closed a connection that was used before.
        :raises Busy: when all connections are taken.
        :raises OSError: when the server accepts none.
        :raises Broken: when no answer comes.
        """
        connection = await self._lease(carrier, fresh=False)
        try:
            return connection, await connection.ask(request)
        except Broken:
            stale = connection.used and not connection.begun
            if carrier.fault or not (stale and again):
                raise
        connection = await self._lease(carrier, fresh=True)
        return connection, await connection.ask(request)

    def release(self, carrier: Carrier) -> None:
        """Let go of the connection of an exchange."""
        if carrier.connection is not None:
            self._pool.release(carrier.connection)
            carrier.connection = None

    async def accepts(self) -> bool:
        """Tell whether the server accepts a connection, or is too busy to say."""
        try:
            connection = await self._pool.lease(self._place.port, fresh=True)
        except (Busy, TimeoutError):
            return True
        except OSError:
            return False
        self._pool.release(connection)
        return True

    async def _lease(self, carrier: Carrier, *, fresh: bool) -> Connection:
        connection = await self._pool.lease(self._place.port, fresh=fresh)
        carrier.connection = connection
        if carrier.fault:
            raise Broken("was given up")
        return connection
