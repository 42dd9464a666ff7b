"""Insert and remove whole lines of block-style YAML, so that comments stay where their author put them."""

from __future__ import annotations

import re

__all__ = ["amended", "indented", "inserted", "rebuilt", "removed", "replaced"]

_VALUE = re.compile(
    r"""("(?:[^"\\]|\\.)*"|'(?:[^']|'')*'|(?:[^#\n]|(?<! )#)*?)(?=[ \t]*(?: #[^\n]*)?$)""", re.MULTILINE
)
_DASH = re.compile(r" *- *")


def inserted(text: str, line: int, column: int, addition: str) -> str:
    """Insert lines at the end of the block of the key at ``line`` and ``column``, both counted from 0."""
    lines = text.splitlines(keepends=True)
    end = _end(lines, line, column)
    if not lines[end - 1].endswith("\n"):
        lines[end - 1] += "\n"
    return "".join([*lines[:end], addition, *lines[end:]])


def removed(text: str, line: int, column: int) -> str:
    """Remove the key at ``line`` and ``column`` with its block; comments that follow it stay."""
    return rebuilt(text, line, column, "")


def replaced(text: str, line: int, column: int, value: str) -> str:
    """Replace the value that begins at ``line`` and ``column`` and ends on that line; a comment behind it stays."""
    start = sum(map(len, text.splitlines(keepends=True)[:line])) + column
    found = _VALUE.match(text, start)
    return text if found is None else text[:start] + value + text[found.end() :]


def amended(text: str, items: dict[int, bool], additions: list[str]) -> str:
    """Drop the lines of list items that do not stay, and add others behind the last.

    :param items: by the number of the line of each item, whether it stays.
    """
    lines = text.splitlines(keepends=True)
    last = max(items)
    dash = _DASH.match(lines[last])
    added = "".join(f"{dash[0] if dash else ''}{each}\n" for each in additions)
    kept = {number: line for number, line in enumerate(lines) if items.get(number, True)}
    return "".join([*_until(kept, last), added, *(line for number, line in kept.items() if number > last)])


def _until(lines: dict[int, str], last: int) -> list[str]:
    return [f"{line.rstrip(chr(10))}\n" for number, line in lines.items() if number <= last]


def rebuilt(text: str, line: int, column: int, block: str) -> str:
    """Put another block in place of that of the key at ``line`` and ``column``; comments that follow it stay."""
    lines = text.splitlines(keepends=True)
    return "".join([*lines[:line], block, *lines[_end(lines, line, column) :]])


def indented(text: str, column: int) -> str:
    """Indent every line."""
    return "".join(" " * column + line for line in text.splitlines(keepends=True))


def _end(lines: list[str], start: int, column: int) -> int:
    """Return the index after the last line that belongs to the block: deeper than its key, or a list beside it."""
    end = start + 1
    for number in range(start + 1, len(lines)):
        content = lines[number].strip()
        if not content or content.startswith("#"):
            continue
        depth = len(lines[number]) - len(lines[number].lstrip(" "))
        if depth < column or (depth == column and not f"{content} ".startswith("- ")):
            break
        end = number + 1
    return end
