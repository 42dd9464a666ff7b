"""Judge the head of a request and read its body (MCP 2025-11-25, transports; RFC 9110)."""

from __future__ import annotations

import asyncio
from functools import lru_cache

from thv_core.spi.middleware import Reply, Stage
from thv_gateway.messages.answers import INVALID_REQUEST, LEGACY_ERROR, refusal
from thv_gateway.stages.chain import Arrival, BuiltIn

__all__ = ["MAX_BODY", "BodyLimitStage", "HeadStage"]

MAX_BODY = 8 * 1024 * 1024
BODY_SECONDS = 30.0
_METHODS = frozenset({"POST", "GET", "DELETE"})
_ALLOW = ((b"allow", b"POST, GET, DELETE"),)
_CLOSE = ((b"connection", b"close"),)
_JSON = frozenset({b"application/json", b"application/*", b"*/*"})
_EVENTS = frozenset({b"text/event-stream", b"text/*", b"*/*"})


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
        try:
            async with asyncio.timeout(BODY_SECONDS):
                body = await exchange.peer.body(MAX_BODY)
        except TimeoutError:
            return refusal(408, LEGACY_ERROR, "The body did not arrive in time", headers=_CLOSE)
        if body is None:
            return _too_large()
        exchange.body = body
        return None


def _too_large() -> Reply:
    # The connection stays open: what still comes is discarded, and the client reads this answer instead of a reset.
    return refusal(413, INVALID_REQUEST, f"The body is larger than {MAX_BODY} bytes")


@lru_cache(maxsize=64)
def _accepted(value: bytes) -> tuple[bool, bool]:
    media = {part.partition(b";")[0].strip().lower() for part in value.split(b",")}
    return bool(media & _JSON), bool(media & _EVENTS)


def _is_json(media: bytes) -> bool:
    return media.partition(b";")[0].strip().lower() == b"application/json"
