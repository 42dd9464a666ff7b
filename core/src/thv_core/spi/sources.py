"""The contracts of server sources (``thv.sources``) and builders (``thv.builders``), chosen by URI scheme."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Callable, Sequence

from thv_core.model.entry import PackageRoot, PackageSpec, PreparedPackage, ServerEntry
from thv_core.model.events import Progress
from thv_core.spi.drivers import Driver
from thv_core.spi.workshops import Workshop

__all__ = ["Builder", "ServerSource"]


class ServerSource(Driver):
    """Resolves what a user typed into a server entry. Its entry-point name is the URI scheme that it serves."""

    @abstractmethod
    def resolve(self, reference: str) -> ServerEntry:
        """Resolve ``SCHEME://NAME[@VERSION]`` to an entry with an exact version.

        An exact version in the reference is taken as it is, without asking anyone.

        :raises InvalidRequest: when the reference is malformed.
        :raises PackageNotFound: when there is no such package or version; the hint names the nearest.
        :raises Unavailable: when the index does not answer.
        """


class Builder(Driver):
    """Prepares packages as read-only roots. Its entry-point name is the URI scheme that it serves."""

    @abstractmethod
    def build(self, package: PackageSpec, report: Callable[[Progress], None], workshop: Workshop) -> PackageRoot:
        """Prepare the root of an exact package version, or find it prepared: a second call touches no network.

        Whatever runs code of the package, or of what it depends on, runs in the ``workshop``.
        Concurrent and interrupted calls never leave a half-made root behind that a later call would take.

        :raises PackageNotFound: when there is no such package or version.
        :raises PreparationFailed: when it cannot be made, or offers no executable to run; the evidence says why.
        :raises Unavailable: when the index does not answer.
        """

    def prepared(self) -> Sequence[PreparedPackage]:
        """List what is prepared on this machine; the default is nothing that could be listed."""
        return ()

    def discard(self, package: PreparedPackage) -> None:
        """Delete one prepared package, which nobody uses; one that is gone is no error."""
