"""DNS messages as far as a resolver's question and our short answers go (RFC 1035, RFC 6891; pure)."""

from __future__ import annotations

import struct
from enum import IntEnum
from typing import NamedTuple

__all__ = ["CLASS_IN", "TYPE_A", "TYPE_ANY", "Code", "Query", "answer", "malformed", "parse"]

TYPE_A, TYPE_OPT, TYPE_ANY = 1, 41, 255
CLASS_IN, CLASS_ANY = 1, 255
TIME_TO_LIVE = 60
UDP_SIZE = 1232

_HEADER = struct.Struct("!6H")
_QUESTION = struct.Struct("!2H")
_RESPONSE, _RECURSION_DESIRED, _RECURSION_AVAILABLE, _OPCODE = 0x8000, 0x0100, 0x0080, 0x7800
_OPT = b"\0" + struct.pack("!HHIH", TYPE_OPT, UDP_SIZE, 0, 0)


class Code(IntEnum):
    """The response codes that we answer with."""

    NO_ERROR = 0
    FORMAT_ERROR = 1
    SERVER_FAILURE = 2
    NO_SUCH_NAME = 3
    NOT_IMPLEMENTED = 4
    REFUSED = 5


class Query(NamedTuple):
    """One question; ``question`` is its bytes as they came, so that the case of the letters survives.

    ``name`` is in lower case without its final dot, and empty when it holds bytes that no host name has.
    """

    identifier: int
    flags: int
    name: str
    kind: int
    group: int
    question: bytes
    extended: bool

    @property
    def standard(self) -> bool:
        """Whether it is a plain look-up in the class of the Internet."""
        return not self.flags & _OPCODE and self.group in (CLASS_IN, CLASS_ANY)


def parse(message: bytes) -> Query | None:
    """Read a query, or return ``None`` when it is none.

    Names in questions are never compressed, and nobody asks two questions at once: both are refused.
    """
    if len(message) < _HEADER.size:
        return None
    identifier, flags, questions, answers, authorities, additional = _HEADER.unpack_from(message)
    if flags & _RESPONSE or questions != 1 or answers or authorities:
        return None
    labels: list[bytes] = []
    at = _HEADER.size
    while at < len(message) and 0 < message[at] < 64:
        labels.append(message[at + 1 : at + 1 + message[at]])
        at += 1 + message[at]
    end = at + 1 + _QUESTION.size
    if end > len(message) or message[at] or at - _HEADER.size > 254:
        return None
    kind, group = _QUESTION.unpack_from(message, at + 1)
    extended = bool(additional) and message[end : end + 3] == _OPT[:3]
    question = message[_HEADER.size : end]
    return Query(identifier, flags, _text(labels), kind, group, question, extended)


def answer(query: Query, code: Code, address: bytes = b"") -> bytes:
    """Build the response to a query; ``address`` is the four bytes of an A record, or empty for none."""
    flags = _RESPONSE | query.flags & (_OPCODE | _RECURSION_DESIRED) | _RECURSION_AVAILABLE | code
    head = _HEADER.pack(query.identifier, flags, 1, bool(address), 0, query.extended)
    # 0xC00C points at the name of the question.
    record = struct.pack("!HHHIH", 0xC00C, TYPE_A, CLASS_IN, TIME_TO_LIVE, len(address)) + address if address else b""
    return head + query.question + record + (_OPT if query.extended else b"")


def malformed(message: bytes) -> bytes:
    """Build the response to what is no query, or nothing when not even an identifier can be answered."""
    if len(message) < _HEADER.size or message[2] & 0x80:
        return b""
    return message[:2] + struct.pack("!5H", _RESPONSE | _RECURSION_AVAILABLE | Code.FORMAT_ERROR, 0, 0, 0, 0)


def _text(labels: list[bytes]) -> str:
    if any(b"." in label or not label.isascii() for label in labels):
        return ""
    return b".".join(labels).decode("ascii").lower()
