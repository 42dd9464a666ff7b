"""The session of a bridge with the gateway: it survives a gateway that is replaced, and a session that is forgotten."""

from __future__ import annotations

import contextlib
import http.client
import json
import socket
import threading
import time
from collections.abc import Callable, Generator, Mapping
from contextlib import contextmanager
from types import MappingProxyType
from typing import Any, NamedTuple, cast

from thv_core.errors import ThvError, Unavailable
from thv_supervisor.bridge_memory import Memory
from thv_supervisor.event_stream import MOST_BYTES, bodies
from thv_supervisor.places import Place

__all__ = ["BridgeSession", "Forgotten", "Lost"]

PATIENCE = 30.0
"""Seconds that a gateway may be away while it is replaced."""

CONNECT_SECONDS = 5.0
ANSWER_SECONDS = 3600.0
"""The gateway itself gives calls up much sooner; this is for one that stands still."""

_FIRST_PAUSE = 0.05
_LONGEST_PAUSE = 1.0
_INITIALIZED = b'{"jsonrpc":"2.0","method":"notifications/initialized"}'
_POST = {"content-type": "application/json", "accept": "application/json, text/event-stream"}
_ACCEPT = {"GET": {"accept": "text/event-stream"}, "POST": _POST}


_NOTHING: Mapping[str, str] = MappingProxyType({})

HangUp = Callable[[], None]
"""Ends the connection of a request, from any thread."""


def _nobody(hang_up: HangUp) -> None:
    """Tell nobody."""


class Lost(Exception):
    """A request was sent, and its connection ended before the answer."""


class Forgotten(Exception):
    """The session of a request is not known any more; the request was not looked at."""


class _Terms(NamedTuple):
    """The id of a session, empty for none, and the revision of the protocol that was agreed upon."""

    identifier: str = ""
    version: str = ""

    @property
    def head(self) -> dict[str, str]:
        """What each request of the session says of it."""
        return {"mcp-session-id": self.identifier, "mcp-protocol-version": self.version} if self.identifier else {}


class BridgeSession:
    """Sends what a client says, under the session that the server gave it, or without one in the modern era.

    Safe to use from any thread; each request has a connection of its own. What a session was told of the level of logs
    and of subscriptions is told again to the one that takes its place.

    :param find: returns where the workload is reached, having started what serves it; raises ``ThvError`` when there is
        none.
    """

    def __init__(self, find: Callable[[], Place]) -> None:
        self.memory = Memory()
        self._find = find
        self._place = find()
        self._terms = _Terms()
        self._opening = b""
        self._locating = threading.Lock()
        self._renewing = threading.Lock()

    @contextmanager
    def exchange(
        self,
        verb: str,
        body: bytes | None = None,
        *,
        sent: Callable[[HangUp], object] = _nobody,
        patient: bool = True,
        head: Mapping[str, str] = _NOTHING,
    ) -> Generator[http.client.HTTPResponse]:
        """Send one request and yield its response.

        :param sent: called when the request is on its way, with what ends it.
        :param patient: whether a gateway that is away is waited for, and started.
        :param head: more header fields; one that names a version is of a request that belongs to no session.
        :raises ThvError: when it stays away, or the workload does not run; nothing was sent.
        :raises Lost: when the connection ends early, also while the response is read.
        :raises Forgotten: when the gateway knows the session no more.
        """
        whole = dict(head) if "mcp-protocol-version" in head else {**self._terms.head, **head}
        with self._exchange(verb, body, whole, sent=sent, patient=patient) as response:
            yield response

    def open(self, line: bytes, session: str, result: dict[str, Any]) -> None:
        """Begin a session: ``line`` is what opened it, ``session`` its id and ``result`` what the server answered."""
        self._opening = line
        self.memory.clear()
        self._terms = _agreed(session, result)

    def renew(self, forgotten: str) -> None:
        """Open a session in place of a forgotten one, with the client's own words, unless another thread just did.

        :raises ThvError: when the server opens none.
        """
        with self._renewing:
            if self._terms.identifier != forgotten:
                return
            try:
                with self._exchange("POST", self._opening, {}) as response:
                    fresh = _agreed(response.headers.get("mcp-session-id", ""), _result(response))
                with self._exchange("POST", _INITIALIZED, fresh.head) as response:
                    response.read(MOST_BYTES)
                self._remind(fresh)
            except (Lost, Forgotten, ValueError):
                raise Unavailable("the session is over, and no other could be opened") from None
            # Not before: until then other threads name the forgotten one, and come here to wait.
            self._terms = fresh

    def _remind(self, terms: _Terms) -> None:
        """Tell a new session what the former one was told; what it does not take is its own affair."""
        for line in self.memory.lines():
            with contextlib.suppress(ThvError), self._exchange("POST", line, terms.head) as response:
                for _ in bodies(response):
                    break

    def end(self, seconds: float) -> None:
        """End the session, if the gateway is there."""
        head = self._terms.head
        if not head:
            return
        with contextlib.suppress(OSError, http.client.HTTPException), contextlib.closing(self._once(seconds)) as way:
            way.request("DELETE", self._place.path, headers=head)
            with way.getresponse() as response:
                response.read(MOST_BYTES)

    @contextmanager
    def _exchange(
        self,
        verb: str,
        body: bytes | None,
        head: dict[str, str],
        *,
        sent: Callable[[HangUp], object] = _nobody,
        patient: bool = True,
    ) -> Generator[http.client.HTTPResponse]:
        connection = self._connected() if patient else self._once()
        try:
            connection.request(verb, self._place.path, body, _ACCEPT[verb] | head)
            way = connection.sock
            sent(lambda: _shut(way))
            # A response whose connection ends with it keeps that open by itself.
            with connection.getresponse() as response:
                if response.status == 404 and "mcp-session-id" in head:
                    raise Forgotten(head["mcp-session-id"])
                yield response
        except (OSError, http.client.HTTPException) as error:
            raise Lost(str(error) or type(error).__name__) from error
        finally:
            connection.close()

    def _connected(self) -> http.client.HTTPConnection:
        ends = time.monotonic() + PATIENCE
        pause = _FIRST_PAUSE
        while True:
            try:
                return self._once()
            except OSError:
                if time.monotonic() > ends:
                    raise Unavailable(
                        f"nobody answers at {self._place.url}", hint="thv list shows what is running."
                    ) from None
            self._locate()
            time.sleep(pause)
            pause = min(pause * 2, _LONGEST_PAUSE)

    def _once(self, seconds: float = ANSWER_SECONDS) -> http.client.HTTPConnection:
        connection = self._place.connection(CONNECT_SECONDS)
        connection.connect()
        connection.sock.settimeout(seconds)
        return connection

    def _locate(self) -> None:
        """Find out where the workload is served now: the gateway may have been started anew, on another port."""
        if self._locating.acquire(blocking=False):
            try:
                self._place = self._find()
            finally:
                self._locating.release()


def _shut(way: socket.socket) -> None:
    with contextlib.suppress(OSError):
        way.shutdown(socket.SHUT_RDWR)


def _agreed(session: str, result: dict[str, Any]) -> _Terms:
    return _Terms(session, str(result.get("protocolVersion", "")))


def _result(response: http.client.HTTPResponse) -> dict[str, Any]:
    """Return the result of the only request in a response.

    :raises ValueError: when there is none.
    """
    for event in bodies(response):
        message: object = json.loads(event.data) if event.data else None
        if isinstance(message, dict) and "result" in message:
            return cast("dict[str, Any]", message["result"])
    raise ValueError("no result")
