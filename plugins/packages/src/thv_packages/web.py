"""Ask an index over HTTP: proxies and certificates of the user, bounded in time and size, and no secret sent on.

An index answers for itself: a redirection to another host is refused, because this process reaches what no stranger
should reach through it.
"""

from __future__ import annotations

import base64
import contextlib
import socket
import threading
import urllib.error
import urllib.request
from collections.abc import Mapping
from dataclasses import dataclass, field
from http.client import HTTPConnection, HTTPException, HTTPResponse, HTTPSConnection
from typing import TYPE_CHECKING, cast
from urllib.parse import urlsplit

from thv_core.errors import Unavailable
from thv_packages.reach import authority
from thv_packages.trust import certificates

if TYPE_CHECKING:
    import ssl

__all__ = ["Answer", "Web", "basic", "bearer"]

_MOST_BYTES = 64 * 1024 * 1024
_SECONDS = 60.0
_SILENCE_SECONDS = 20.0
_PIECE = 65536
_ABSENT = (404, 410)
_HINT = "Check the network and HTTPS_PROXY, and run it again."


def basic(username: str, password: str) -> str:
    """Return the value of ``Authorization`` for a user (RFC 7617)."""
    return f"Basic {base64.b64encode(f'{username}:{password}'.encode()).decode()}"


def bearer(token: str) -> str:
    """Return the value of ``Authorization`` for a token (RFC 6750)."""
    return f"Bearer {token}"


@dataclass(frozen=True)
class Answer:
    """What an index delivered: ``kind`` is its media type."""

    kind: str
    body: bytes


@dataclass(frozen=True)
class Web:
    """The web as the user's environment shows it."""

    environment: Mapping[str, str] = field(repr=False)

    def get(self, url: str, accept: str, authorization: str = "") -> Answer | None:
        """Return what lies at a URL, or nothing when the index says that there is nothing.

        :param authorization: a header for the host of the URL alone; no other host ever gets it.
        :raises Unavailable: when the index does not answer, refuses, or sends to another host.
        """
        host = urlsplit(url).hostname or ""
        if not authority(url):
            raise _unavailable(host, "its address does not begin with http")
        request = urllib.request.Request(url, headers={"Accept": accept, "User-Agent": "thv"})  # noqa: S310 - http(s) only
        if authorization:
            request.add_unredirected_header("Authorization", authorization)
        deadline = _Deadline()
        try:
            with deadline, self._opener(url, deadline).open(request, timeout=_SILENCE_SECONDS) as response:
                answer = _read(cast("HTTPResponse", response), host)
        except urllib.error.HTTPError as error:
            error.close()
            if error.code in _ABSENT:
                return None
            raise _unavailable(host, f"HTTP status {error.code}") from None
        # What an index says of itself may be no address and no number.
        except (OSError, HTTPException, ValueError) as error:
            late = deadline.reason if deadline.over else ""
            raise _unavailable(host, late or str(getattr(error, "reason", "") or error)) from None
        if deadline.over:
            raise _unavailable(host, deadline.reason)
        return answer

    def _opener(self, url: str, deadline: _Deadline) -> urllib.request.OpenerDirector:
        import ssl

        context = ssl.create_default_context()
        if chosen := certificates(self.environment):
            context.load_verify_locations(cadata=chosen.decode("ascii", "ignore"))
        opener = urllib.request.OpenerDirector()
        for handler in (
            urllib.request.ProxyHandler(self._proxies(urlsplit(url).hostname or "")),
            _Http(deadline),
            _Https(deadline, context),
            _SameHost(url),
            urllib.request.HTTPRedirectHandler(),
            urllib.request.UnknownHandler(),
            urllib.request.HTTPErrorProcessor(),
            urllib.request.HTTPDefaultErrorHandler(),
        ):
            opener.add_handler(handler)
        return opener

    def _proxies(self, host: str) -> dict[str, str]:
        names = {scheme: (f"{scheme}_proxy", f"{scheme.upper()}_PROXY") for scheme in ("http", "https", "no")}
        found = {scheme: next(filter(None, map(self.environment.get, pair)), "") for scheme, pair in names.items()}
        none = found.pop("no")
        if none and urllib.request.proxy_bypass_environment(host, {"no": none}):  # type: ignore[attr-defined,unused-ignore]  # typeshed lacks it
            return {}
        return {scheme: proxy for scheme, proxy in found.items() if proxy}


