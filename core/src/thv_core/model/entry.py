"""What a server source knows about a server, and what a builder makes of its package."""

from __future__ import annotations

import msgspec

from thv_core.model.document import Document
from thv_core.model.profile import PermissionProfile

__all__ = ["PackageRoot", "PackageSpec", "PreparedPackage", "ServerEntry"]


class PackageSpec(Document, frozen=True, kw_only=True):
    """A package by scheme, name and exact version, such as ``uvx``, ``mcp-server-time``, ``2026.10.19``.

    ``scripts`` lets it run its install scripts while it is prepared, isolated as ever.
    """

    scheme: str
    name: str
    version: str
    scripts: bool = False

    @property
    def reference(self) -> str:
        """The pinned reference, ``uvx://mcp-server-time@2026.10.19``."""
        return f"{self.scheme}://{self.name}@{self.version}"


class PackageRoot(Document, frozen=True, kw_only=True):
    """A prepared read-only package: a command, and every host folder that it must see at the same path.

    ``path`` is the root itself; ``view`` lists further absolute host paths that must be readable (an interpreter).
    ``hidden`` lists absolute folders of the system that are to be empty for it; one that is not shown is no error.
    ``command`` is an absolute argument vector without the user's arguments. ``environment`` is what the package needs,
    without secrets. ``packages`` and ``size`` (bytes) are for people.
    """

    path: str
    command: tuple[str, ...]
    view: tuple[str, ...] = ()
    hidden: tuple[str, ...] = ()
    environment: dict[str, str] = msgspec.field(default_factory=dict[str, str])
    packages: int = 0
    size: int = 0


class PreparedPackage(Document, frozen=True, kw_only=True):
    """A package that is prepared on this machine; ``used_at`` is seconds since the epoch, ``path`` that of its root."""

    reference: str
    path: str
    packages: int = 0
    size: int = 0
    used_at: float = 0.0


class ServerEntry(Document, frozen=True, kw_only=True):
    """A server as its source describes it; ``origin`` says in words where it came from (``PyPI``)."""

    name: str
    package: PackageSpec
    transport: str = "stdio"
    origin: str = ""
    permissions: PermissionProfile | None = None
    env_vars: dict[str, str] = msgspec.field(default_factory=dict[str, str])
