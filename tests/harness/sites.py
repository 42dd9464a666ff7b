"""The servers of the test network, each a thread of the tests: HTTP and HTTPS, names, datagrams."""

from __future__ import annotations

import contextlib
import ipaddress
import socket
import socketserver
import ssl
import struct
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler
from typing import Any
from urllib.parse import parse_qs, urlsplit

A, AAAA = 1, 28
NO_SUCH_NAME = 3
CHUNK = bytes(1 << 20)


@dataclass(frozen=True)
class Visit:
    """One request that a site got."""

    site: str
    path: str
    host: str
    client: str
    body: bytes = b""


@dataclass
class Site:
    """What one host of the test network serves: ``pages`` maps paths to what is there; every visit is kept."""

    name: str
    pages: dict[str, tuple[str, bytes]] = field(default_factory=dict)
    visits: list[Visit] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.pages.setdefault("/", ("text/html", f"<html><body><p>the page of {self.name}</p></body></html>".encode()))

    def visited(self, path: str) -> bool:
        """Whether a path was asked for."""
        return any(visit.path.startswith(path) for visit in self.visits)


class _Visitor(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: _SiteServer

    def do_GET(self) -> None:
        body = self.rfile.read(int(self.headers.get("content-length", 0)))
        parts = urlsplit(self.path)
        site = self.server.site
        host = self.headers.get("host", "")
        site.visits.append(Visit(site.name, self.path, host, self.client_address[0], body))
        if parts.path == "/bytes":
            self._many(int(parse_qs(parts.query)["count"][0]))
            return
        kind, page = site.pages.get(parts.path, ("", b"nothing is here"))
        self.send_response(200 if kind else 404)
        self.send_header("content-type", kind or "text/plain")
        self.send_header("content-length", str(len(page)))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(page)

    def do_HEAD(self) -> None:
        self.do_GET()

    def do_POST(self) -> None:
        self.do_GET()

    def _many(self, count: int) -> None:
        self.send_response(200)
        self.send_header("content-length", str(count))
        self.end_headers()
        while count > 0:
            self.wfile.write(CHUNK[:count])
            count -= len(CHUNK)

    def log_message(self, *_: object) -> None:
        """Say nothing."""


class _SiteServer(socketserver.ThreadingTCPServer):
    allow_reuse_address = True
    daemon_threads = True
    block_on_close = False
    request_queue_size = 128

    def __init__(self, address: tuple[str, int], site: Site, tls: ssl.SSLContext | None) -> None:
        self.address_family = socket.AF_INET6 if ":" in address[0] else socket.AF_INET
        self.site, self.tls = site, tls
        super().__init__(address, _Visitor)

    def finish_request(self, request: Any, client_address: Any) -> None:
        if self.tls is None:
            super().finish_request(request, client_address)
            return
        request.settimeout(20)
        with contextlib.suppress(OSError), self.tls.wrap_socket(request, server_side=True) as secured:
            super().finish_request(secured, client_address)

    def handle_error(self, *_: object) -> None:
        """Say nothing of clients that go away."""


class Served:
    """A site at one address and port, listening since its construction, served by a thread."""

    def __init__(self, site: Site, address: str, port: int, tls: ssl.SSLContext | None = None) -> None:
        self._server = _SiteServer((address, port), site, tls)
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.1,), daemon=True)
        self._thread.start()

    def close(self) -> None:
        """Stop it."""
        self._server.shutdown()
        self._server.server_close()
        self._thread.join(10)


class Datagrams:
    """A UDP server in a thread, which sends back what :meth:`answer` makes of each datagram; ``received`` keeps all."""

    def __init__(self, listening: socket.socket) -> None:
        self.received: list[bytes] = []
        self._socket = listening
        self._socket.settimeout(0.1)
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._serve, daemon=True)
        self._thread.start()

    def answer(self, datagram: bytes) -> bytes:
        """Return the datagram itself."""
        return datagram

    def close(self) -> None:
        """Stop it."""
        self._over.set()
        self._thread.join(10)
        self._socket.close()

    def _serve(self) -> None:
        while not self._over.is_set():
            with contextlib.suppress(TimeoutError, ConnectionError):
                datagram, client = self._socket.recvfrom(65536)
                self.received.append(datagram)
                self._socket.sendto(self.answer(datagram), client)


class Names(Datagrams):
    """A DNS server (RFC 1035): ``known`` maps names to addresses and may change at any time; ``asked`` keeps names."""

    def __init__(self, listening: socket.socket, known: dict[str, list[str]]) -> None:
        self.known = known
        self.asked: list[str] = []
        super().__init__(listening)

    def answer(self, datagram: bytes) -> bytes:
        """Return the addresses of a name, none of another kind, or that there is no such name."""
        labels, at = [], 12
        while length := datagram[at]:
            labels.append(datagram[at + 1 : at + 1 + length].decode())
            at += length + 1
        name = ".".join(labels).lower()
        self.asked.append(name)
        (kind,) = struct.unpack("!H", datagram[at + 1 : at + 3])
        records = list(_records(self.known.get(name, []), kind))
        code = 0 if name in self.known else NO_SUCH_NAME
        head = datagram[:2] + struct.pack("!HHHHH", 0x8180 | code, 1, len(records), 0, 0)
        return head + datagram[12 : at + 5] + b"".join(records)


def _records(addresses: list[str], kind: int) -> Iterator[bytes]:
    for address in map(ipaddress.ip_address, addresses):
        if kind == (A if address.version == 4 else AAAA):
            yield struct.pack("!HHHIH", 0xC00C, kind, 1, 0, len(address.packed)) + address.packed
