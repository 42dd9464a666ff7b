"""One MCP session over HTTP that outlives the gateway: each call has a connection of its own, none initialises."""

from __future__ import annotations

import contextlib
import http.client
import itertools
import json
from collections.abc import Callable
from contextlib import AbstractContextManager
from typing import Any
from urllib.parse import urlsplit


class Session:
    """A session; ``sent`` and ``answered`` count the calls of its tool.

    ``place`` is entered for each connection, where the URL is one of another network.
    """

    def __init__(self, url: str, place: Callable[[], AbstractContextManager[None]] = contextlib.nullcontext) -> None:
        parts = urlsplit(url)
        assert parts.hostname
        self._address = (parts.hostname, parts.port)
        self._path = parts.path
        self._place = place
        self._ids = itertools.count(1)
        self._headers = {"content-type": "application/json", "accept": "application/json, text/event-stream"}
        self.sent = 0
        self.answered = 0
        self.last: dict[str, Any] = {}
        opening = {"protocolVersion": "2025-06-18", "capabilities": {}, "clientInfo": {"name": "t", "version": "1"}}
        status, headers, _ = self.post("initialize", opening)
        assert status == 200
        self._headers["mcp-session-id"] = headers["mcp-session-id"]
        self.post("notifications/initialized", None, notification=True)

    def post(self, method: str, params: Any, notification: bool = False) -> tuple[int, Any, Any]:
        """Send one message; return status, headers and decoded body."""
        message: dict[str, Any] = {"jsonrpc": "2.0", "method": method}
        if params is not None:
            message["params"] = params
        if not notification:
            message["id"] = next(self._ids)
        with contextlib.closing(http.client.HTTPConnection(*self._address, timeout=60)) as connection:
            try:
                with self._place():
                    connection.connect()
                connection.request("POST", self._path, json.dumps(message), self._headers)
                response = connection.getresponse()
                body = response.read()
            except http.client.HTTPException as error:
                raise ConnectionError(f"the connection ended: {error!r}") from error
        assert not body or body[:1] == b"{", (response.status, response.headers.items(), body)
        return response.status, response.headers, json.loads(body) if body else None

    def leave(self) -> None:
        """End the session."""
        with contextlib.closing(http.client.HTTPConnection(*self._address, timeout=60)) as connection:
            connection.request("DELETE", self._path, headers=self._headers)
            assert connection.getresponse().status in (200, 204)

    def call(self, tool: str, **arguments: Any) -> Any:
        """Call a tool that must succeed, and decode the text of its result."""
        status, _, body = self.post("tools/call", {"name": tool, "arguments": arguments})
        assert status == 200, (status, body)
        assert "result" in body, body
        return json.loads(body["result"]["content"][0]["text"])

    def count(self) -> dict[str, Any]:
        """Call the counting tool once; raise ``ConnectionError`` when no answer came."""
        self.sent += 1
        status, _, body = self.post("tools/call", {"name": "count", "arguments": {}})
        if status != 200 or "result" not in body:
            raise ConnectionError(f"{status} {body}")
        self.answered += 1
        self.last = json.loads(body["result"]["content"][0]["text"])
        return self.last
