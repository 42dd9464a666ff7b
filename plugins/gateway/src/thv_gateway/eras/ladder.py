"""The rules of the modern era for one request, in the order in which the SDKs judge them (MCP 2026-07-28, transports).

The first rule that is broken decides. The body is the source of truth: a header that says something else is refused, so
that nobody routes by the one and acts upon the other.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from thv_core.model.message import Kind, Message
from thv_core.spi.middleware import Reply
from thv_gateway.eras.classification import meta_of
from thv_gateway.eras.mirrored import decoded
from thv_gateway.messages.answers import (
    HEADER_MISMATCH,
    INVALID_PARAMS,
    INVALID_REQUEST,
    METHOD_NOT_FOUND,
    refusal,
    unsupported,
)
from thv_gateway.messages.envelope import CAPABILITIES, CLIENT_INFO, LOG_LEVEL, PROTOCOL_VERSION
from thv_gateway.messages.parsing import text_of
from thv_gateway.messages.versions import MODERN_VERSIONS

__all__ = ["VERBOSITY", "judged", "repeated"]

VERBOSITY = ("debug", "info", "notice", "warning", "error", "critical", "alert", "emergency")

_METHOD = b"mcp-method"
_NAME = b"mcp-name"
_VERSION = b"mcp-protocol-version"
_ROUTING = frozenset({_METHOD, _NAME, _VERSION})
_NAMED = {"tools/call": "name", "prompts/get": "name", "resources/read": "uri"}
"""Which of ``params`` a request of these methods mirrors as ``Mcp-Name``."""


@dataclass(frozen=True, slots=True)
class _Case:
    message: Message
    meta: Mapping[str, bytes]
    fields: Mapping[bytes, bytes]


def judged(message: Message, headers: Sequence[tuple[bytes, bytes]], fields: Mapping[bytes, bytes]) -> Reply | None:
    """Return why a message of the modern era is refused; ``None`` when it keeps every rule.

    :param headers: all fields, with lower-case names.
    :param fields: the last value of each.
    """
    if message.kind is Kind.RESPONSE:
        return refusal(400, INVALID_REQUEST, "Clients send no responses in this revision")
    if message.kind is Kind.NOTIFICATION:
        return _known(_field(fields, _VERSION).decode("latin-1"))
    if repeated(headers):
        return refusal(400, HEADER_MISMATCH, "A routing header is given more than once", message.id)
    case = _Case(message, meta_of(message), fields)
    return next((reply for rule in _RULES if (reply := rule(case)) is not None), None)


def repeated(headers: Sequence[tuple[bytes, bytes]]) -> bool:
    """Tell whether a field by which messages are routed is given more than once."""
    names = [name for name, _ in headers if name in _ROUTING]
    return len(names) != len(set(names))


def _known(requested: str, identifier: bytes = b"") -> Reply | None:
    return None if requested in MODERN_VERSIONS else unsupported(requested, MODERN_VERSIONS, identifier)


def _envelope(case: _Case) -> Reply | None:
    missing = [key for key in (PROTOCOL_VERSION, CAPABILITIES) if key not in case.meta]
    if missing:
        return _invalid(case, f"params._meta is missing {', '.join(missing)}")
    strange = [key for key in (CAPABILITIES, CLIENT_INFO) if case.meta.get(key, b"{")[:1] != b"{"]
    if strange:
        return _invalid(case, f"params._meta: {', '.join(strange)} must be an object")
    if LOG_LEVEL in case.meta and text_of(case.meta[LOG_LEVEL]) not in VERBOSITY:
        return _invalid(case, f"params._meta: {LOG_LEVEL} must be a level of logging")
    return None


def _agreement(case: _Case) -> Reply | None:
    version = _field(case.fields, _VERSION).decode("latin-1")
    if _VERSION not in case.fields or version != text_of(case.meta[PROTOCOL_VERSION]):
        return _mismatch(case, "MCP-Protocol-Version", PROTOCOL_VERSION)
    if _field(case.fields, _METHOD) != case.message.method.encode("utf-8", "replace"):
        return _mismatch(case, "Mcp-Method", "method")
    return _name(case)


def _name(case: _Case) -> Reply | None:
    key = _NAMED.get(case.message.method)
    if key is None:
        return None
    raw, given = case.message.params.get(key, b"null"), case.fields.get(_NAME)
    if raw == b"null":
        # A request without its name is for the server to refuse, unless a header gives it one.
        return None if given is None else _mismatch(case, "Mcp-Name", key)
    if given is None or raw[:1] != b'"' or decoded(given) != text_of(raw):
        return _mismatch(case, "Mcp-Name", key)
    return None


def _version(case: _Case) -> Reply | None:
    return _known(text_of(case.meta[PROTOCOL_VERSION]), case.message.id)


def _opening(case: _Case) -> Reply | None:
    """Refuse the handshake of the other era, whatever a server would say of it."""
    if case.message.method != "initialize":
        return None
    return refusal(404, METHOD_NOT_FOUND, "Method not found", case.message.id)


_RULES: tuple[Callable[[_Case], Reply | None], ...] = (_envelope, _agreement, _version, _opening)


def _invalid(case: _Case, text: str) -> Reply:
    return refusal(400, INVALID_PARAMS, text, case.message.id)


def _mismatch(case: _Case, header: str, member: str) -> Reply:
    return refusal(400, HEADER_MISMATCH, f"The header {header} does not match {member} of the body", case.message.id)


def _field(fields: Mapping[bytes, bytes], name: bytes) -> bytes:
    return fields.get(name, b"").strip(b" \t")
