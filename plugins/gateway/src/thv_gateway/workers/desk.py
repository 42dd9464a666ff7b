"""A worker's line to the principal: its orders come over it, and the worker's reports go."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable, Mapping
from pathlib import Path

import msgspec

from thv_core.model.route import RouteReport
from thv_gateway.workers.notes import MAX_NOTE, Given, Note, Reload, Said, decoded, encoded
from thv_gateway.workers.unix import connected

__all__ = ["Desk"]

MAX_WAITING = 16 * 1024 * 1024
_PAUSE_SECONDS = 0.05


class Desk:
    """It comes back to a principal that was started anew.

    :param reload: called when the snapshot has changed.
    :param values: called with the values of secrets.
    """

    def __init__(self, path: Path, reload: Callable[[], None], values: Callable[[Mapping[str, str]], None]) -> None:
        self._path = path
        self._reload = reload
        self._values = values
        self._writer: asyncio.StreamWriter | None = None
        self._reports: dict[str, RouteReport] = {}

    async def follow(self) -> None:
        """Stay connected to whichever principal there is, for ever."""
        while True:
            with contextlib.suppress(OSError, ValueError, msgspec.DecodeError):
                await self._listen()
            await asyncio.sleep(_PAUSE_SECONDS)

    def say(self, report: RouteReport) -> None:
        """Tell the principal how a route is doing here."""
        self._reports[report.incarnation] = report
        writer = self._writer
        if writer is None:
            return
        if writer.transport.get_write_buffer_size() > MAX_WAITING:
            # Whoever does not read is left; it hears everything when it is there again.
            writer.transport.abort()
        else:
            writer.write(encoded(Said(report)))

    def retain(self, incarnations: set[str]) -> None:
        """Forget what was said of any other incarnation."""
        self._reports = {name: each for name, each in self._reports.items() if name in incarnations}

    async def close(self) -> None:
        """Let go of the principal."""
        if self._writer is not None:
            self._writer.close()

    async def _listen(self) -> None:
        reader, self._writer = await asyncio.open_unix_connection(sock=connected(self._path), limit=MAX_NOTE)
        try:
            for report in self._reports.values():
                self._writer.write(encoded(Said(report)))
            while line := await reader.readline():
                self._heard(decoded(line))
        finally:
            self._writer.close()
            self._writer = None

    def _heard(self, note: Note) -> None:
        if isinstance(note, Given):
            self._values(note.values)
        elif isinstance(note, Reload):
            self._reload()
