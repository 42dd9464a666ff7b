"""The console: data to stdout, progress and messages to stderr, and nothing of a stranger's that drives a terminal."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TextIO

from thv_cli.visible import cell, escaped_json, prose, width

__all__ = ["TerminalConsole"]

_WORD_WIDTH = 10
_STEP_WIDTH = 74
_USUAL_COLUMNS = 80
_ERASE_LINE = "\r\x1b[K"
_GREEN = "32"
_RED = "31"


class TerminalConsole:
    """A :class:`thv_core.spi.console.Console` on two streams.

    ``quiet`` and ``debug`` are set by the global options, wherever on the command line they stand.
    """

    environment: Mapping[str, str]
    directory: Path

    def __init__(self, stdout: TextIO, stderr: TextIO, environment: Mapping[str, str], directory: Path) -> None:
        self.environment = environment
        self.directory = directory
        self.quiet = False
        self.debug = False
        self._stdout = stdout
        self._stderr = stderr
        self._redraws = stderr.isatty() and environment.get("TERM") != "dumb"
        self._coloured = self._redraws and not environment.get("NO_COLOR")
        self._has_passing_line = False

    def table(self, columns: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
        """Print an aligned table to stdout: a header, two spaces between columns, no trailing blanks."""
        lines = [[cell(text) for text in row] for row in (columns, *rows)]
        widths = [max(width(row[at]) for row in lines) for at in range(len(columns))]
        for row in lines:
            padded = [text + " " * (size - width(text)) for text, size in zip(row, widths, strict=True)]
            self._write(self._stdout, "  ".join(padded).rstrip())

    def document(self, value: object) -> None:
        """Print plain data as indented JSON to stdout."""
        import json  # not on the way to --help

        self._write(self._stdout, escaped_json(json.dumps(value, indent=2, ensure_ascii=False)))

    def line(self, text: str) -> None:
        """Print one line of data to stdout: made safe for a terminal, and untouched for a pipe or a file.

        It is written out at once, because a log that is followed may end a pipe that waits for it.
        """
        self._write(self._stdout, prose(text) if self._stdout.isatty() else text)
        self._stdout.flush()

    def message(self, text: str) -> None:
        """Print one line for people to stderr, unless ``--quiet``."""
        if not self.quiet:
            self._write(self._stderr, prose(text))

    def step(self, word: str, text: str, seconds: float = 0.0) -> None:
        """Print one finished step, ``  prepared   14 packages, 21 MB   2.1 s``, to stderr, unless ``--quiet``."""
        if self.quiet:
            return
        first, rest = _step(word, text, seconds)
        self._write(self._stderr, f"{self._colour(first, _GREEN)}{rest}")

    def going_on(self, word: str, text: str, seconds: float = 0.0) -> None:
        """Show on a terminal what takes a while, in a line that the next one replaces; elsewhere say nothing."""
        if self.quiet or not self._redraws:
            return
        # A line that wraps could not be replaced.
        line = "".join(_step(word, text, seconds))[: self._columns() - 1]
        self._erase_passing_line()
        self._stderr.write(line)
        self._stderr.flush()
        self._has_passing_line = True

    def failure(self, text: str) -> None:
        """Print an error to stderr, whatever ``--quiet`` says; its first line follows the word ``error:``."""
        self._write(self._stderr, f"{self._colour('error:', _RED)} {prose(text)}")

    def break_off(self) -> None:
        """End the line in which a terminal shows ``^C``."""
        self._erase_passing_line()
        if self._stderr.isatty():
            self._write(self._stderr, "")

    def report(self, text: str) -> None:
        """Print a traceback, or an error for a program, to stderr, whatever ``--quiet`` says."""
        self._write(self._stderr, prose(text))

    def speak_up(self) -> None:
        """Show everything that the program logs from now on, and the traceback of an error.

        With ``UNSTRUCTURED_LOGS=false`` in the environment, each message is a line of JSON.
        """
        from thv_cli.debugging import show_everything  # not on the way to --help

        self.debug = True
        show_everything(self._stderr, structured=self.environment.get("UNSTRUCTURED_LOGS", "").lower() == "false")

    def flush(self) -> None:
        """Write out what is buffered.

        :raises BrokenPipeError: when whoever read one of the streams has gone.
        """
        self._erase_passing_line()
        self._stdout.flush()
        self._stderr.flush()

    def is_unread(self) -> bool:
        """Tell whether whoever read one of the streams has gone."""
        import select  # only when something has gone wrong

        poll = select.poll()
        for stream in (self._stdout, self._stderr):
            with contextlib.suppress(OSError):  # not every stream has a descriptor
                poll.register(stream.fileno(), 0)
        return any(event & (select.POLLERR | select.POLLHUP) for _, event in poll.poll(0))

    def _colour(self, text: str, code: str) -> str:
        return f"\x1b[{code}m{text}\x1b[0m" if self._coloured else text

    def _columns(self) -> int:
        try:
            return os.get_terminal_size(self._stderr.fileno()).columns or _USUAL_COLUMNS
        except OSError:
            return _USUAL_COLUMNS

    def _erase_passing_line(self) -> None:
        if self._has_passing_line:
            self._stderr.write(_ERASE_LINE)
            self._stderr.flush()
            self._has_passing_line = False

    def _write(self, stream: TextIO, text: str) -> None:
        self._erase_passing_line()
        stream.write(f"{text}\n")


def _step(word: str, text: str, seconds: float) -> tuple[str, str]:
    """Lay out a step: its word, and behind it the text with the time at the end of the line."""
    shown = cell(text)
    time = f"{seconds:.1f} s" if seconds else ""
    start = f"  {cell(word):<{_WORD_WIDTH}} "
    gap = max(_STEP_WIDTH - width(start) - width(shown) - len(time), 2)
    return start, f"{shown}{' ' * gap}{time}".rstrip()
