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
from thv_supervisor.event_stream import bodies

__all__ = ["McpClient", "Refusal"]

PROTOCOL_VERSION = "2025-11-25"
MOST_PAGES = 100
METHOD_NOT_FOUND = -32601
_PAUSE = 0.1


class Refusal(ThvError):
    """A server answered a request with an error; ``number`` is its JSON-RPC code, 0 when it named none."""

    number = 0


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
        self._timeout = timeout
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
        ends = time.monotonic() + self._timeout
        with self._explained():
            response = self._send("POST", {"jsonrpc": "2.0", "id": number, "method": method, "params": params})
            if session := response.headers.get("mcp-session-id"):
                self._headers["mcp-session-id"] = session
            message = self._answer(response, number, method, ends)
        if "error" in message:
            raise _refusal(method, message["error"])
        if not isinstance(message.get("result"), dict):
            raise self._not_mcp(method)
        result: dict[str, Any] = message["result"]
        return result

    def _answer(self, response: http.client.HTTPResponse, number: int, method: str, ends: float) -> dict[str, Any]:
        try:
            for message in _messages(response, ends):
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

    def offered(self, method: str, key: str) -> list[dict[str, Any]]:
        """Return the items of every page of a list request; none when the server does not know the request."""
        try:
            return self.pages(method, key)
        except Refusal as refusal:
            if refusal.number != METHOD_NOT_FOUND:
                raise
            return []

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
            raise _refused(response, self._url, str(cast("dict[str, Any]", message).get("method", "a message")))
        return response


def _messages(response: http.client.HTTPResponse, ends: float) -> Iterator[object]:
    for event in bodies(response):
        # What keeps a stream alive is no answer.
        if time.monotonic() > ends:
            raise TimeoutError
        if event.data:
            yield json.loads(event.data)


def _refusal(method: str, error: object) -> Refusal:
    if not isinstance(error, dict):
        return Refusal(f"the server refused {method}: {error}")
    known = cast("dict[str, Any]", error)
    refusal = Refusal(f"the server refused {method}: {known.get('message', 'no reason given')}")
    number = known.get("code")
    refusal.number = number if isinstance(number, int) else 0
    return refusal


def _refused(response: http.client.HTTPResponse, url: str, method: str) -> ThvError:
    text = response.read().decode("utf-8", "replace")
    try:
        error: dict[str, Any] = json.loads(text)["error"]
        reason, number = str(error["message"]), error.get("code")
    except (ValueError, KeyError, TypeError):
        error, reason, number = {}, text[:200], 0
    if number == METHOD_NOT_FOUND:
        # A server may say so by the status as well.
        return _refusal(method, error)
    return Unavailable(f"{url} answered {response.status}: {reason}")
