"""Text from strangers made safe to look at: nothing in it may move the cursor, recolour, reorder or hide."""

from __future__ import annotations

import re
import unicodedata

__all__ = ["cell", "escaped_json", "prose", "width"]

# C0 and C1 controls, zero-width and bidirectional format characters, line separators, tags, and lone surrogates.
_UNSAFE = (
    "\x00-\x08\x0b-\x1f\x7f-\x9f\u00ad\u061c\u180e\u200b-\u200f\u2028-\u202e\u2060-\u206f\ufeff\ufff9-\ufffb"
    "\U000e0000-\U000e007f\ud800-\udfff"
)
_IN_PROSE = re.compile(f"[{_UNSAFE}]")
_IN_CELL = re.compile(f"[\t\n{_UNSAFE}]")


def prose(text: str) -> str:
    """Return ``text`` with its unsafe characters written as escapes; newlines and tabs stay."""
    return _IN_PROSE.sub(_escape, text)


def cell(text: str) -> str:
    """Return ``text`` for one line of a table or a step: newlines and tabs are escaped, too."""
    return _IN_CELL.sub(_escape, text)


def escaped_json(text: str) -> str:
    """Return indented JSON with its unsafe characters as JSON escapes, so that it means the same."""
    return _IN_PROSE.sub(_escape_json, text)


def width(text: str) -> int:
    """Count the columns of a terminal that ``text`` takes."""
    if text.isascii():
        return len(text)
    return sum(_columns(character) for character in text)


def _columns(character: str) -> int:
    if unicodedata.combining(character):
        return 0
    return 2 if unicodedata.east_asian_width(character) in "WF" else 1


def _escape(match: re.Match[str]) -> str:
    return match[0].encode("unicode_escape").decode("ascii")


def _escape_json(match: re.Match[str]) -> str:
    utf16 = match[0].encode("utf-16-be", "surrogatepass")
    return "".join(f"\\u{utf16[at] << 8 | utf16[at + 1]:04x}" for at in range(0, len(utf16), 2))
