"""DNS messages, as far as tests need them: one question, and its answer (RFC 1035, section 4)."""

from __future__ import annotations

import ipaddress
import struct

__all__ = ["AAAA", "NAME_ERROR", "A", "addresses_in", "answered", "asked_name", "code_of", "query_for"]

A, AAAA = 1, 28
NAME_ERROR = 3
"""The response code of a name that does not exist."""

_HEADER = struct.Struct(">6H")
_RECORD = struct.Struct(">HHIH")
_INTERNET = 1


def query_for(name: str, kind: int = A, number: int = 4711) -> bytes:
    """Return a recursive query for one name."""
    labels = b"".join(bytes([len(label)]) + label.encode("ascii") for label in name.split("."))
    return _HEADER.pack(number, 0x0100, 1, 0, 0, 0) + labels + b"\0" + struct.pack(">HH", kind, _INTERNET)


def asked_name(query: bytes) -> str:
    """Return the name that a query asks for, in lower case.

    :raises ValueError: when it is no query.
    """
    try:
        name, end = _name(query, _HEADER.size)
        struct.unpack_from(">HH", query, end)
    except (IndexError, struct.error):
        raise ValueError("this is no query") from None
    return name


def answered(query: bytes, address: str = "", code: int = 0) -> bytes:
    """Return the answer to a query: an IPv4 address for whoever asks for one, nothing else, or an error code."""
    _, end = _name(query, _HEADER.size)
    kind, _ = struct.unpack_from(">HH", query, end)
    given = [ipaddress.IPv4Address(address).packed] if address and kind == A else []
    header = _HEADER.pack(int.from_bytes(query[:2], "big"), 0x8580 | code, 1, len(given), 0, 0)
    records = b"".join(b"\xc0\x0c" + _RECORD.pack(A, _INTERNET, 1, 4) + each for each in given)
    return header + query[_HEADER.size : end + 4] + records


def code_of(answer: bytes) -> int:
    """Return the response code of an answer."""
    return answer[3] & 0x0F


def addresses_in(answer: bytes) -> list[str]:
    """Return every IPv4 address of an answer, in order."""
    questions, answers = struct.unpack_from(">HH", answer, 4)
    offset = _HEADER.size
    for _ in range(questions):
        offset = _name(answer, offset)[1] + 4
    found: list[str] = []
    for _ in range(answers):
        _, offset = _name(answer, offset)
        kind, _, _, length = _RECORD.unpack_from(answer, offset)
        offset += _RECORD.size
        if kind == A:
            found.append(str(ipaddress.IPv4Address(answer[offset : offset + length])))
        offset += length
    return found


def _name(message: bytes, offset: int) -> tuple[str, int]:
    """Return the name at an offset, and where it ends; of a compressed one only what stands there itself."""
    labels: list[str] = []
    while length := message[offset]:
        if length >= 0xC0:
            return ".".join(labels), offset + 2
        labels.append(message[offset + 1 : offset + 1 + length].decode("ascii").lower())
        offset += 1 + length
    return ".".join(labels), offset + 1
