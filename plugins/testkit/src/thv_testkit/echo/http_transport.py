"""MCP over streamable HTTP at ``/mcp``: legacy sessions and modern stateless requests on one endpoint."""

from __future__ import annotations

import http.server
import json
import sys
import threading
import uuid
from typing import Any
from urllib.parse import urlsplit

from thv_testkit.echo.calls import Refusal, part
from thv_testkit.echo.server import META, MODERN, Echo, error

__all__ = ["HttpEcho", "serve_http"]

_BODY_LIMIT = 8 << 20
_SESSIONS = 10_000
_LOCAL = ("localhost", "127.0.0.1", "::1")

Json = dict[str, Any]


class HttpEcho(http.server.ThreadingHTTPServer):
    """The listener, with the sessions that were opened over it."""

    daemon_threads = True
    request_queue_size = 256

    def __init__(self, server: Echo, port: int) -> None:
        super().__init__(("127.0.0.1", port), _Handler)
        self.echo = server
        self.sessions: dict[str, None] = {}
        self.lock = threading.Lock()

    @property
    def url(self) -> str:
        """Where the server answers."""
        return f"http://127.0.0.1:{self.server_port}/mcp"

    def open_session(self) -> str:
        """Return the id of a new session; beyond the limit the oldest one is forgotten."""
        session = uuid.uuid4().hex
        with self.lock:
            if len(self.sessions) >= _SESSIONS:
                del self.sessions[next(iter(self.sessions))]
            self.sessions[session] = None
        return session


def serve_http(server: Echo, port: int) -> int:
    """Serve until the process is killed; the first line on standard error names the address."""
    with HttpEcho(server, port) as listener:
        sys.stderr.write(f"echo: listens on {listener.url}\n")
        sys.stderr.flush()
        listener.serve_forever()
    return 0


class _Answer:
    """Where the messages for one POST go: one JSON body, or an event stream as soon as anything precedes the result."""

    def __init__(self, handler: _Handler, headers: dict[str, str], modern: bool) -> None:
        self._handler, self._headers, self._modern = handler, headers, modern
        self._streaming = False

    def send(self, message: Json) -> None:
        is_last = "method" not in message
        if is_last and not self._streaming:
            code = part(message, "error").get("code")
            self._handler.reply(_STATUS.get(code or 0, 200) if self._modern else 200, message, self._headers)
            return
        if not self._streaming:
            self._streaming = True
            self._handler.begin_stream(self._headers)
        self._handler.event(message)


_STATUS = {-32601: 404, -32602: 400, -32020: 400, -32021: 400, -32022: 400}


class _Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True
    wbufsize = -1
    server: HttpEcho  # pyright: ignore[reportIncompatibleVariableOverride] - only HttpEcho makes these

    def do_POST(self) -> None:
        try:
            message = self._message()
            if "method" not in message or "id" not in message:
                self.server.echo.handle(message, lambda _: None)
                self.reply(202, None)
                return
            is_modern = self.server.echo.is_modern(message)
            headers = self._modern(message) if is_modern else self._legacy(message)
        except Refusal as refusal:
            self.reply(refusal.status, error(None, refusal))
            return
        self.server.echo.handle(message, _Answer(self, headers, is_modern).send)

    def do_DELETE(self) -> None:
        with self.server.lock:
            known = self.server.sessions.pop(self.headers.get("mcp-session-id", ""), self)
        self.reply(404 if known is self else 200, None)

    def do_GET(self) -> None:
        self.reply(405, None, {"Allow": "POST, DELETE"})

    def reply(self, status: int, message: Json | None, headers: dict[str, str] | None = None) -> None:
        body = b"" if message is None else json.dumps(message).encode()
        self.send_response_only(status)
        for name, value in (headers or {}).items():
            self.send_header(name, value)
        if message is not None:
            self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)
        self.wfile.flush()

    def begin_stream(self, headers: dict[str, str]) -> None:
        self.send_response_only(200)
        for name, value in headers.items():
            self.send_header(name, value)
        self.send_header("Content-Type", "text/event-stream")
        self.send_header("Cache-Control", "no-cache")
        # The end of the body is the end of the connection.
        self.send_header("Connection", "close")
        self.end_headers()

    def event(self, message: Json) -> None:
        self.wfile.write(b"event: message\ndata: " + json.dumps(message).encode() + b"\n\n")
        self.wfile.flush()

    def log_message(self, format: str, *args: Any) -> None:  # noqa: A002 - the name is http.server's
        """Keep standard error for what tests look for."""

    def _message(self) -> Json:
        origin = self.headers.get("origin")
        if origin is not None and urlsplit(origin).hostname not in _LOCAL:
            raise Refusal(-32600, "this origin may not ask", status=403)
        length = int(self.headers.get("content-length") or 0)
        if length > _BODY_LIMIT:
            self.close_connection = True
            raise Refusal(-32600, f"a body has at most {_BODY_LIMIT} bytes", status=413)
        try:
            message: Any = json.loads(self.rfile.read(length))
        except ValueError:
            raise Refusal(-32700, "the body is not JSON", status=400) from None
        if self.path != "/mcp":
            raise Refusal(-32600, "MCP is spoken at /mcp", status=404)
        if not isinstance(message, dict):
            raise Refusal(-32600, "one body is one message", status=400)
        return part({"message": message}, "message")

    def _legacy(self, message: Json) -> dict[str, str]:
        if message["method"] == "initialize":
            return {"Mcp-Session-Id": self.server.open_session()}
        session = self.headers.get("mcp-session-id")
        if session is None:
            raise Refusal(-32600, "the session id is missing", status=400)
        if session not in self.server.sessions:
            raise Refusal(-32600, "there is no such session", status=404)
        return {}

    def _modern(self, message: Json) -> dict[str, str]:
        params = part(message, "params")
        meta = part(params, "_meta")
        expected = {
            "mcp-protocol-version": meta.get(f"{META}protocolVersion", MODERN),
            "mcp-method": message["method"],
        }
        if message["method"] == "tools/call":
            expected["mcp-name"] = params.get("name")
        for name, value in expected.items():
            if self.headers.get(name) != value:
                raise Refusal(-32020, f"the header {name} does not agree with the body", status=400)
        return {"X-Accel-Buffering": "no"}
