"""A client that calls without a pause and never tries again, so that nothing a gateway loses goes unnoticed."""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Generator, Iterator, Sequence

from thv_testkit.gateway_processes import SECONDS, McpClient
from thv_testkit.waiting import eventually

__all__ = ["SteadyCaller", "calling"]


class SteadyCaller:
    """Counts on one session from a thread of its own.

    ``answered`` are the pids that answered, in order; ``failures`` says what went wrong instead of an answer.
    """

    def __init__(self, port: int, session: str = "") -> None:
        self.answered: list[int] = []
        self.failures: list[str] = []
        self._client = McpClient(port)
        self._client.session = session
        if not session:
            self._client.initialize()
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._run)

    @property
    def session(self) -> str:
        """The id of its session."""
        return self._client.session

    def start(self) -> None:
        """Begin to call."""
        self._thread.start()

    def stop(self) -> None:
        """Wait for the last answer."""
        self._ended.set()
        if self._thread.is_alive():
            self._thread.join(SECONDS)
        self._client.close()

    def until_more(self, calls: int = 20) -> None:
        """Wait until so many more calls have been answered, or one has failed."""
        enough = len(self.answered) + calls
        eventually(lambda: len(self.answered) >= enough or self.failures)

    def until_answered_by(self, pid: int) -> None:
        """Wait until a process answers, or a call has failed."""
        eventually(lambda: pid in self.answered or self.failures)

    def _run(self) -> None:
        while not (self._ended.is_set() or self.failures):
            try:
                self.answered.append(self._client.count()[1])
            except (AssertionError, OSError, KeyError) as failure:
                self.failures.append(f"{type(failure).__name__}: {failure}")


@contextlib.contextmanager
def calling(*ports: int) -> Generator[Sequence[SteadyCaller]]:
    """Call on sessions of their own at these ports meanwhile; no call may fail."""
    callers = [SteadyCaller(port) for port in ports]
    for caller in callers:
        caller.start()
    try:
        for caller in callers:
            caller.until_more()
        yield callers
    finally:
        for caller in callers:
            caller.stop()
    failures: Iterator[str] = (failure for caller in callers for failure in caller.failures)
    assert not [*failures], "calls have failed"
