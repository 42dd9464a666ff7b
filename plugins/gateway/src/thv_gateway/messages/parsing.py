"""Parse a JSON-RPC message once, into raw pieces, and refuse what two parsers could read differently.

msgspec validates the JSON grammar of every skipped value, control characters included, but lets duplicate keys,
invalid UTF-8 and deep nesting pass; those are checked here.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sized
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
    """A body that is not one JSON-RPC message; ``code`` is the JSON-RPC code and the text says why.

    ``identifier`` is the raw id of a request whose envelope can be read all the same.
    """

    def __init__(self, code: int, text: str, identifier: bytes = b"") -> None:
        super().__init__(text)
        self.identifier = identifier
        self.code = code
        self.text = text


class _Line(msgspec.Struct):
    jsonrpc: str = ""
    id: msgspec.Raw = msgspec.Raw(b"")
    method: str = ""
    params: msgspec.Raw = msgspec.Raw(b"")
    result: msgspec.Raw = msgspec.Raw(b"")
    error: msgspec.Raw = msgspec.Raw(b"")


class _Call(msgspec.Struct):
    jsonrpc: str
    method: str
    id: msgspec.Raw = msgspec.Raw(b"")
    params: dict[str, msgspec.Raw] | msgspec.UnsetType = msgspec.UNSET


_line = msgspec.json.Decoder(_Line)
_whole_call = msgspec.json.Decoder(_Call)
_LEAST = len('{"jsonrpc":"2.0","method":""}')


def parse_body(body: bytes) -> Message:
    """Parse what a client sent.

    :raises Malformed: when it is a batch, not JSON-RPC 2.0, ambiguous (duplicate or case-variant keys), not UTF-8, or
        nested deeper than :data:`MAX_DEPTH`.
    """
    try:
        _check_text(body)
        return _compact(body) or _spaced(body)
    except Malformed as error:
        error.identifier = _readable_id(body)
        raise


def _readable_id(body: bytes) -> bytes:
    """Return the raw id of a request that is malformed otherwise; empty where it is ambiguous, or may answer one."""
    try:
        envelope = pieces(body, _ENVELOPE, "the message")
        _check_identifier(envelope.get("id", b""))
    except Malformed:
        return b""
    identifier = envelope.get("id", b"")
    return identifier if "method" in envelope and (identifier[:1] != b'"' or text_of(identifier)) else b""


def _compact(body: bytes) -> Message | None:
    """Return the call in a body without any byte that it could do without; ``None`` for anything else."""
    try:
        found = _whole_call.decode(body)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return None
    method, identifier, params = found.method, bytes(found.id), found.params
    least = _LEAST + len(method) + (6 + len(identifier) if identifier else 0)
    if params is not msgspec.UNSET:
        least += 10 + _length(params)
    # As in pieces: whatever is there twice, or in another way, makes it longer.
    if found.jsonrpc != "2.0" or len(body) != least:
        return None
    _check_identifier(identifier)
    if params is msgspec.UNSET:
        return _called(method, identifier, {}, has_params=False)
    return _called(method, identifier, {key: bytes(value) for key, value in params.items()}, has_params=True)


def _spaced(body: bytes) -> Message:
    if body.lstrip()[:1] == b"[":
        raise Malformed(INVALID_REQUEST, "Batches are not supported")
    envelope = _raws(body, _ENVELOPE, "the message")
    if bytes(envelope.get("jsonrpc", b"")) != b'"2.0"':
        raise Malformed(INVALID_REQUEST, 'jsonrpc must be "2.0"')
    identifier = bytes(envelope.get("id", b""))
    _check_identifier(identifier)
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
    return {key: bytes(value) for key, value in _raws(text, known, place).items()}


def _raws(text: bytes | msgspec.Raw, known: frozenset[str], place: str) -> dict[str, msgspec.Raw]:
    """Do as :func:`pieces` without copying anything: an argument may have megabytes."""
    try:
        found = _object.decode(text)
    except msgspec.ValidationError:
        raise Malformed(INVALID_REQUEST, f"{place} is not an object") from None
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        raise Malformed(PARSE_ERROR, "Parse error") from None
    # A compact object without duplicates has exactly this length; anything more costs every byte it adds.
    if len(text) != _length(found) and not _exact(text, found):
        raise Malformed(INVALID_REQUEST, f"{place} has a duplicate key")
    if not found.keys() <= known:
        _check_case(found, known, place)
    return found


def _length(found: Mapping[str, Sized]) -> int:
    return 1 + 4 * len(found) + sum(map(len, found)) + sum(map(len, found.values())) if found else 2


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


def _response(envelope: Mapping[str, msgspec.Raw], identifier: bytes) -> Message:
    result, error = bytes(envelope.get("result", b"")), bytes(envelope.get("error", b""))
    if not identifier or bool(result) == bool(error):
        raise Malformed(INVALID_REQUEST, "Neither a request, nor a notification, nor a response")
    return Message(kind=Kind.RESPONSE, id=identifier, result=result, error=error)


def _call(envelope: Mapping[str, msgspec.Raw], identifier: bytes) -> Message:
    method = text_of(bytes(envelope["method"]))
    if not method or "result" in envelope or "error" in envelope:
        raise Malformed(INVALID_REQUEST, "method must be a string, without a result or an error")
    params: dict[str, bytes] = {}
    if "params" in envelope:
        params = {key: bytes(value) for key, value in _raws(envelope["params"], _PARAMS, "params").items()}
    return _called(method, identifier, params, has_params="params" in envelope)


def _called(method: str, identifier: bytes, params: dict[str, bytes], *, has_params: bool) -> Message:
    if not method:
        raise Malformed(INVALID_REQUEST, "method must be a string, without a result or an error")
    if not params.keys() <= _PARAMS:
        _check_case(params, _PARAMS, "params")
    if "_meta" in params:
        pieces(params["_meta"], _META, "params._meta")
    target = _TARGET.get(method) or ("name" if "name" in params else "uri")
    return Message(
        kind=Kind.REQUEST if identifier else Kind.NOTIFICATION,
        id=identifier,
        method=method,
        params=params,
        has_params=has_params,
        name=text_of(params.get(target, b"")),
    )


def _answer(found: _Line, identifier: bytes) -> Message | None:
    result, error = bytes(found.result), bytes(found.error)
    if not (result or error):
        return None
    return Message(kind=Kind.RESPONSE, id=identifier, result=b"" if error else result, error=error)


def _check_identifier(identifier: bytes) -> None:
    if identifier and identifier[:1] not in b'"-0123456789':
        raise Malformed(INVALID_REQUEST, "id must be a string or a number")


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


def _exact(text: bytes | msgspec.Raw, found: Mapping[str, msgspec.Raw]) -> bool:
    """Tell whether ``text`` holds exactly the pairs of ``found``, each once and in this order, however spaced."""
    view = memoryview(text)
    place = _after_space(view, 0)
    for key, value in found.items():
        name = _STRING.match(view, _after_space(view, place + 1))
        if name is None or text_of(bytes(name[0])) != key:
            return False
        place = _after_space(view, _after_space(view, name.end()) + 1)
        if view[place : place + len(value)] != memoryview(value):
            return False
        place = _after_space(view, place + len(value))
    return bytes(view[place if found else _after_space(view, place + 1) :]).rstrip(b" \t\r\n") == b"}"


def _after_space(text: memoryview, place: int) -> int:
    match = _SPACE.match(text, place)
    return match.end() if match else place


@lru_cache(maxsize=8)
def _folded(known: frozenset[str]) -> frozenset[str]:
    return frozenset(key.casefold() for key in known)


def _check_case(found: Mapping[str, object], known: frozenset[str], place: str) -> None:
    folded = {key.casefold() for key in found}
    strangers = {key.casefold() for key in found if key not in known}
    if len(folded) != len(found) or strangers & _folded(known):
        raise Malformed(INVALID_REQUEST, f"{place} has a key in another case")
