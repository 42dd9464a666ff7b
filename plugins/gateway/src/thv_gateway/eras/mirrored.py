"""Read the header fields that mirror a body (MCP 2026-07-28, transports, SEP-2243).

A value is plain ASCII without edge whitespace, or ``=?base64?...?=`` around canonical base64 of UTF-8.
"""

from __future__ import annotations

import base64
import binascii
import re

__all__ = ["decoded", "encoded"]

_SENTINEL = re.compile(r"=\?base64\?(.*)\?=", re.DOTALL)
_PLAIN = re.compile(r"[\x20-\x7e]*")


def decoded(raw: bytes) -> str | None:
    """Return what the value of a field stands for, ``None`` when it is malformed."""
    value = raw.strip(b" \t").decode("latin-1")
    found = _SENTINEL.fullmatch(value)
    if found is None:
        return value if _PLAIN.fullmatch(value) else None
    try:
        data = base64.b64decode(found[1], validate=True)
        # Whoever writes it twice differently wants two readers to disagree.
        return data.decode() if base64.b64encode(data).decode() == found[1] else None
    except (binascii.Error, ValueError):
        return None


def encoded(text: str) -> bytes:
    """Return the value of a field that stands for ``text``."""
    if _PLAIN.fullmatch(text) and text == text.strip() and _SENTINEL.fullmatch(text) is None:
        return text.encode()
    return b"=?base64?" + base64.b64encode(text.encode()) + b"?="
