"""A small MCP client over streamable HTTP, for people at a terminal (MCP 2025-11-25, basic transports)."""

from __future__ import annotations

import http.client
import itertools
import json
import time
from collections.abc import Generator, Iterator
from contextlib import contextmanager
from types import TracebackType
from typing import Any, Self, cast
from urllib.parse import urlsplit

from thv_core import __version__
from thv_core.errors import InvalidRequest, ThvError, TimedOut, Unavailable

__all__ = ["McpClient"]

PROTOCOL_VERSION = "2025-11-25"
MOST_PAGES = 100
_PAUSE = 0.1


class McpClient:
    """One session with a server; a context manager that opens and ends it.

    :param patience: seconds in which a refused first connection is tried again: a gateway that is replaced is away for
        a moment.
    """

    def __init__(self, url: str, timeout: float, patience: float = 0.0) -> None:
        try:
            parts = urlsplit(url)
            host, port = parts.hostname, parts.port
        except ValueError:
            raise InvalidRequest(f"{url} is not an http URL") from None
        if parts.scheme not in ("http", "https") or not host:
            raise InvalidRequest(f"{url} is not an http URL")
        kind = http.client.HTTPSConnection if parts.scheme == "https" else http.client.HTTPConnection
        self._patience = patience
        self._url = url
        self._path = parts.path + (f"?{parts.query}" if parts.query else "") or "/"
        self._connection = kind(host, port, timeout=timeout)
        self._headers = {"content-type": "application/json", "accept": "application/json, text/event-stream"}
        self._ids = itertools.count(1)

    def __enter__(self) -> Self:
        try:
            self._open()
        except BaseException:
            self._connection.close()
            raise
        return self

    def _open(self) -> None:
        with self._explained():
            self._connect()
        client = {"name": "thv", "version": __version__}
        opening: dict[str, object] = {"protocolVersion": PROTOCOL_VERSION, "capabilities": {}, "clientInfo": client}
        version = self.request("initialize", opening).get("protocolVersion")
        if not isinstance(version, str):
            raise self._not_mcp("initialize")
        self._headers["mcp-protocol-version"] = version
        self._exchange("POST", {"jsonrpc": "2.0", "method": "notifications/initialized"})

    def _connect(self) -> None:
        deadline = time.monotonic() + self._patience
        while True:
            try:
                self._connection.connect()
                return
            except ConnectionRefusedError:
                if time.monotonic() > deadline:
                    raise
            time.sleep(_PAUSE)

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None
    ) -> None:
        try:
            if "mcp-session-id" in self._headers and value is None:
                self._exchange("DELETE", None)
        finally:
            self._connection.close()

    def request(self, method: str, params: dict[str, object]) -> dict[str, Any]:
        """Return the result of one request.

        :raises ThvError: with the server's message when it answers with an error.
        """
        number = next(self._ids)
        with self._explained():
            response = self._send("POST", {"jsonrpc": "2.0", "id": number, "method": method, "params": params})
            if session := response.headers.get("mcp-session-id"):
                self._headers["mcp-session-id"] = session
            message = self._answer(response, number, method)
        if "error" in message:
            raise ThvError(f"the server refused {method}: {_reason(message['error'])}")
        if not isinstance(message.get("result"), dict):
            raise self._not_mcp(method)
        result: dict[str, Any] = message["result"]
        return result

    def _answer(self, response: http.client.HTTPResponse, number: int, method: str) -> dict[str, Any]:
        try:
            for message in _messages(response):
                if not isinstance(message, dict):
                    raise self._not_mcp(method)
                known = cast("dict[str, Any]", message)
                if known.get("id") == number:
                    response.read()
                    return known
        except ValueError:
            raise self._not_mcp(method) from None
        raise Unavailable(f"{self._url} closed its answer to {method} before it was complete")

    def _not_mcp(self, method: str) -> ThvError:
        return Unavailable(f"{self._url} does not answer {method} as an MCP server would")

    def pages(self, method: str, key: str) -> list[dict[str, Any]]:
        """Return the items of every page of a list request."""
        items: list[dict[str, Any]] = []
        params: dict[str, object] = {}
        for _ in range(MOST_PAGES):
            result = self.request(method, params)
            items += result.get(key, [])
            if not result.get("nextCursor"):
                return items
            params = {"cursor": result["nextCursor"]}
        raise ThvError(f"{method} has more than {MOST_PAGES} pages")

    def _exchange(self, verb: str, message: object) -> None:
        with self._explained():
            self._send(verb, message).read()

    @contextmanager
    def _explained(self) -> Generator[None]:
        try:
            yield
        except TimeoutError:
            raise TimedOut(f"{self._url} did not answer in time") from None
        except (OSError, http.client.HTTPException) as error:
            raise Unavailable(f"{self._url} does not answer: {error}", hint="thv list shows what is running.") from None

    def _send(self, verb: str, message: object) -> http.client.HTTPResponse:
        body = None if message is None else json.dumps(message).encode()
        self._connection.request(verb, self._path, body, self._headers)
        response = self._connection.getresponse()
        if response.status >= 400 and verb == "POST":
            raise _refused(response, self._url)
        return response


def _messages(response: http.client.HTTPResponse) -> Iterator[object]:
    if not response.headers.get("content-type", "").startswith("text/event-stream"):
        yield json.loads(response.read())
        return
    data: list[str] = []
    while line := response.readline():
        text = line.decode().rstrip("\r\n")
        if text.startswith("data:"):
            data.append(text[5:].lstrip(" "))
        elif not text and any(data):
            yield json.loads("\n".join(data))
            data = []


def _reason(error: Any) -> str:
    if not isinstance(error, dict):
        return str(error)
    return str(cast("dict[str, Any]", error).get("message", "no reason given"))


def _refused(response: http.client.HTTPResponse, url: str) -> ThvError:
    text = response.read().decode("utf-8", "replace")
    try:
        reason = str(json.loads(text)["error"]["message"])
    except (ValueError, KeyError, TypeError):
        reason = text[:200]
    return Unavailable(f"{url} answered {response.status}: {reason}")
