"""Parent proxies: which one a connection takes, as curl reads the variables (pure), and the tunnel through it."""

from __future__ import annotations

import base64
import ipaddress
import re
import socket
from collections.abc import Mapping
from dataclasses import dataclass, field
from urllib.parse import unquote, urlsplit

from thv_core.errors import InvalidRequest, Unsupported
from thv_egress import sockets
from thv_egress.addresses import literal
from thv_egress.rules import canonical_target

__all__ = ["Parent", "Parents", "TunnelRefused", "authority", "tunnel"]

LONGEST_HEAD = 16 * 1024
WEB_PORT = 80

_STATUS = re.compile(rb"HTTP/1\.[01] (\d{3})(?: |\r)")
_WORDS = {
    403: "refuses to connect there (403)",
    407: "wants other credentials (407)",
    502: "cannot reach it (502)",
    503: "cannot reach it (503)",
    504: "waited too long for it (504)",
}


class TunnelRefused(Exception):
    """A parent proxy does not connect; the message is the reason."""


@dataclass(frozen=True)
class Parent:
    """A parent proxy; ``authorization`` is the value of ``Proxy-Authorization``, or empty."""

    host: str
    port: int
    authorization: bytes = field(default=b"", repr=False)

    @property
    def label(self) -> str:
        """Its host and port, for the record."""
        return authority(self.host, self.port)


class Parents:
    """Chooses the parent proxy of each connection.

    Port 80 follows ``HTTP_PROXY``, every other port ``HTTPS_PROXY``. ``NO_PROXY`` lists hosts that are connected
    directly: a name stands for itself and what lies below it, addresses and networks for addresses, ``*`` for
    everything; each may end in a port.

    :raises InvalidRequest: when a variable is no proxy.
    :raises Unsupported: when it is of a kind that is not offered.
    """

    __slots__ = ("_direct", "_secure", "_web")

    def __init__(self, variables: Mapping[str, str]) -> None:
        self._web = _parent("HTTP_PROXY", variables)
        self._secure = _parent("HTTPS_PROXY", variables)
        listed = re.split(r"[\s,]+", variables.get("NO_PROXY", "").lower())
        self._direct = tuple(_split_port(entry) for entry in listed if entry)

    def choose(self, host: str, port: int) -> Parent | None:
        """Return the parent proxy on the way to a host, or ``None`` for a direct connection."""
        parent = self._web if port == WEB_PORT else self._secure
        if parent is None or any(only in (0, port) and _covers(entry, host) for entry, only in self._direct):
            return None
        return parent


async def tunnel(sock: socket.socket, parent: Parent, target: str) -> bytes:
    """Ask a parent proxy, to which ``sock`` is connected, for a tunnel; return the bytes that follow its answer.

    :param target: host and port.
    :raises OSError: when the connection breaks.
    :raises TunnelRefused: when it says no, or nothing that can be understood.
    """
    head = b"CONNECT %s HTTP/1.1\r\nHost: %s\r\n" % (target.encode(), target.encode())
    if parent.authorization:
        head += b"Proxy-Authorization: %s\r\n" % parent.authorization
    await sockets.send(sock, head + b"\r\n")
    answer = b""
    while b"\r\n\r\n" not in answer:
        received = await sockets.receive(sock)
        answer += received
        if not received or len(answer) > LONGEST_HEAD:
            raise TunnelRefused("the parent proxy does not answer like one")
    head, _, early = answer.partition(b"\r\n\r\n")
    status = _STATUS.match(head + b"\r")
    if status is None:
        raise TunnelRefused("the parent proxy does not answer like one")
    code = int(status[1])
    if code // 100 != 2:
        raise TunnelRefused(f"the parent proxy {_WORDS.get(code, f'answers with {code}')}")
    return early


def authority(host: str, port: int) -> str:
    """Write a host and port as one: an IPv6 address in brackets."""
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"


def _parent(variable: str, variables: Mapping[str, str]) -> Parent | None:
    text = variables.get(variable, "").strip()
    if not text:
        return None
    hint = f"Set {variable} to http://HOST:PORT or http://USER:PASSWORD@HOST:PORT."
    try:
        url = urlsplit(text if "://" in text else f"http://{text}")
        host, port = canonical_target(url.hostname or ""), url.port or WEB_PORT
    except ValueError:
        host, port, url = "", 0, urlsplit("")
    if url.scheme and url.scheme != "http":
        raise Unsupported(f"{variable} names a proxy of the kind {url.scheme}://, which is not offered", hint=hint)
    if not host:
        raise InvalidRequest(f"{variable} names no proxy", hint=hint)
    return Parent(host, port, _basic(url.username or "", url.password or ""))


def _basic(user: str, password: str) -> bytes:
    if not user and not password:
        return b""
    return b"Basic " + base64.b64encode(f"{unquote(user)}:{unquote(password)}".encode())


def _split_port(entry: str) -> tuple[str, int]:
    if entry.startswith("["):
        host, _, port = entry[1:].partition("]")
        return host, _number(port.removeprefix(":"))
    if entry.count(":") == 1:
        host, _, port = entry.partition(":")
        return host, _number(port)
    return entry, 0


def _number(text: str) -> int:
    return int(text) if text.isascii() and text.isdigit() else 0


def _covers(entry: str, host: str) -> bool:
    if entry == "*":
        return True
    address = literal(host)
    if address is not None:
        try:
            return address in ipaddress.ip_network(entry, strict=False)
        except ValueError:
            return False
    name = entry.removeprefix("*").strip(".")
    return bool(name) and (host == name or host.endswith(f".{name}"))
