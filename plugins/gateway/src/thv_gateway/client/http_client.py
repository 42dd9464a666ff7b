"""Ask an HTTP server: requests are written here, stale connections are evicted, and what may be asked again is."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from typing import NamedTuple, Protocol
from urllib.parse import urljoin, urlsplit

from thv_gateway.client.connection import Broken, Connection, Head
from thv_gateway.client.pool import Busy, Pool

__all__ = ["ENDPOINT", "Carrier", "HttpClient", "Place", "Request", "field_lines", "is_redirection"]

MOST_REDIRECTIONS = 10

_LONGEST_ASIDE = 64 * 1024
"""So much is read of what a redirection says beside where to."""

_LARGE = 64 * 1024

_REDIRECTIONS = frozenset({301, 302, 307, 308})
_LASTING = frozenset({301, 308})
_PORTS = {"http": 80, "https": 443}

ENDPOINT = b"/mcp"
"""Where servers answer: the path that the SDKs choose by default."""


@dataclass(frozen=True, slots=True)
class Place:
    """Where a server answers: its ``port``, the line of the head that names its host, and the path of its endpoint.

    ``origin`` is the scheme and the authority of its URL: whoever is sent to another one is not followed.
    """

    port: int
    host: bytes
    path: bytes = ENDPOINT
    origin: str = ""

    @classmethod
    def inside(cls, port: int) -> Place:
        """Return the place of a server at a port of its own loopback interface."""
        return cls(port, b"host: 127.0.0.1:%d" % port, ENDPOINT, f"http://127.0.0.1:{port}")

    def leading_to(self, location: bytes) -> Place | None:
        """Return where a redirection leads; ``None`` for another origin, or nowhere (RFC 9110, 10.2.2)."""
        try:
            target = urljoin(self.origin + self.path.decode("ascii"), location.decode("ascii"))
            parts = urlsplit(target)
            same = bool(location) and _origin(target) == _origin(self.origin)
        except ValueError:
            return None
        if not same or not target.isprintable() or " " in target:
            return None
        path = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
        return replace(self, path=path.encode("ascii"))


class Request(NamedTuple):
    """A request that is written for any place: ``rest`` is what follows the line that names the host, up to a body."""

    method: bytes
    rest: bytes
    body: bytes = b""

    def at(self, place: Place) -> tuple[bytes, ...]:
        """Return the whole request for a place; a large body stays apart, so that it is not copied."""
        head = (self.method, place.path, place.host, self.rest)
        if len(self.body) < _LARGE:
            return (b"%b %b HTTP/1.1\r\n%b\r\n%b%b" % (*head, self.body),)
        return b"%b %b HTTP/1.1\r\n%b\r\n%b" % head, self.body


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

    def request(self, method: bytes, fields: Iterable[tuple[bytes, bytes]], body: bytes = b"") -> Request:
        """Return a whole request to the endpoint."""
        return self.prepared(method, field_lines(fields), body)

    def prepared(self, method: bytes, lines: bytes, body: bytes = b"") -> Request:
        """Return a whole request whose fields are written already; see :func:`field_lines`."""
        if not body:
            return Request(method, lines + b"\r\n")
        return Request(method, b"%bcontent-length: %d\r\n\r\n" % (lines, len(body)), body)

    async def ask(self, carrier: Carrier, request: Request, *, again: bool) -> tuple[Connection, Head]:
        """Send a request and return its connection and the head of the answer; redirections here are followed.

        Whatever happens, :meth:`release` has to follow.

        :param again: whether it may be sent a second time, when the server closed a connection that was used before.
        :raises Busy: when all connections are taken.
        :raises OSError: when the server accepts none.
        :raises Broken: when no answer comes.
        """
        connection = self._pool.take() or await self._pool.lease(self._place.port)
        carrier.connection = connection
        connection.send(*request.at(self._place))
        return await self.heard(carrier, connection, request, again=again)

    def begin(self, carrier: Carrier, request: Request, act: Callable[[], None]) -> bool:
        """Send a request at once, if there is a connection to be had; :meth:`heard` has to follow.

        :param act: what the connection calls; see :class:`thv_gateway.client.connection.Connection`.
        """
        connection = self._pool.take()
        if connection is None:
            return False
        carrier.connection = connection
        connection.send(*request.at(self._place))
        connection.act = act
        return True

    async def heard(
        self, carrier: Carrier, connection: Connection, request: Request, *, again: bool
    ) -> tuple[Connection, Head]:
        """Return the connection and the head of the answer to a request that was sent; see :meth:`ask`."""
        try:
            head = await connection.answered()
        except Broken:
            stale = connection.used and not connection.begun
            if carrier.fault or not (stale and again):
                raise
            place = self._place
            connection = await self._pool.lease(place.port, fresh=True)
            head = await self._carried(carrier, connection, request.at(place))
        if head.status in _REDIRECTIONS:
            return await self._followed(carrier, request, connection, head)
        return connection, head

    async def _followed(
        self, carrier: Carrier, request: Request, connection: Connection, head: Head
    ) -> tuple[Connection, Head]:
        """Go where a server sends everyone; the answer is a redirection still when it leads too far."""
        place, lasting = self._place, True
        for _ in range(MOST_REDIRECTIONS):
            further = place.leading_to(head.fields.get(b"location", b""))
            if head.status not in _REDIRECTIONS or further is None:
                break
            lasting = lasting and head.status in _LASTING
            place = further
            await connection.body(_LONGEST_ASIDE)
            self.release(carrier)
            connection = self._pool.take() or await self._pool.lease(place.port)
            head = await self._carried(carrier, connection, request.at(place))
        if lasting and head.status not in _REDIRECTIONS:
            self._place = place
        return connection, head

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

    @staticmethod
    async def _carried(carrier: Carrier, connection: Connection, asked: tuple[bytes, ...]) -> Head:
        carrier.connection = connection
        if carrier.fault:
            raise Broken("was given up")
        return await connection.ask(*asked)


def field_lines(fields: Iterable[tuple[bytes, bytes]]) -> bytes:
    """Return header fields as they are written."""
    return b"".join([b"%b: %b\r\n" % field for field in fields])


def is_redirection(head: Head) -> bool:
    """Tell whether an answer sends whoever asked somewhere else; those to the same origin were followed."""
    return head.status in _REDIRECTIONS


def _origin(url: str) -> tuple[str, str | None, int | None]:
    parts = urlsplit(url)
    return parts.scheme, parts.hostname, parts.port or _PORTS.get(parts.scheme)
