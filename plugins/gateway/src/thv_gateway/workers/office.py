"""What the principal tells the other processes, and what they tell it: who is still at work."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from pathlib import Path

import msgspec

from thv_core.model.route import RouteReport
from thv_gateway.process.channel import bind_private
from thv_gateway.workers.notes import MAX_NOTE, Given, Note, Reload, Said, decoded, encoded

__all__ = ["Office"]

MAX_WAITING = 16 * 1024 * 1024

MISSING_SECONDS = 2.0
"""So long after its start the principal waits for workers that may have calls in flight since its predecessor."""


class Office:
    """Serves every worker on one Unix socket; one that does not read is disconnected, and comes back.

    :param count: how many workers there are.
    :param said: called with each report of a worker, and with the last ones of a worker that has left.
    :param complete: called when missing workers are waited for no more.
    """

    def __init__(self, count: int, said: Callable[[RouteReport], None], complete: Callable[[], None]) -> None:
        self._count = count
        self._said = said
        self._complete = complete
        self._is_complete = False
        self._values: Mapping[str, str] | None = None
        self._workers: dict[asyncio.StreamWriter, dict[str, RouteReport]] = {}
        self._server: asyncio.Server | None = None

    async def open(self, path: Path) -> None:
        """Listen on ``path``, mode 0600, replacing the socket of a dead predecessor."""
        self._server = await asyncio.start_unix_server(self._serve, sock=bind_private(path), limit=MAX_NOTE)
        asyncio.get_running_loop().call_later(MISSING_SECONDS, self._is_all)

    def is_quiet(self, incarnation: str) -> bool:
        """Tell whether no worker has a request in flight to an incarnation that is being left."""
        if not self._is_complete:
            return False
        reports = (reports.get(incarnation) for reports in self._workers.values())
        return all(report is None or report.quiet for report in reports)

    def reload(self, incarnations: set[str]) -> None:
        """Let every worker read the snapshot, and forget what was said of incarnations that are not in it."""
        for worker, reports in self._workers.items():
            self._workers[worker] = {name: each for name, each in reports.items() if name in incarnations}
        self._tell(Reload())

    def give(self, values: Mapping[str, str]) -> None:
        """Let every worker know the values of secrets."""
        self._values = dict(values)
        self._tell(Given(dict(values)))

    def close(self) -> None:
        """Disconnect everyone."""
        if self._server is not None:
            self._server.close()
        for worker in list(self._workers):
            worker.close()

    def _is_all(self) -> None:
        if not self._is_complete:
            self._is_complete = True
            self._complete()

    def _tell(self, note: Note) -> None:
        line = encoded(note)
        for worker in list(self._workers):
            if worker.transport.get_write_buffer_size() > MAX_WAITING:
                worker.transport.abort()
            else:
                worker.write(line)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._workers[writer] = {}
        # A principal that was started anew knows no values before control comes back; the workers still do.
        given = encoded(Given(dict(self._values))) if self._values is not None else b""
        writer.write(given + encoded(Reload()))
        try:
            while line := await reader.readline():
                note = decoded(line)
                if isinstance(note, Said):
                    self._heard(writer, note.report)
        except (msgspec.DecodeError, OSError, ValueError):
            # It is told by the closed connection, and asks again.
            return
        finally:
            left = self._workers.pop(writer)
            writer.close()
            for report in left.values():
                self._said(report)

    def _heard(self, worker: asyncio.StreamWriter, report: RouteReport) -> None:
        self._workers[worker][report.incarnation] = report
        if all(self._workers.values()) and len(self._workers) >= self._count:
            self._is_all()
        self._said(report)
