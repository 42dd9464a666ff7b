"""The control API as any program uses it: JSON over its Unix socket or over TCP, and both kinds of streams."""

from __future__ import annotations

import contextlib
import http.client
import json
import socket
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from harness.home import Thv
from thv_core.state.files import connect_unix

PREFIX = "/api/v1beta"


@dataclass(frozen=True)
class Answer:
    """What came back; header names are in lower case."""

    status: int
    headers: dict[str, str]
    body: bytes

    @property
    def json(self) -> Any:
        """The decoded body."""
        return json.loads(self.body)


class _Connection(http.client.HTTPConnection):
    def __init__(self, connect: Callable[[], socket.socket], host: str) -> None:
        super().__init__(host, timeout=60)
        self._connect = connect

    def connect(self) -> None:
        self.sock = self._connect()
        self.sock.settimeout(60)


@dataclass
class Api:
    """A caller; ``headers`` go with every request, and a header that is ``None`` is left out."""

    connect: Callable[[], socket.socket]
    host: str = "localhost"
    headers: dict[str, str] = field(default_factory=dict)

    @classmethod
    def of(cls, thv: Thv) -> Api:
        """Return a caller on the Unix socket of a home's control."""
        return cls.on(thv.home / "state/control.sock")

    @classmethod
    def on(cls, path: Path) -> Api:
        """Return a caller on a Unix socket."""
        return cls(lambda: connect_unix(path))

    @classmethod
    def at(cls, url: str, token: str = "") -> Api:
        """Return a caller on TCP, with a bearer token if one is given."""
        parts = urlsplit(url)
        address = (str(parts.hostname), int(parts.port or 80))
        authorization = {"authorization": f"Bearer {token}"} if token else {}
        return cls(lambda: socket.create_connection(address, timeout=10), parts.netloc, authorization)

    def __call__(self, method: str, path: str, body: Any = None, headers: Mapping[str, str] | None = None) -> Answer:
        """Send one request, and read its answer to the end."""
        with self._asked(method, path, body, headers or {}) as response:
            return Answer(response.status, _lowered(response), response.read())

    def get(self, path: str) -> Any:
        """Read something below the prefix that must be there, and decode it."""
        answer = self("GET", PREFIX + path)
        assert answer.status == 200, (path, answer)
        return answer.json

    @contextlib.contextmanager
    def lines(self, method: str, path: str, body: Any = None, accept: str = "") -> Iterator[Iterator[dict[str, Any]]]:
        """Hold a streamed answer of one JSON document a line."""
        with self._asked(method, path, body, {"accept": accept or "application/x-ndjson"}) as response:
            assert response.status < 300, (response.status, response.read())
            yield (json.loads(line) for line in iter(response.readline, b""))

    @contextlib.contextmanager
    def events(self, path: str = PREFIX + "/events") -> Iterator[Iterator[tuple[str, Any]]]:
        """Hold a stream of server-sent events, each its name and its decoded data."""
        with self._asked("GET", path, None, {"accept": "text/event-stream"}) as response:
            assert response.status == 200, (response.status, response.read())
            yield _events(iter(response.readline, b""))

    @contextlib.contextmanager
    def _asked(
        self, method: str, path: str, body: Any, headers: Mapping[str, str]
    ) -> Iterator[http.client.HTTPResponse]:
        content = None if body is None else body if isinstance(body, bytes) else json.dumps(body).encode()
        sent = {**({"content-type": "application/json"} if content is not None else {}), **self.headers, **headers}
        with contextlib.closing(_Connection(self.connect, self.host)) as connection:
            connection.request(method, path, content, sent)
            yield connection.getresponse()


def _lowered(response: http.client.HTTPResponse) -> dict[str, str]:
    return {name.lower(): value for name, value in response.getheaders()}


def _events(lines: Iterator[bytes]) -> Iterator[tuple[str, Any]]:
    name, data = "message", ""
    for line in lines:
        key, _, value = line.decode().rstrip("\r\n").partition(":")
        if not key and data:
            yield name, json.loads(data)
            name, data = "message", ""
        elif key == "event":
            name = value.strip()
        elif key == "data":
            data += value.removeprefix(" ")
