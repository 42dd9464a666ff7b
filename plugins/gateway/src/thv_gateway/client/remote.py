"""Connections to a server that runs somewhere else, by the URL of its endpoint.

The certificate of an ``https`` server is always verified. Its names are looked up anew for each connection, and every
address is tried, the next one while the one before keeps silent (RFC 8305).
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import socket
import ssl
from collections.abc import Mapping, Sequence
from itertools import chain, zip_longest
from pathlib import Path
from typing import Any
from urllib.parse import SplitResult, urlsplit

from thv_core.errors import InvalidRequest
from thv_gateway.client.http_client import Place

__all__ = ["MOST_CONNECTIONS", "Remote", "Trust", "explained", "place_of"]

MOST_CONNECTIONS = 1536
CONNECT_SECONDS = 10.0
HANDSHAKE_SECONDS = 10.0

_NEXT_SECONDS = 0.25
_MOST_ADDRESSES = 8
_PORTS = {"http": 80, "https": 443}
_Address = tuple[socket.AddressFamily, Any]


class Trust:
    """The certificates by which servers are trusted: those of the system, and those that the user has chosen.

    :param certificates: the path of a file of further ones; OpenSSL itself reads ``SSL_CERT_FILE``.
    """

    def __init__(self, certificates: str = "") -> None:
        self._certificates = certificates
        self._context: ssl.SSLContext | None = None

    async def context(self) -> ssl.SSLContext:
        """Return the one context of this process, made when it is first needed.

        :raises OSError: when the chosen certificates cannot be read.
        """
        if self._context is None:
            self._context = await asyncio.to_thread(self._made)
        return self._context

    def _made(self) -> ssl.SSLContext:
        context = ssl.create_default_context()
        context.set_alpn_protocols(["http/1.1"])
        if self._certificates and Path(self._certificates).exists():
            context.load_verify_locations(cafile=self._certificates)
        return context


class Remote:
    """Dials the server of a URL; see :class:`thv_gateway.client.pool.Dialler`.

    :param security: how its connections are secured, as the keywords of ``create_connection``; none for ``http``.
    """

    def __init__(self, parts: SplitResult, security: Mapping[str, Any]) -> None:
        self.security = security
        self._name = parts.hostname or ""
        self._port = parts.port or _PORTS[parts.scheme]
        self._taken: set[socket.socket] = set()

    @classmethod
    async def of(cls, url: str, trust: Trust) -> Remote:
        """Return what dials the server of a URL.

        :raises InvalidRequest: when it is no such URL.
        :raises OSError: when the chosen certificates cannot be read.
        """
        parts = _parts(url)
        if parts.scheme == "http":
            return cls(parts, {})
        context = await trust.context()
        secured = {"ssl": context, "server_hostname": parts.hostname, "ssl_handshake_timeout": HANDSHAKE_SECONDS}
        return cls(parts, secured)

    def __len__(self) -> int:
        """How many connections there may be."""
        return MOST_CONNECTIONS

    @property
    def free(self) -> int:
        """How many more there may be now."""
        return MOST_CONNECTIONS - len(self._taken)

    async def connect(self, port: int) -> tuple[socket.socket, socket.socket]:
        """Connect to the server; return the socket with a duplicate that a transport may close.

        :param port: says nothing here, the URL does.
        :raises OSError: when its name is unknown, or when none of its addresses accepts, or not in time.
        """
        async with asyncio.timeout(CONNECT_SECONDS):
            found = await asyncio.get_running_loop().getaddrinfo(self._name, self._port, type=socket.SOCK_STREAM)
            connected = await _first(_in_turn([(family, address) for family, _, _, _, address in found]))
        connected.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._taken.add(connected)
        return connected, connected.dup()

    def give_back(self, connector: socket.socket) -> None:
        """Close a socket; its duplicates are closed, or about to be."""
        self._taken.discard(connector)
        connector.close()

    def close(self) -> None:
        """Close nothing: what is taken is given back."""


def place_of(url: str) -> Place:
    """Return what requests to the endpoint of a URL say of it.

    :raises InvalidRequest: when it is no such URL.
    """
    parts = _parts(url)
    name = f"[{parts.hostname}]" if ":" in (parts.hostname or "") else parts.hostname
    host = f"{name}:{parts.port}" if parts.port else f"{name}"
    path = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
    return Place(0, b"host: " + host.encode("ascii"), path.encode("ascii"), f"{parts.scheme}://{host}")


def explained(error: OSError) -> str:
    """Say why a server cannot be reached, in words that follow its name."""
    if isinstance(error, ssl.SSLCertVerificationError):
        return f"shows a certificate that is not trusted: {error.verify_message}"
    if isinstance(error, ssl.SSLError):
        return f"speaks no TLS that we understand: {error.reason or type(error).__name__}"
    if isinstance(error, socket.gaierror):
        return "has a host name that cannot be resolved"
    if isinstance(error, TimeoutError):
        return f"accepted no connection within {CONNECT_SECONDS:g} s"
    return f"accepts no connections: {os.strerror(error.errno) if error.errno else type(error).__name__}"


def _parts(url: str) -> SplitResult:
    try:
        parts = urlsplit(url)
        usable = parts.scheme in _PORTS and bool(parts.hostname) and parts.port != 0
    except ValueError:
        parts, usable = SplitResult("", "", "", "", ""), False
    if not usable or not url.isascii() or not url.isprintable() or " " in url:
        raise InvalidRequest(
            f"{url!r} is not the URL of an MCP endpoint", hint="Write it like  https://mcp.example.com/mcp"
        )
    if "@" in parts.netloc:
        raise InvalidRequest("the URL of an MCP endpoint must not hold a password")
    return parts


def _in_turn(addresses: Sequence[_Address]) -> list[_Address]:
    """Alternate between the families, the one that the system prefers first (RFC 8305, 4)."""
    preferred = [each for each in addresses if each[0] == addresses[0][0]]
    others = [each for each in addresses if each[0] != addresses[0][0]]
    pairs = chain.from_iterable(zip_longest(preferred, others))
    return [each for each in pairs if each is not None][:_MOST_ADDRESSES]


async def _first(addresses: Sequence[_Address]) -> socket.socket:
    """Return the first connection that comes about, and give up the others."""
    attempts: set[asyncio.Task[socket.socket]] = set()
    failures: list[BaseException] = []
    try:
        for left, address in enumerate(addresses, start=1 - len(addresses)):
            attempts.add(asyncio.create_task(_dialled(address)))
            connected = await _one_of(attempts, _NEXT_SECONDS if left else None, failures)
            if connected is not None:
                return connected
    finally:
        for attempt in attempts:
            attempt.cancel()
            attempt.add_done_callback(_closed)
    raise failures[-1] if failures else OSError("no address")


async def _one_of(
    attempts: set[asyncio.Task[socket.socket]], patience: float | None, failures: list[BaseException]
) -> socket.socket | None:
    """Wait for one to succeed, until one fails or for as long as the patience lasts; without, until all have failed."""
    while attempts:
        done, _ = await asyncio.wait(attempts, timeout=patience, return_when=asyncio.FIRST_COMPLETED)
        for attempt in done:
            attempts.discard(attempt)
            failure = attempt.exception()
            if failure is None:
                return attempt.result()
            failures.append(failure)
        if patience is not None:
            break
    return None


def _closed(attempt: asyncio.Task[socket.socket]) -> None:
    with contextlib.suppress(OSError, asyncio.CancelledError):
        attempt.result().close()


async def _dialled(address: _Address) -> socket.socket:
    family, where = address
    stream = socket.socket(family, socket.SOCK_STREAM)
    stream.setblocking(False)
    try:
        await asyncio.get_running_loop().sock_connect(stream, where)
    except BaseException:
        stream.close()
        raise
    return stream