class _Deadline:
    """Ends connections when their time is over, however slowly an index drips."""

    def __init__(self) -> None:
        self.over = False
        self.reason = f"it took more than {_SECONDS:g} seconds"
        self._connected: list[socket.socket] = []
        self._lock = threading.Lock()
        self._timer = threading.Timer(_SECONDS, self._end)
        self._timer.daemon = True

    def __enter__(self) -> None:
        self._timer.start()

    def __exit__(self, *raised: object) -> None:
        self._timer.cancel()
        with self._lock:
            for each in self._connected:
                each.close()
            self._connected.clear()

    def watch(self, connected: socket.socket) -> None:
        """End a connection with the others; encryption takes its descriptor over, so it is watched by another."""
        with self._lock:
            self._connected.append(connected.dup())
        if self.over:
            self._end()

    def _end(self) -> None:
        with self._lock:
            self.over = True
            for each in self._connected:
                with contextlib.suppress(OSError):
                    each.shutdown(socket.SHUT_RDWR)


class _Plain(HTTPConnection):
    deadline: _Deadline

    def connect(self) -> None:
        super().connect()
        self.deadline.watch(cast("socket.socket", self.sock))


class _Encrypted(HTTPSConnection, _Plain):
    """Is watched before its handshake, which the first class does after the connection of the second."""


class _Http(urllib.request.HTTPHandler):
    def __init__(self, deadline: _Deadline) -> None:
        super().__init__()
        self._deadline = deadline

    def http_open(self, req: urllib.request.Request) -> HTTPResponse:
        class Watched(_Plain):
            deadline = self._deadline

        return self.do_open(Watched, req)


class _Https(urllib.request.HTTPSHandler):
    def __init__(self, deadline: _Deadline, context: ssl.SSLContext) -> None:
        super().__init__()
        self._deadline = deadline
        self._trusted = context

    def https_open(self, req: urllib.request.Request) -> HTTPResponse:
        class Watched(_Encrypted):
            deadline = self._deadline

        return self.do_open(Watched, req, context=self._trusted)


class _SameHost(urllib.request.BaseHandler):
    """Refuses every request, the first and those of redirections, for which the index does not answer itself."""

    def __init__(self, url: str) -> None:
        self._url = url

    def http_request(self, request: urllib.request.Request) -> urllib.request.Request:
        if not _answers_for_itself(self._url, request.full_url):
            raise urllib.error.URLError(f"it sends to {authority(request.full_url)}, which is another host")
        return request

    https_request = http_request


def _answers_for_itself(here: str, there: str) -> bool:
    """Tell whether two URLs have one host and port, or are one host's at the usual ports, the second one encrypted."""
    if urlsplit(here).scheme == urlsplit(there).scheme:
        return authority(here) == authority(there)
    host = authority(there).removesuffix(":443")
    return urlsplit(there).scheme == "https" and authority(here) == f"{host}:80"


def _read(response: HTTPResponse, host: str) -> Answer:
    body = bytearray()
    while piece := response.read(_PIECE):
        body += piece
        if len(body) > _MOST_BYTES:
            raise _unavailable(host, f"it sent more than {_MOST_BYTES >> 20} MiB")
    return Answer(response.headers.get_content_type(), bytes(body))


def _unavailable(host: str, reason: str) -> Unavailable:
    return Unavailable(f"{host} does not answer as an index", evidence=[reason[:400]], hint=_HINT)
