"""One end of a server's standard streams: two FIFOs, opened non-blocking, framed by newlines.

The server holds both FIFOs open for reading and writing, so it never sees end-of-file and outlives this process;
we see end-of-file on its standard output, or EPIPE, when it is gone.
"""

from __future__ import annotations

import asyncio
import contextlib
import fcntl
import os
from collections import deque
from collections.abc import Callable

__all__ = ["MAX_LINE", "MAX_WAITING", "Locked", "Pipe", "ServerAbsent"]

MAX_LINE = 32 * 1024 * 1024
MAX_WAITING = 4 * 1024 * 1024
"""So many bytes may wait for the server to read before new calls are refused; one line always fits."""

PIPE_SIZE = 256 * 1024
"""Not the possible 1 MiB: an ordinary user has 64 MiB of pipe buffers for all his processes together."""

_CHUNK = 64 * 1024
"""Read in one turn of the loop; the streams of the clients then get their turn before more is read."""

_TURN_SECONDS = 0.002
"""So long the lines of one server are dealt with in one turn of the loop; then others get theirs."""


class Locked(Exception):
    """Another process reads this server's standard output."""


class ServerAbsent(Exception):
    """Nobody has the other end of the FIFOs open, or they do not exist."""


class Pipe:
    """A connection to one server process.

    :param on_line: called with each line of standard output, without its newline.
    :param rest: returns for how many seconds nothing should be read, after each turn.
    :param on_end: called once when the server is gone, with a word: ``closed`` or ``line-too-long``.
    """

    def __init__(
        self, on_line: Callable[[bytes], None], on_end: Callable[[str], None], rest: Callable[[], float]
    ) -> None:
        self._on_line = on_line
        self._on_end = on_end
        self._rest = rest
        self._lines: deque[bytes] = deque()
        self._pause: asyncio.Handle | None = None
        self._loop = asyncio.get_running_loop()
        self._lock = self._stdin = self._stdout = -1
        self._held: list[bytes] = []
        self._held_size = 0
        self._waiting: deque[bytes] = deque()
        self._waiting_size = 0
        self._scheduled = False
        self._watching = False

    def open(self, stdin: str, stdout: str, lock: str) -> None:
        """Take the lock, open both FIFOs and begin to read.

        :raises Locked: when another process holds the lock; try again.
        :raises ServerAbsent: when the server is not there.
        """
        try:
            self._lock = os.open(lock, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
            fcntl.flock(self._lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            # Standard input first: without a reader this fails at once, which is how a dead server is recognised.
            self._stdin = os.open(stdin, os.O_WRONLY | os.O_NONBLOCK | os.O_CLOEXEC)
            self._stdout = os.open(stdout, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
        except BlockingIOError:
            self.close()
            raise Locked(lock) from None
        except OSError as error:
            self.close()
            raise ServerAbsent(os.strerror(error.errno or 0)) from None
        for descriptor in (self._stdin, self._stdout):
            with contextlib.suppress(OSError):
                fcntl.fcntl(descriptor, fcntl.F_SETPIPE_SZ, PIPE_SIZE)
        self._loop.add_reader(self._stdout, self._readable)

    @property
    def congested(self) -> bool:
        """Whether so much waits for the server already that a new call has to be refused."""
        return self._waiting_size > MAX_WAITING

    def write(self, line: bytes) -> None:
        """Send a line; what is written in one turn of the loop goes out in one system call."""
        if self._stdin < 0:
            return
        self._waiting.append(line)
        self._waiting.append(b"\n")
        self._waiting_size += len(line) + 1
        if not (self._scheduled or self._watching):
            self._scheduled = True
            self._loop.call_soon(self._flush)

    def close(self) -> None:
        """Let go of the server without disturbing it."""
        if self._pause is not None:
            self._pause.cancel()
            self._pause = None
        elif self._stdout >= 0:
            self._loop.remove_reader(self._stdout)
        if self._watching:
            self._loop.remove_writer(self._stdin)
            self._watching = False
        for descriptor in (self._stdin, self._stdout, self._lock):
            if descriptor >= 0:
                os.close(descriptor)
        self._lock = self._stdin = self._stdout = -1
        self._waiting.clear()
        self._lines.clear()
        self._waiting_size = 0

    def _flush(self) -> None:
        self._scheduled = False
        while self._waiting and self._stdin >= 0:
            data = self._waiting.popleft() if len(self._waiting) == 1 else b"".join(self._waiting)
            self._waiting.clear()
            try:
                sent = os.write(self._stdin, data)
            except BlockingIOError:
                sent = 0
            except OSError:
                self._end("closed")
                return
            self._waiting_size -= sent
            if sent < len(data):
                self._waiting.append(data[sent:])
                self._watch(wanted=True)
                return
        self._watch(wanted=False)

    def _watch(self, *, wanted: bool) -> None:
        if wanted and not self._watching:
            self._loop.add_writer(self._stdin, self._flush)
        elif self._watching and not wanted and self._stdin >= 0:
            self._loop.remove_writer(self._stdin)
        self._watching = wanted

    def _readable(self) -> None:
        try:
            data = os.read(self._stdout, _CHUNK)
        except BlockingIOError:
            return
        except OSError:
            data = b""
        if data:
            self._feed(data)
        else:
            self._end("closed")

    def _feed(self, data: bytes) -> None:
        *lines, tail = data.split(b"\n")
        if lines and self._held:
            lines[0] = b"".join(self._held) + lines[0]
            self._held.clear()
            self._held_size = 0
        if tail:
            self._held.append(tail)
            self._held_size += len(tail)
        self._lines.extend(lines)
        self._deal()

    def _deal(self) -> None:
        """Deal with the lines that were read, for one turn; nothing more is read before the last one."""
        ends = self._loop.time() + _TURN_SECONDS
        while self._lines:
            self._on_line(self._lines.popleft())
            if self._loop.time() > ends:
                break
        if self._held_size > MAX_LINE:
            self._end("line-too-long")
        elif self._stdout >= 0:
            self._go_on(0.0 if self._lines else self._rest())

    def _go_on(self, seconds: float) -> None:
        if not (self._lines or seconds):
            if self._pause is not None:
                self._pause = None
                self._loop.add_reader(self._stdout, self._readable)
            return
        if self._pause is None:
            self._loop.remove_reader(self._stdout)
        self._pause = self._loop.call_later(seconds, self._deal)

    def _end(self, word: str) -> None:
        if self._stdout >= 0:
            self.close()
            self._on_end(word)
