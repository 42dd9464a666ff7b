"""Parse a JSON-RPC message once, into raw pieces, and refuse what two parsers could read differently.

msgspec validates the JSON grammar of every skipped value, control characters included, but lets duplicate keys,
invalid UTF-8 and deep nesting pass; those are checked here.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from functools import lru_cache
from itertools import accumulate

import msgspec

from thv_core.model.message import Kind, Message
from thv_gateway.messages.answers import INVALID_REQUEST, PARSE_ERROR

__all__ = ["MAX_DEPTH", "Malformed", "members", "parse_body", "parse_line", "pieces", "text_of"]

MAX_DEPTH = 128

_ENVELOPE = frozenset({"jsonrpc", "id", "method", "params", "result", "error"})
_PARAMS = frozenset(
    {
        *("_meta", "argument", "arguments", "capabilities", "clientInfo", "context", "cursor", "data"),
        *("inputResponses", "level", "logger", "message", "name", "notifications", "progress", "progressToken"),
        *("protocolVersion", "reason", "ref", "requestId", "requestState", "task", "total", "uri"),
    }
)
_RESERVED = ("protocolVersion", "clientCapabilities", "clientInfo", "logLevel", "subscriptionId", "related-task")
_META = frozenset(
    {
        *("progressToken", "traceparent", "tracestate", "baggage"),
        *(f"io.modelcontextprotocol/{name}" for name in _RESERVED),
    }
)
_TARGET = {
    "tools/call": "name",
    "prompts/get": "name",
    "resources/read": "uri",
    "resources/subscribe": "uri",
    "resources/unsubscribe": "uri",
}

_SPACE = re.compile(rb"[ \t\r\n]*")
_STRING = re.compile(rb'"(?:[^"\\]|\\.)*"')
_ESCAPE = re.compile(rb"\\.", re.DOTALL)
_BRACKETS = bytes(byte for byte in range(256) if byte not in b"[]{}")
_STEP = {ord("["): 1, ord("{"): 1, ord("]"): -1, ord("}"): -1}

_object = msgspec.json.Decoder(dict[str, msgspec.Raw])
_string = msgspec.json.Decoder(str)


class Malformed(Exception):
    """A body that is not one JSON-RPC message; ``code`` is the JSON-RPC code and the text says why."""

    def __init__(self, code: int, text: str) -> None:
        super().__init__(text)
        self.code = code
        self.text = text


class _Line(msgspec.Struct):
    jsonrpc: str = ""
    id: msgspec.Raw = msgspec.Raw(b"")
    method: str = ""
    params: msgspec.Raw = msgspec.Raw(b"")
    result: msgspec.Raw = msgspec.Raw(b"")
    error: msgspec.Raw = msgspec.Raw(b"")


_line = msgspec.json.Decoder(_Line)


def parse_body(body: bytes) -> Message:
    """Parse what a client sent.

    :raises Malformed: when it is a batch, not JSON-RPC 2.0, ambiguous (duplicate or case-variant keys), not UTF-8, or
        nested deeper than :data:`MAX_DEPTH`.
    """
    if body.lstrip()[:1] == b"[":
        raise Malformed(INVALID_REQUEST, "Batches are not supported")
    _check_text(body)
    envelope = pieces(body, _ENVELOPE, "the message")
    if envelope.get("jsonrpc") != b'"2.0"':
        raise Malformed(INVALID_REQUEST, 'jsonrpc must be "2.0"')
    identifier = envelope.get("id", b"")
    if identifier and identifier[:1] not in b'"-0123456789':
        raise Malformed(INVALID_REQUEST, "id must be a string or a number")
    if "method" not in envelope:
        return _response(envelope, identifier)
    return _call(envelope, identifier)


def parse_line(line: bytes) -> Message | None:
    """Parse one line of a server's standard output; ``None`` when it is not a JSON-RPC message."""
    try:
        found = _line.decode(line if line.isascii() else line.decode("utf-8", "replace"))
        if found.jsonrpc != "2.0":
            return None
        identifier = bytes(found.id)
        if not found.method:
            return _answer(found, identifier)
        raw = bytes(found.params)
        params = members(raw)
    except (msgspec.DecodeError, RecursionError):
        return None
    kind = Kind.REQUEST if identifier else Kind.NOTIFICATION
    return Message(kind=kind, id=identifier, method=found.method, params=params, has_params=bool(raw))


