"""Where an MCP server is reached, and how a connection to it is made: by http, by https, or over a Unix socket."""

from __future__ import annotations

import http.client
import socket
import ssl
from dataclasses import dataclass, replace
from pathlib import Path
from urllib.parse import unquote, urljoin, urlsplit

from thv_core.errors import InvalidRequest
from thv_core.state.files import connect_unix

__all__ = ["Place"]

_OVER_UNIX = "http+unix"
_DEFAULT_PORTS = {"http": 80, "https": 443}


class _UnixConnection(http.client.HTTPConnection):
    """HTTP over a Unix socket, whose path is what stands for the host."""

    def __init__(self, path: Path, timeout: float) -> None:
        super().__init__("localhost", timeout=timeout)
        self._file = path

    def connect(self) -> None:
        """Connect to the socket."""
        self.sock: socket.socket = connect_unix(self._file)
        self.sock.settimeout(self.timeout)


@dataclass(frozen=True)
class Place:
    """One endpoint: its URL, and the certificate that it shows when it is one of this machine, a file in PEM format."""

    url: str
    certificate: str = ""

    def __post_init__(self) -> None:
        """Refuse what is no URL.

        :raises InvalidRequest: when it is none.
        """
        try:
            parts = urlsplit(self.url)
            usable = parts.scheme in (*_DEFAULT_PORTS, _OVER_UNIX) and bool(parts.hostname) and parts.port != 0
        except ValueError:
            usable = False
        if not usable:
            raise InvalidRequest(f"{self.url} is not an http URL")

    @property
    def path(self) -> str:
        """What is asked for: the path and the query."""
        parts = urlsplit(self.url)
        return (parts.path or "/") + (f"?{parts.query}" if parts.query else "")

    def connection(self, timeout: float) -> http.client.HTTPConnection:
        """Return a connection that is not open yet; each wait on it takes ``timeout`` seconds at most."""
        parts = urlsplit(self.url)
        if parts.scheme == _OVER_UNIX:
            return _UnixConnection(Path(unquote(parts.netloc)), timeout)
        host, port = parts.hostname or "", parts.port
        if parts.scheme == "http":
            return http.client.HTTPConnection(host, port, timeout=timeout)
        return http.client.HTTPSConnection(host, port, timeout=timeout, context=self._context())

    def beside(self, reference: str) -> Place:
        """Return the place that a reference names, as a link in a page of this one would.

        :raises InvalidRequest: when that is another host: what is said here is not for others to hear.
        """
        here = urlsplit(self.url)
        if here.scheme == _OVER_UNIX:
            # Only known schemes can be joined.
            path = urlsplit(urljoin(f"http://localhost{self.path}", reference))
            return replace(self, url=f"{here.scheme}://{here.netloc}{path.path}?{path.query}".rstrip("?"))
        found = replace(self, url=urljoin(self.url, reference))
        if _origin(found.url) != _origin(self.url):
            raise InvalidRequest(f"{self.url} names an endpoint of somebody else: {found.url}")
        return found

    def with_path(self, path: str) -> Place:
        """Return another path of the same server."""
        parts = urlsplit(self.url)
        return replace(self, url=f"{parts.scheme}://{parts.netloc}{path}")

    def _context(self) -> ssl.SSLContext:
        context = ssl.create_default_context()
        if self.certificate:
            # It is known by what it shows, whatever name is written in there.
            context.check_hostname = False
            context.load_verify_locations(self.certificate)
        return context


def _origin(url: str) -> tuple[str, str, int]:
    parts = urlsplit(url)
    return parts.scheme, parts.hostname or "", parts.port or _DEFAULT_PORTS.get(parts.scheme, 0)
