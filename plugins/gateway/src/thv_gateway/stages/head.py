"""Judge the head of a request and read its body (MCP 2025-11-25, transports; RFC 9110)."""

from __future__ import annotations

from functools import lru_cache

from thv_core.spi.middleware import Reply, Stage
from thv_gateway.messages.answers import INVALID_REQUEST, LEGACY_ERROR, refusal
from thv_gateway.stages.chain import Arrival, BuiltIn
from thv_gateway.web.peer import Gone

__all__ = ["MAX_BODY", "BodyLimitStage", "HeadStage"]

MAX_BODY = 8 * 1024 * 1024
_METHODS = ("POST", "GET", "DELETE")
_ONLY_POST = ("POST",)
_CLOSE = ((b"connection", b"close"),)
_JSON = frozenset({b"application/json", b"application/*", b"*/*"})
_EVENTS = frozenset({b"text/event-stream", b"text/*", b"*/*"})


class HeadStage(BuiltIn):
    """Refuse methods, media types and ``Accept`` headers that the transport does not know.

    :param stateless: whether there are neither streams of sessions nor ends of them.
    """

    stage = Stage.ORIGIN
    of_heads = True

    def __init__(self, *, stateless: bool = False) -> None:
        self._methods = _ONLY_POST if stateless else _METHODS
        allow = ((b"allow", ", ".join(self._methods).encode()),)
        self._not_allowed = refusal(405, LEGACY_ERROR, "Method not allowed", headers=allow)

    def at_once(self, exchange: Arrival, /) -> Reply | None:
        """Answer 405, 406 or 415."""
        if exchange.method not in self._methods:
            return self._not_allowed
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
    """Read the body of a POST, at most :data:`MAX_BODY` bytes."""

    stage = Stage.BODY_LIMIT
    reads_body = True

    async def on_request(self, exchange: Arrival, /) -> Reply | None:
        """Answer 413 to a body that is too large, 408 to one that does not arrive."""
        if exchange.method != "POST":
            return None
        announced = exchange.fields.get(b"content-length", b"0")
        if not announced.isdigit() or int(announced[:20]) > MAX_BODY:
            return _TOO_LARGE
        try:
            body = await exchange.peer.body(MAX_BODY)
        except Gone:
            return refusal(408, LEGACY_ERROR, "The body did not arrive", headers=_CLOSE)
        if body is None:
            return _TOO_LARGE
        exchange.body = body
        return None


# The connection stays open: what still comes is discarded, and the client reads this answer instead of a reset.
_TOO_LARGE = refusal(413, INVALID_REQUEST, f"The body is larger than {MAX_BODY} bytes")


@lru_cache(maxsize=64)
def _accepted(value: bytes) -> tuple[bool, bool]:
    media = {part.partition(b";")[0].strip().lower() for part in value.split(b",")}
    return bool(media & _JSON), bool(media & _EVENTS)


def _is_json(media: bytes) -> bool:
    return media.partition(b";")[0].strip().lower() == b"application/json"
