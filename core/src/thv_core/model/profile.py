"""Permission profiles: what a server may read, write and reach (reference: ToolHive's profile JSON)."""

from __future__ import annotations

import posixpath
import re

from thv_core.errors import InvalidDocument, InvalidRequest
from thv_core.model.document import Document, decode_document

__all__ = [
    "BUILTIN_PROFILES",
    "Grant",
    "Inbound",
    "Network",
    "Outbound",
    "PermissionProfile",
    "decode_profile",
    "grant",
    "volume",
]


class Outbound(Document, frozen=True, kw_only=True):
    """What a server may reach: hosts and ports, or everything when ``insecure_allow_all``."""

    insecure_allow_all: bool = False
    allow_host: tuple[str, ...] = ()
    allow_port: tuple[int, ...] = ()


class Inbound(Document, frozen=True, kw_only=True):
    """Which ``Host`` names may reach a server."""

    allow_host: tuple[str, ...] = ()


class Network(Document, frozen=True, kw_only=True):
    """The network part of a profile; an empty ``mode`` leaves the choice to the runtime."""

    mode: str = ""
    outbound: Outbound = Outbound()
    inbound: Inbound = Inbound()

    @property
    def reaches_out(self) -> bool:
        """Whether the profile asks for any way out."""
        return (
            self.outbound.insecure_allow_all
            or bool(self.outbound.allow_host)
            or self.mode not in ("", "none", "bridge")
        )


class PermissionProfile(Document, frozen=True, kw_only=True):
    """A permission profile; ``read`` and ``write`` are mounts, ``PATH`` or ``HOST_PATH:SERVER_PATH``."""

    name: str = ""
    read: tuple[str, ...] = ()
    write: tuple[str, ...] = ()
    network: Network = Network()
    privileged: bool = False


class Grant(Document, frozen=True, kw_only=True):
    """One host path that a server sees at ``target``; both absolute."""

    source: str
    target: str
    writable: bool


BUILTIN_PROFILES = {
    "none": PermissionProfile(name="none"),
    "network": PermissionProfile(name="network", network=Network(outbound=Outbound(insecure_allow_all=True))),
}

_FORBIDDEN = re.compile(r"[$&;|`\0\n]")


def decode_profile(text: bytes | str, origin: str) -> PermissionProfile:
    """Decode a profile and check each of its mounts.

    :raises InvalidDocument: naming the key, its line and the nearest known key.
    """
    profile = decode_document(text, PermissionProfile, origin)
    for key, mounts in (("read", profile.read), ("write", profile.write)):
        for mount in mounts:
            try:
                grant(mount, writable=False)
            except InvalidRequest as error:
                raise InvalidDocument(f"{origin}: {key}: {error.message}", hint=error.hint) from None
    return profile


def grant(mount: str, *, writable: bool) -> Grant:
    """Parse one mount of a profile.

    :raises InvalidRequest: when a path is relative, holds a shell metacharacter, or there is more than one colon.
    """
    source, _, target = mount.partition(":")
    target = target or source
    if _FORBIDDEN.search(mount) or ":" in target:
        raise InvalidRequest(f"{mount!r} is not a mount", hint="Write /path, or /host/path:/path/in/the/server.")
    if not (source.startswith("/") and target.startswith("/")):
        raise InvalidRequest(f"{mount!r} is not absolute", hint="Write /path, or /host/path:/path/in/the/server.")
    return Grant(source=posixpath.normpath(source), target=posixpath.normpath(target), writable=writable)


def volume(text: str) -> Grant:
    """Parse a ``--volume``: ``HOST_PATH:SERVER_PATH[:ro]``, writable without ``:ro``.

    :raises InvalidRequest: when it is not of that form.
    """
    body, colon, mode = text.rpartition(":")
    if colon and mode in ("ro", "rw"):
        return grant(body, writable=mode == "rw")
    return grant(text, writable=True)
