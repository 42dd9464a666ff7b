"""The first of several processes: what it does for the others beside everything that one alone would do."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path

import msgspec

from thv_core.model.route import RouteReport
from thv_gateway.sessions.file_store import COMMON_FILE, FileStore
from thv_gateway.web.app import Application
from thv_gateway.web.listeners import Address, Listener
from thv_gateway.workers.forwarding import received
from thv_gateway.workers.notes import WORKERS_SOCKET
from thv_gateway.workers.office import Office
from thv_gateway.workers.sharing_out import inner_socket

__all__ = ["Alone", "Principal"]


class Principal:
    """Answers what workers hand on, and speaks for all of them to control.

    :param count: how many workers there are beside.
    :param reports: returns the current reports of this process.
    :param publish: tells control one report.
    """

    def __init__(
        self,
        folder: Path,
        count: int,
        reports: Callable[[], list[RouteReport]],
        publish: Callable[[RouteReport], None],
    ) -> None:
        self.store = FileStore(folder / COMMON_FILE)
        self._folder = folder
        self._reports = reports
        self._publish = publish
        self._office = Office(count, self._said, self._complete)

    async def open(self) -> None:
        """Let workers come."""
        await self._office.open(self._folder / WORKERS_SOCKET)

    def merged(self, report: RouteReport) -> RouteReport:
        """Return what all processes together have to say: who is left is quiet when it is quiet everywhere."""
        if report.quiet and not self._office.is_quiet(report.incarnation):
            return msgspec.structs.replace(report, quiet=False)
        return report

    def reload(self) -> None:
        """Let every worker read the snapshot."""
        self._office.reload({report.incarnation for report in self._reports()})

    def give(self, values: Mapping[str, str]) -> None:
        """Let every worker know the values of secrets."""
        self._office.give(values)

    async def close(self) -> None:
        """Let go of every worker."""
        self._office.close()
        await self.store.close()

    def listener(self, workload: str, app: Application) -> Listener:
        """Return what listens for requests that other processes hand on."""
        return Listener(Address(socket=str(inner_socket(self._folder, workload))), received(workload, app), _unnoticed)

    def adapt(self, workload: str, app: Application) -> None:
        """Do nothing: this process answers everything."""

    def _said(self, report: RouteReport) -> None:
        for mine in self._reports():
            if mine.incarnation == report.incarnation and mine.quiet:
                self._publish(self.merged(mine))

    def _complete(self) -> None:
        for mine in self._reports():
            if mine.quiet:
                self._publish(self.merged(mine))


class Alone:
    """Stands for a principal where there is one process."""

    store = None

    async def open(self) -> None:
        """Do nothing."""

    def merged(self, report: RouteReport) -> RouteReport:
        """Return the report as it is."""
        return report

    def reload(self) -> None:
        """Do nothing."""

    def give(self, values: Mapping[str, str]) -> None:
        """Do nothing."""

    async def close(self) -> None:
        """Do nothing."""


def _unnoticed() -> None:
    """Take no note: whoever finds nobody there tells its client to come back."""
