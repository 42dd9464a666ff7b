"""What a server writes to its standard output that serves nobody: counted, slowed down, and told to its user."""

from __future__ import annotations

from collections.abc import Callable

__all__ = ["Noise", "printable"]

BURST = 8_000_000
PER_SECOND = 1_000_000
"""So many bytes in vain are read at once, and in each second afterwards; the server waits for the rest."""

_LINE_COST = 64
"""What a line costs beside its bytes: a flood of empty lines is one too."""

_LONGEST_REST = 2.0
"""Seconds: what the server says meanwhile waits."""

_WORTH_A_NOTE = 1_000_000
_LONGEST = 300
_FIRST_WORDS = 120
_NOTES = {
    "noise": "wrote more than {} MB that is not MCP to standard output",
    "vain": "wrote more than {} MB of messages that no client asked for",
}

_SLOWED = "writes so much in vain to standard output that it is read slowly"


class Noise:
    """The lines of one incarnation that were not messages, or not for anyone.

    :param clock: returns seconds, monotonically.
    """

    def __init__(self, clock: Callable[[], float]) -> None:
        self._slowed = False
        self._clock = clock
        self._lines = 0
        self._first = ""
        self._bytes = dict.fromkeys(_NOTES, 0)
        self._noted = dict.fromkeys(_NOTES, 0)
        self._debt = 0.0
        self._at = clock()

    @property
    def notes(self) -> tuple[str, ...]:
        """What the user of the server should know; it changes seldom."""
        told = [text.format(self._noted[kind] // 1_000_000) for kind, text in _NOTES.items() if self._noted[kind]]
        return (*told, *([_SLOWED] if self._slowed else []))

    def note(self, line: bytes) -> None:
        """Count a line that is no message, and keep the beginning of the first."""
        if line.strip():
            self._lines += 1
            self._first = self._first or printable(line[:_FIRST_WORDS].decode("utf-8", "replace"))
        self._count("noise", line)

    def in_vain(self, line: bytes) -> None:
        """Count a message that reached nobody."""
        self._count("vain", line)

    def rest(self) -> float:
        """Return for how many seconds nothing more should be read: 0 unless it is a flood."""
        now = self._clock()
        self._debt = max(0.0, self._debt - (now - self._at) * PER_SECOND)
        self._at = now
        seconds = max(0.0, (self._debt - BURST) / PER_SECOND)
        self._slowed = self._slowed or seconds > 0
        return seconds

    def explain(self, name: str, seconds: float) -> str:
        """Return why the server ``name`` did not become ready within so many seconds, as a sentence."""
        if not self._lines:
            return f"{name} did not answer initialize within {seconds:g} s"
        lines, verb = ("1 line", "is") if self._lines == 1 else (f"{self._lines} lines", "are")
        return f"{name} wrote {lines} to standard output that {verb} not MCP, the first: '{self._first}'"

    def _count(self, what: str, line: bytes) -> None:
        size = len(line) + 1
        self._debt = min(self._debt + size + _LINE_COST, BURST + PER_SECOND * _LONGEST_REST)
        self._bytes[what] += size
        # Told at each doubling: a report for every line would be a flood of its own.
        if self._bytes[what] >= max(_WORTH_A_NOTE, 2 * self._noted[what]):
            self._noted[what] = self._bytes[what]


def printable(text: str) -> str:
    """Return the beginning of a foreign text, without what could disturb a terminal."""
    return "".join(letter for letter in text[:_LONGEST] if letter.isprintable()).strip()
