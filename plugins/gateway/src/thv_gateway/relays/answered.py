"""Judge what a server answered as a whole: whether it is the answer, and whether anyone has to look into it."""

from __future__ import annotations

import msgspec

from thv_core.model.message import Kind, Message
from thv_gateway.stages.chain import Arrival

__all__ = ["WISHES", "answers", "is_plain_answer", "is_strange"]

WISHES = frozenset({"logging/setLevel", "resources/subscribe", "resources/unsubscribe"})
"""What a session wants to be told from then on is noted when it is granted."""


class _Outline(msgspec.Struct):
    jsonrpc: str = ""
    id: msgspec.Raw = msgspec.Raw(b"")
    method: str = ""
    result: msgspec.Raw = msgspec.Raw(b"")
    error: msgspec.Raw = msgspec.Raw(b"")


_outline = msgspec.json.Decoder(_Outline)


def is_plain_answer(body: bytes, arrival: Arrival) -> bool:
    """Tell whether a body is the response to a call and nothing else, so that it can be relayed as it is."""
    asked = arrival.message
    if asked is None or asked.kind is not Kind.REQUEST or asked.method in WISHES:
        return False
    try:
        if not body.isascii():
            # msgspec does not look into what it skips.
            body.decode()
        found = _outline.decode(body)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return False
    is_response = found.jsonrpc == "2.0" and not found.method and bool(len(found.result) or len(found.error))
    return is_response and bytes(found.id) == asked.id


def is_strange(status: int) -> bool:
    """Tell whether a status says nothing here: a redirection, or one that HTTP does not know."""
    return 300 <= status < 400 or status >= 600


def answers(message: Message, arrival: Arrival) -> bool:
    """Tell whether a body is about this request, and not the answer to another one."""
    asked = arrival.message.id if arrival.message is not None else b""
    if message.kind is not Kind.RESPONSE or message.id in (asked, b"", b"null"):
        return True
    try:
        return bool(asked) and msgspec.json.decode(message.id) == msgspec.json.decode(asked)
    except msgspec.DecodeError:
        return False
