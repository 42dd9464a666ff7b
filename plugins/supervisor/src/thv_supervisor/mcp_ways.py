"""The two ways to ask an MCP server over HTTP: by requests, and by the older pair of a stream and requests.

Source: MCP 2025-11-25, basic/transports (streamable HTTP), and 2024-11-05 (HTTP with SSE).
"""

from __future__ import annotations

import http.client
import json
import time
from collections.abc import Iterator, Mapping
from typing import Any, Protocol, cast

from thv_core.errors import Unavailable
from thv_supervisor.event_stream import MOST_BYTES, Event, bodies, events
from thv_supervisor.places import Place

__all__ = ["EventWay", "Rejected", "RequestWay", "Way"]

_PAUSE = 0.1

MOST_REASON = 1 << 20
"""Bytes of a refusal that are read for its reason."""


class Rejected(Unavailable):
    """A server answered a request with an HTTP status that is no success; ``error`` is that in the body, if any."""

    status = 0
    error: Mapping[str, Any] = {}


class Way(Protocol):
    """Carries messages to a server, and its messages back."""

    headers: dict[str, str]

    def open(self, patience: float) -> None:
        """Connect; a refused connection is tried again for ``patience`` seconds."""

    def ask(self, message: Mapping[str, Any], ends: float) -> Iterator[object]:
        """Send a request, and yield what arrives until a moment of the clock that never jumps."""
        ...

    def tell(self, message: Mapping[str, Any]) -> None:
        """Send what has no answer."""

    def leave(self) -> None:
        """End the session, if there is one."""

    def close(self) -> None:
        """Close every connection."""


class RequestWay:
    """Streamable HTTP: each message is a POST, whose response has the answer."""

    def __init__(self, place: Place, timeout: float) -> None:
        self._place = place
        self._connection = place.connection(timeout)
        self._last: http.client.HTTPResponse | None = None
        self.headers = {"content-type": "application/json", "accept": "application/json, text/event-stream"}

    def open(self, patience: float) -> None:
        """See :meth:`Way.open`."""
        _connected(self._connection, patience)

    def ask(self, message: Mapping[str, Any], ends: float) -> Iterator[object]:
        """See :meth:`Way.ask`; whoever stops before its end has found the answer."""
        response = self._sent("POST", message)
        if session := response.headers.get("mcp-session-id"):
            self.headers["mcp-session-id"] = session
        yield from _messages(bodies(response), ends)

    def tell(self, message: Mapping[str, Any]) -> None:
        """See :meth:`Way.tell`."""
        self._sent("POST", message).read(MOST_BYTES)

    def leave(self) -> None:
        """See :meth:`Way.leave`."""
        if "mcp-session-id" in self.headers:
            self._sent("DELETE", None).read(MOST_BYTES)

    def close(self) -> None:
        """See :meth:`Way.close`."""
        self._connection.close()

    def _sent(self, verb: str, message: Mapping[str, Any] | None) -> http.client.HTTPResponse:
        body = None if message is None else json.dumps(message).encode()
        if self._last is not None and not self._last.isclosed():
            # What follows an answer may never end.
            self._connection.close()
        self._connection.request(verb, self._place.path, body, self.headers)
        response = self._last = self._connection.getresponse()
        if response.status >= 400 and verb == "POST":
            raise _rejected(response, self._place.url)
        return response


class EventWay:
    """HTTP with SSE: one stream has every answer, and its first event names where requests are posted."""

    def __init__(self, place: Place, timeout: float) -> None:
        self._place = place
        self._timeout = timeout
        self._stream = place.connection(timeout)
        self._events: Iterator[Event] = iter(())
        self._target = place
        self.headers = {"content-type": "application/json"}

    def open(self, patience: float) -> None:
        """See :meth:`Way.open`.

        :raises Rejected: when the server has no such stream.
        """
        _connected(self._stream, patience)
        self._stream.request("GET", self._place.path, headers={"accept": "text/event-stream"})
        response = self._stream.getresponse()
        if response.status != 200:
            raise _rejected(response, self._place.url)
        self._events = events(response)
        first = next((each for each in self._events if each.data), None)
        if first is None or first.kind != "endpoint":
            raise Unavailable(f"{self._place.url} does not begin its stream as an MCP server would")
        self._target = self._place.beside(first.data.decode("utf-8", "replace"))

    def ask(self, message: Mapping[str, Any], ends: float) -> Iterator[object]:
        """See :meth:`Way.ask`."""
        self.tell(message)
        yield from _messages(self._events, ends)

    def tell(self, message: Mapping[str, Any]) -> None:
        """See :meth:`Way.tell`."""
        connection = self._target.connection(self._timeout)
        try:
            connection.request("POST", self._target.path, json.dumps(message).encode(), self.headers)
            response = connection.getresponse()
            if response.status >= 400:
                raise _rejected(response, self._target.url)
            response.read()
        finally:
            connection.close()

    def leave(self) -> None:
        """End nothing: a session of this transport ends with its stream."""

    def close(self) -> None:
        """See :meth:`Way.close`."""
        self._stream.close()


def _connected(connection: http.client.HTTPConnection, patience: float) -> None:
    deadline = time.monotonic() + patience
    while True:
        try:
            connection.connect()
            return
        except (ConnectionRefusedError, FileNotFoundError):
            if time.monotonic() > deadline:
                raise
        time.sleep(_PAUSE)


def _messages(stream: Iterator[Event], ends: float) -> Iterator[object]:
    for event in stream:
        # What keeps a stream alive is no answer.
        if time.monotonic() > ends:
            raise TimeoutError
        if event.data:
            yield json.loads(event.data)


def _rejected(response: http.client.HTTPResponse, url: str) -> Rejected:
    text = response.read(MOST_REASON).decode("utf-8", "replace")
    error: dict[str, Any] = {}
    reason = text[:200]
    try:
        error = cast("dict[str, Any]", json.loads(text)["error"])
        reason = str(error["message"])
    except (ValueError, KeyError, TypeError):
        error = {}
    found = Rejected(f"{url} answered {response.status}: {reason}")
    found.status, found.error = response.status, error
    return found
