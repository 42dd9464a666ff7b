"""What a server writes to its standard output that is not MCP: counted, and quoted once when it is the reason."""

from __future__ import annotations

__all__ = ["Noise", "printable"]

_LONGEST = 300
_FIRST_WORDS = 120


class Noise:
    """The lines of one incarnation that were not messages."""

    def __init__(self) -> None:
        self._lines = 0
        self._first = ""

    def note(self, line: bytes) -> None:
        """Count a line, and keep the beginning of the first."""
        self._lines += 1
        self._first = self._first or printable(line[:_FIRST_WORDS].decode("utf-8", "replace"))

    def explain(self, name: str, seconds: float) -> str:
        """Return why the server ``name`` did not become ready within so many seconds, as a sentence."""
        if not self._lines:
            return f"{name} did not answer initialize within {seconds:g} s"
        lines, verb = ("1 line", "is") if self._lines == 1 else (f"{self._lines} lines", "are")
        return f"{name} wrote {lines} to standard output that {verb} not MCP, the first: '{self._first}'"


def printable(text: str) -> str:
    """Return the beginning of a foreign text, without what could disturb a terminal."""
    return "".join(letter for letter in text[:_LONGEST] if letter.isprintable()).strip()
