"""Permission profiles: what a server may read, write and reach (reference: ToolHive's profile JSON)."""

from __future__ import annotations

import ipaddress
import posixpath
import re
from collections.abc import Callable
from typing import Annotated

import msgspec

from thv_core.errors import InvalidDocument, InvalidRequest
from thv_core.model.document import Document, decode_document
from thv_core.model.quantity import memory_bytes
from thv_core.model.reach import canonical_host, outbound_rules

__all__ = [
    "BUILTIN_PROFILES",
    "Grant",
    "Inbound",
    "Limits",
    "Network",
    "Outbound",
    "PermissionProfile",
    "checked_profile",
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
    """The network part of a profile; ``mode`` is ``none``, or ``bridge`` or empty, which mean the same."""

    mode: str = ""
    outbound: Outbound = Outbound()
    inbound: Inbound = Inbound()

    @property
    def reaches_out(self) -> bool:
        """Whether the profile asks for any way out."""
        outbound = self.outbound
        listed = outbound.insecure_allow_all or bool(outbound.allow_host) or bool(outbound.allow_port)
        return listed and self.mode != "none"


class Limits(Document, frozen=True, kw_only=True):
    """How much a server may use.

    ``memory`` of all its processes together, ``cpu`` in cores (0 is no limit), ``pids`` processes and threads,
    ``files`` open at once by each process.
    """

    memory: str = "512MiB"
    cpu: Annotated[float, msgspec.Meta(ge=0, le=4096)] = 0.0
    pids: Annotated[int, msgspec.Meta(ge=16, le=4_194_304)] = 256
    files: Annotated[int, msgspec.Meta(ge=64, le=1_048_576)] = 1024


class PermissionProfile(Document, frozen=True, kw_only=True):
    """A permission profile: ToolHive's keys, and behind them those that only thv knows.

    ``read`` and ``write`` are mounts, ``PATH`` or ``HOST_PATH:SERVER_PATH``. ``tmpfs`` maps folders of the server to
    the size of the memory file system there. ``require_limits`` refuses a machine that cannot enforce every limit.
    ``allow_socket`` permits grants that contain Unix sockets, which are ways out of the sandbox.
    """

    name: str = ""
    read: tuple[str, ...] = ()
    write: tuple[str, ...] = ()
    network: Network = Network()
    privileged: bool = False
    limits: Limits = Limits()
    require_limits: bool = False
    tmpfs: dict[str, str] = msgspec.field(default_factory=dict[str, str])
    allow_socket: bool = False


class Grant(Document, frozen=True, kw_only=True):
    """One host path that a server sees at ``target``; both absolute."""

    source: str
    target: str
    writable: bool


BUILTIN_PROFILES = {
    "none": PermissionProfile(name="none"),
    "network": PermissionProfile(name="network", network=Network(outbound=Outbound(insecure_allow_all=True))),
}

_MODES = ("", "none", "bridge")
_LEAST_MEMORY = 16 << 20
_FORBIDDEN = re.compile(r"[$&;|`\0\n]")


def decode_profile(text: bytes | str, origin: str) -> PermissionProfile:
    """Decode and check a profile.

    :raises InvalidDocument: naming the key, its line and the nearest known key.
    """
    profile = decode_document(text, PermissionProfile, origin)
    try:
        return checked_profile(profile)
    except InvalidRequest as error:
        raise InvalidDocument(f"{origin}: {error.message}", hint=error.hint) from None


def checked_profile(profile: PermissionProfile) -> PermissionProfile:
    """Return ``profile`` if every value in it is one that can be meant.

    :raises InvalidRequest: naming the key of the first that is not.
    """
    for key, check in _CHECKS:
        try:
            check(profile)
        except InvalidRequest as error:
            raise InvalidRequest(f"{key}: {error.message}", hint=error.hint) from None
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


def _readable(profile: PermissionProfile) -> None:
    for mount in profile.read:
        grant(mount, writable=False)


def _writable(profile: PermissionProfile) -> None:
    for mount in profile.write:
        grant(mount, writable=True)


def _known_mode(profile: PermissionProfile) -> None:
    mode = profile.network.mode
    if mode not in _MODES:
        raise InvalidRequest(
            f"{mode!r} is not offered: a server has no interface but its own loopback",
            hint="Leave the mode out, and say with allow_host what may be reached.",
        )


def _reachable(profile: PermissionProfile) -> None:
    outbound_rules(profile.network)


def _host_names(profile: PermissionProfile) -> None:
    for host in profile.network.inbound.allow_host:
        if not canonical_host(host.removeprefix(".")) and not _is_address(host):
            raise InvalidRequest(f"{host!r} is no host name", hint="Write names such as localhost, without a port.")


def _is_address(text: str) -> bool:
    try:
        ipaddress.ip_address(text.removeprefix("[").removesuffix("]"))
    except ValueError:
        return False
    return True


def _memory(profile: PermissionProfile) -> None:
    memory = profile.limits.memory
    if memory_bytes(memory) < _LEAST_MEMORY:
        raise InvalidRequest(f"no server runs in {memory}", hint="Write at least 16MiB; a bare number is bytes.")


def _memory_folders(profile: PermissionProfile) -> None:
    for path, size in profile.tmpfs.items():
        if ":" in path:
            raise InvalidRequest(f"{path!r} is not a folder of the server", hint='Write {"/path": "64MiB"}.')
        grant(path, writable=True)
        memory_bytes(size)


_CHECKS: tuple[tuple[str, Callable[[PermissionProfile], None]], ...] = (
    ("read", _readable),
    ("write", _writable),
    ("network.mode", _known_mode),
    ("network.outbound", _reachable),
    ("network.inbound.allow_host", _host_names),
    ("limits.memory", _memory),
    ("tmpfs", _memory_folders),
)