def pieces(text: bytes, known: frozenset[str], place: str) -> dict[str, bytes]:
    """Return the object ``text`` as key to raw value, in order.

    :param known: keys that are read here or by servers; another spelling of one of them is refused.
    :raises Malformed: when it is not an object, or has duplicate or case-variant keys.
    """
    try:
        found = {key: bytes(value) for key, value in _object.decode(text).items()}
    except msgspec.ValidationError:
        raise Malformed(INVALID_REQUEST, f"{place} is not an object") from None
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        raise Malformed(PARSE_ERROR, "Parse error") from None
    # A compact object without duplicates has exactly this length; anything more costs every byte it adds.
    least = 1 + 4 * len(found) + sum(map(len, found)) + sum(map(len, found.values())) if found else 2
    if len(text) != least and not _exact(text, found):
        raise Malformed(INVALID_REQUEST, f"{place} has a duplicate key")
    if not found.keys() <= known:
        _check_case(found, known, place)
    return found


def members(raw: bytes) -> dict[str, bytes]:
    """Return the raw members of an object that was checked before, or comes from a server; empty for anything else.

    :raises msgspec.DecodeError: when it is not JSON.
    """
    return {key: bytes(value) for key, value in _object.decode(raw).items()} if raw[:1] == b"{" else {}


def text_of(raw: bytes) -> str:
    """Return the decoded string ``raw``, or an empty string when it is no string."""
    if raw[:1] != b'"':
        return ""
    try:
        return _string.decode(raw)
    except (msgspec.DecodeError, UnicodeDecodeError):
        return ""


def _response(envelope: Mapping[str, bytes], identifier: bytes) -> Message:
    result, error = envelope.get("result", b""), envelope.get("error", b"")
    if not identifier or bool(result) == bool(error):
        raise Malformed(INVALID_REQUEST, "Neither a request, nor a notification, nor a response")
    return Message(kind=Kind.RESPONSE, id=identifier, result=result, error=error)


def _call(envelope: Mapping[str, bytes], identifier: bytes) -> Message:
    method = text_of(envelope["method"])
    if not method or "result" in envelope or "error" in envelope:
        raise Malformed(INVALID_REQUEST, "method must be a string, without a result or an error")
    params: dict[str, bytes] = {}
    if "params" in envelope:
        params = pieces(envelope["params"], _PARAMS, "params")
        if "_meta" in params:
            pieces(params["_meta"], _META, "params._meta")
    target = _TARGET.get(method) or ("name" if "name" in params else "uri")
    return Message(
        kind=Kind.REQUEST if identifier else Kind.NOTIFICATION,
        id=identifier,
        method=method,
        params=params,
        has_params="params" in envelope,
        name=text_of(params.get(target, b"")),
    )


def _answer(found: _Line, identifier: bytes) -> Message | None:
    result, error = bytes(found.result), bytes(found.error)
    if not (result or error):
        return None
    return Message(kind=Kind.RESPONSE, id=identifier, result=b"" if error else result, error=error)


def _check_text(body: bytes) -> None:
    if not body.isascii():
        try:
            body.decode()
        except UnicodeDecodeError:
            raise Malformed(PARSE_ERROR, "The body is not UTF-8") from None
    if body.count(b"[") + body.count(b"{") > MAX_DEPTH and _depth(body) > MAX_DEPTH:
        raise Malformed(INVALID_REQUEST, f"The body is nested deeper than {MAX_DEPTH}")


def _depth(body: bytes) -> int:
    outside = b"".join(_ESCAPE.sub(b"", body).split(b'"')[::2])
    return max(accumulate(_STEP[byte] for byte in outside.translate(None, _BRACKETS)), default=0)


def _exact(text: bytes, found: Mapping[str, bytes]) -> bool:
    """Tell whether ``text`` holds exactly the pairs of ``found``, each once and in this order, however spaced."""
    place = _after_space(text, 0)
    for key, value in found.items():
        name = _STRING.match(text, _after_space(text, place + 1))
        if name is None or text_of(name[0]) != key:
            return False
        place = _after_space(text, _after_space(text, name.end()) + 1)
        if not text.startswith(value, place):
            return False
        place = _after_space(text, place + len(value))
    return text[place if found else _after_space(text, place + 1) :].rstrip(b" \t\r\n") == b"}"


def _after_space(text: bytes, place: int) -> int:
    match = _SPACE.match(text, place)
    return match.end() if match else place


@lru_cache(maxsize=8)
def _folded(known: frozenset[str]) -> frozenset[str]:
    return frozenset(key.casefold() for key in known)


def _check_case(found: Mapping[str, bytes], known: frozenset[str], place: str) -> None:
    folded = {key.casefold() for key in found}
    strangers = {key.casefold() for key in found if key not in known}
    if len(folded) != len(found) or strangers & _folded(known):
        raise Malformed(INVALID_REQUEST, f"{place} has a key in another case")
