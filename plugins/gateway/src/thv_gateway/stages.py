"""The built-in stages: origin, request head, body limit, parsing, and protocol version with session.

Sources: MCP 2025-11-25, transports (Origin 403, Accept 406, session 400 and 404, version 400); RFC 9110.
"""

from __future__ import annotations

import asyncio
import contextlib
import ipaddress
import re
from collections.abc import Iterable
from functools import lru_cache

from thv_core.model.identity import LOCAL_USER
from thv_core.model.message import Kind
from thv_core.model.reach import canonical_host
from thv_core.model.route import Route
from thv_core.spi.middleware import Reply, Stage
from thv_gateway.answers import INVALID_REQUEST, LEGACY_ERROR, SESSION_NOT_FOUND, refusal
from thv_gateway.chain import Arrival, BuiltIn, Step
from thv_gateway.parsing import Malformed, parse_body
from thv_gateway.sessions import Sessions
from thv_gateway.versions import LEGACY_VERSIONS

__all__ = ["MAX_BODY", "built_in_steps"]

MAX_BODY = 8 * 1024 * 1024
BODY_SECONDS = 30.0

_LOOPBACK = [b"localhost", b"127.0.0.1", b"[::1]"]
_LONGEST_SESSION = 4096
_VISIBLE = re.compile(rb"[\x21-\x7e]*")
_SINGLE = frozenset({b"host", b"origin", b"authorization", b"content-type", b"mcp-session-id", b"mcp-protocol-version"})
_METHODS = frozenset({"POST", "GET", "DELETE"})
_ALLOW = ((b"allow", b"POST, GET, DELETE"),)
_CLOSE = ((b"connection", b"close"),)
_JSON = frozenset({b"application/json", b"application/*", b"*/*"})
_EVENTS = frozenset({b"text/event-stream", b"text/*", b"*/*"})
_VERSIONS = frozenset(version.encode() for version in LEGACY_VERSIONS)


def built_in_steps(route: Route, sessions: Sessions) -> list[Step]:
    """Return the built-in stages of a route; the sessions of a server that speaks HTTP are its own."""
    session = SessionStage(sessions) if route.transport == "stdio" else ServerSessionStage()
    origin = OriginStage(route.port, route.allow_host)
    return [origin, HeadStage(), BodyLimitStage(), LocalUserStage(), ParseStage(), session]


class OriginStage(BuiltIn):
    """Refuse web pages: ``Host`` must be a name of ours, and ``Origin``, when there is one, this very listener.

    :param allowed: the names, ``.suffix`` for all below it; those of loopback when there are none.
    """

    stage = Stage.ORIGIN

    def __init__(self, port: int, allowed: Iterable[str] = ()) -> None:
        names = [_written(name) for name in allowed] or _LOOPBACK
        self._port = b":%d" % port
        self._names = frozenset(name for name in names if not name.startswith(b"."))
        self._suffixes = tuple(name for name in names if name.startswith(b"."))

    async def on_request(self, exchange: Arrival, /) -> Reply | None:
        """Answer 403 to a foreign host or origin, 400 to a header that is given twice."""
        fields = exchange.fields
        if len(fields) != len(exchange.headers) and _repeats(exchange):
            return refusal(400, INVALID_REQUEST, "A header is given more than once")
        if not self._is_ours(fields.get(b"host", b"").lower().removesuffix(self._port)):
            return refusal(403, INVALID_REQUEST, "Host not allowed")
        origin = fields.get(b"origin")
        if origin is not None and not self._is_own_origin(origin.lower()):
            return refusal(403, INVALID_REQUEST, "Origin not allowed")
        return None

    def _is_ours(self, name: bytes) -> bool:
        return name in self._names or (name.endswith(self._suffixes) and name not in self._suffixes)

    def _is_own_origin(self, origin: bytes) -> bool:
        name = origin.removeprefix(b"http://").removesuffix(self._port)
        return origin == b"http://" + name + self._port and self._is_ours(name)


class HeadStage(BuiltIn):
    """Refuse methods, media types and ``Accept`` headers that the transport does not know."""

    stage = Stage.ORIGIN

    async def on_request(self, exchange: Arrival, /) -> Reply | None:
        """Answer 405, 406 or 415."""
        if exchange.method not in _METHODS:
            return refusal(405, LEGACY_ERROR, "Method not allowed", headers=_ALLOW)
        json, events = _accepted(exchange.fields.get(b"accept", b"*/*"))
        if exchange.method == "POST":
            if not (json and events):
                return refusal(406, LEGACY_ERROR, "Accept must list application/json and text/event-stream")
            media = exchange.fields.get(b"content-type", b"application/json")
            if media != b"application/json" and not _is_json(media):
                return refusal(415, LEGACY_ERROR, "Content-Type must be application/json")
        elif exchange.method == "GET" and not events:
            return refusal(406, LEGACY_ERROR, "Accept must list text/event-stream")
        return None


