"""A company's forward proxy: Basic authentication, CONNECT and absolute URLs, and names that only it resolves."""

from __future__ import annotations

import base64
import contextlib
import select
import socket
import socketserver
import threading
from collections.abc import Callable
from http.server import BaseHTTPRequestHandler
from urllib.parse import quote, urlsplit

Dial = Callable[[str, int], socket.socket]


class _Asked(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: ParentProxy

    def do_CONNECT(self) -> None:
        host, _, port = self.path.rpartition(":")
        if upstream := self._upstream(host, int(port)):
            self.send_response(200)
            self.end_headers()
            self._relay(upstream)

    def do_GET(self) -> None:
        parts = urlsplit(self.path)
        if upstream := self._upstream(parts.hostname or "", parts.port or 80):
            path = parts.path + (f"?{parts.query}" if parts.query else "")
            head = f"{self.command} {path or '/'} HTTP/1.1\r\nhost: {parts.netloc}\r\nconnection: close\r\n\r\n"
            upstream.sendall(head.encode())
            self._relay(upstream)

    def _upstream(self, host: str, port: int) -> socket.socket | None:
        self.close_connection = True
        self.server.asked.append(f"{host}:{port}")
        if self.headers.get("proxy-authorization", "") != self.server.credentials:
            self.send_response(407)
            self.send_header("proxy-authenticate", 'Basic realm="company"')
            self.send_header("content-length", "0")
            self.end_headers()
            return None
        try:
            return self.server.dial(host, port)
        except OSError:
            self.send_error(502)
            return None

    def _relay(self, upstream: socket.socket) -> None:
        self.wfile.flush()
        pairs = {upstream: self.connection, self.connection: upstream}
        with upstream, contextlib.suppress(OSError):
            while ready := select.select(list(pairs), [], [], 20)[0]:
                for each in ready:
                    data = each.recv(65536)
                    if not data:
                        return
                    pairs[each].sendall(data)

    def log_message(self, *_: object) -> None:
        """Say nothing."""


class ParentProxy(socketserver.ThreadingTCPServer):
    """A proxy that listens since its construction; ``asked`` keeps each ``HOST:PORT``, refused ones too."""

    allow_reuse_address = True
    daemon_threads = True
    block_on_close = False

    def __init__(self, address: tuple[str, int], user: str, password: str, dial: Dial) -> None:
        self.dial = dial
        self.credentials = "Basic " + base64.b64encode(f"{user}:{password}".encode()).decode()
        self.url = f"http://{user}:{quote(password)}@{address[0]}:{address[1]}"
        self.asked: list[str] = []
        super().__init__(address, _Asked)
        self._thread = threading.Thread(target=self.serve_forever, args=(0.1,), daemon=True)
        self._thread.start()

    def close(self) -> None:
        """Stop it."""
        self.shutdown()
        self.server_close()
        self._thread.join(10)

    def handle_error(self, *_: object) -> None:
        """Say nothing of clients that go away."""
