"""The heads of requests to a server that speaks HTTP, in either era, and the fields of its answers for clients."""

from __future__ import annotations

from collections.abc import Iterable
from functools import lru_cache

from thv_core.errors import InvalidRequest
from thv_core.model.message import Message
from thv_core.model.route import ForwardHeader
from thv_gateway.client.connection import Head
from thv_gateway.eras.mirrored import encoded
from thv_gateway.messages.envelope import PROTOCOL_VERSION
from thv_gateway.messages.parsing import members, text_of
from thv_gateway.stages.chain import Arrival

__all__ = ["EVENTS_HEAD", "POST_HEAD", "Fields", "added", "fields_back", "mirroring", "modern_fields"]

Fields = tuple[tuple[bytes, bytes], ...]

POST_HEAD: Fields = ((b"content-type", b"application/json"), (b"accept", b"application/json, text/event-stream"))
EVENTS_HEAD: Fields = ((b"accept", b"text/event-stream"),)

_NAMED = {
    "tools/call": "name",
    "prompts/get": "name",
    "resources/read": "uri",
    "tasks/get": "taskId",
    "tasks/update": "taskId",
    "tasks/cancel": "taskId",
}
"""What ``Mcp-Name`` repeats, by method (MCP 2026-07-28, transports; its extension for tasks)."""

_MADE = frozenset({b"mcp-protocol-version", b"mcp-method", b"mcp-name", b"mcp-session-id"})
_BACK = frozenset({b"content-type", b"allow", b"retry-after", b"x-request-id"})
_BACK_BEGINNINGS = (b"mcp-", b"ratelimit", b"x-ratelimit")
_MEDIA = frozenset({b"application/json", b"text/event-stream", b"text/plain"})
_OF_THE_CONNECTION = frozenset(
    {
        *(b"host", b"connection", b"keep-alive", b"te", b"trailer", b"upgrade", b"http2-settings"),
        *(b"transfer-encoding", b"content-length", b"forwarded", b"x-forwarded-for", b"x-forwarded-host"),
        *(b"x-forwarded-proto", b"x-real-ip"),
    }
)


def mirroring(message: Message) -> Fields:
    """Return the fields that repeat what a message of the stateless era says, as it says it now."""
    fields: Fields = ((b"mcp-method", message.method.encode()),) if message.method else ()
    place = _NAMED.get(message.method)
    name = text_of(message.params.get(place, b"")) if place else ""
    return (*fields, (b"mcp-name", encoded(name))) if name else fields


def modern_fields(arrival: Arrival, message: Message, passed: frozenset[bytes]) -> list[tuple[bytes, bytes]]:
    """Return the fields of a request of the stateless era for a server.

    What repeats the body is made from the message as it left the stages; ``Mcp-Param-*`` and what is unknown are handed
    on as they came.
    """
    fields = [
        field for field in arrival.headers if (field[0][:4] == b"mcp-" and field[0] not in _MADE) or field[0] in passed
    ]
    version = text_of(members(message.params.get("_meta", b"")).get(PROTOCOL_VERSION, b"")).encode()
    fields.append((b"mcp-protocol-version", version or arrival.fields.get(b"mcp-protocol-version", b"")))
    fields += mirroring(message)
    return fields


def fields_back(head: Head, passed: frozenset[bytes], session: bytes) -> Fields:
    """Return the fields of an answer that its client gets, with the id of the session as the client knows it."""
    back = {name: value for name, value in head.fields.items() if _goes_back(name) or name in passed}
    # The session id of a refusal is that of a session that never was.
    if session and head.status < 400:
        back[b"mcp-session-id"] = session
    media = back.get(b"content-type", b"")
    if media not in _MEDIA and media.partition(b";")[0].strip().lower() not in _MEDIA:
        # Nothing that a browser would run under our address.
        back[b"content-type"] = b"text/plain"
    return tuple(back.items())


@lru_cache(maxsize=512)
def _goes_back(name: bytes) -> bool:
    return name in _BACK or (name.startswith(_BACK_BEGINNINGS) and name != b"mcp-session-id")


def added(headers: Iterable[ForwardHeader], values: dict[str, str]) -> Fields:
    """Return the fields that each request to a server carries.

    :param values: those of the secrets by which headers name them.
    :raises InvalidRequest: when one of them can be no such field; no value is repeated.
    """
    fields: list[tuple[bytes, bytes]] = []
    for header in headers:
        name = header.name.lower().encode("ascii", "replace")
        value = values[header.secret] if header.secret else header.value
        if name in _OF_THE_CONNECTION or name.startswith((b"proxy-", b"mcp-")) or not _is_token(name):
            raise InvalidRequest(f"the header {header.name!r} cannot be added")
        if any(character < " " or character == "\x7f" for character in value):
            raise InvalidRequest(f"the value of the header {header.name!r} does not fit into one line")
        fields.append((name, value.strip().encode()))
    return tuple(fields)


def _is_token(name: bytes) -> bool:
    return bool(name) and not name.strip(b"!#$%&'*+-.^_`|~0123456789abcdefghijklmnopqrstuvwxyz")