class BodyLimitStage(BuiltIn):
    """Read the body of a POST, at most :data:`MAX_BODY` bytes within :data:`BODY_SECONDS`."""

    stage = Stage.BODY_LIMIT

    async def on_request(self, exchange: Arrival, /) -> Reply | None:
        """Answer 413 to a body that is too large, 408 to one that does not arrive."""
        if exchange.method != "POST":
            return None
        announced = exchange.fields.get(b"content-length", b"0")
        if not announced.isdigit() or int(announced[:20]) > MAX_BODY:
            return _too_large()
        event = await exchange.receive()
        exchange.body = event.get("body", b"")
        if event.get("more_body", False):
            return await _rest_of_body(exchange)
        return _too_large() if len(exchange.body) > MAX_BODY else None


class LocalUserStage(BuiltIn):
    """Take whoever reaches a loopback listener for the user of this machine."""

    stage = Stage.AUTHENTICATE

    async def on_request(self, exchange: Arrival, /) -> Reply | None:
        """Let every request pass."""
        exchange.identity = LOCAL_USER
        return None


class ParseStage(BuiltIn):
    """Parse the body of a POST, once."""

    stage = Stage.PARSE

    async def on_request(self, exchange: Arrival, /) -> Reply | None:
        """Answer 400 to what is not exactly one JSON-RPC message."""
        if exchange.method != "POST":
            return None
        try:
            exchange.message = parse_body(exchange.body)
        except Malformed as error:
            return refusal(400, error.code, error.text)
        return None


class SessionStage(BuiltIn):
    """Check the protocol version and the session of everything but ``initialize``."""

    stage = Stage.PARSE

    def __init__(self, sessions: Sessions) -> None:
        self._sessions = sessions

    async def on_request(self, exchange: Arrival, /) -> Reply | None:
        """Answer 400 to an unknown version or a missing session, 404 to an unknown one.

        Both 400s are what makes a client of the stateless era fall back to ``initialize``.
        """
        message = exchange.message
        identifier = message.id if message and message.kind is Kind.REQUEST else b""
        if message is not None and message.method == "initialize":
            return None
        version = exchange.fields.get(b"mcp-protocol-version")
        if version is not None and version not in _VERSIONS:
            known = ", ".join(LEGACY_VERSIONS)
            return refusal(400, LEGACY_ERROR, f"Unsupported protocol version (supported: {known})", identifier)
        given = exchange.fields.get(b"mcp-session-id")
        session = self._sessions.anonymous() if given is None else self._sessions.find(given.decode("latin-1"))
        if session is None and given is None:
            return refusal(400, LEGACY_ERROR, "Mcp-Session-Id is required", identifier)
        if session is None:
            return refusal(404, SESSION_NOT_FOUND, "Session not found", identifier)
        exchange.live = session
        exchange.session = session.id
        return None


class ServerSessionStage(BuiltIn):
    """Note the session that a client names to a server that keeps its sessions itself, and judges them."""

    stage = Stage.PARSE

    async def on_request(self, exchange: Arrival, /) -> Reply | None:
        """Answer 400 to an id that is no visible ASCII."""
        given = exchange.fields.get(b"mcp-session-id", b"")
        if len(given) > _LONGEST_SESSION or not _VISIBLE.fullmatch(given):
            return refusal(400, LEGACY_ERROR, "Mcp-Session-Id is not visible ASCII")
        exchange.session = given.decode("ascii")
        return None


def _written(name: str) -> bytes:
    """Return a name of ``allow_host`` as it is written in a ``Host`` header."""
    below = "." if name.startswith((".", "*.")) else ""
    bare = name.removeprefix("*").removeprefix(".").lower()
    if ":" in bare:
        with contextlib.suppress(ValueError):
            bare = f"[{ipaddress.IPv6Address(bare.removeprefix('[').removesuffix(']'))}]"
    return (below + (canonical_host(bare) or bare)).encode("ascii", "replace")


async def _rest_of_body(exchange: Arrival) -> Reply | None:
    try:
        async with asyncio.timeout(BODY_SECONDS):
            body = await _collected(exchange)
    except TimeoutError:
        return refusal(408, LEGACY_ERROR, "The body did not arrive in time", headers=_CLOSE)
    if body is None:
        return _too_large()
    exchange.body = body
    return None


async def _collected(exchange: Arrival) -> bytes | None:
    chunks, size, more = [exchange.body], len(exchange.body), True
    while more and size <= MAX_BODY:
        event = await exchange.receive()
        chunks.append(event.get("body", b""))
        size += len(chunks[-1])
        more = event.get("more_body", False)
    return b"".join(chunks) if size <= MAX_BODY else None


def _too_large() -> Reply:
    # The connection stays open: what still comes is discarded, and the client reads this answer instead of a reset.
    return refusal(413, INVALID_REQUEST, f"The body is larger than {MAX_BODY} bytes")


def _repeats(exchange: Arrival) -> bool:
    names = [name for name, _ in exchange.headers if name in _SINGLE]
    return len(names) != len(set(names))


@lru_cache(maxsize=64)
def _accepted(value: bytes) -> tuple[bool, bool]:
    media = {part.partition(b";")[0].strip().lower() for part in value.split(b",")}
    return bool(media & _JSON), bool(media & _EVENTS)


def _is_json(media: bytes) -> bool:
    return media.partition(b";")[0].strip().lower() == b"application/json"
