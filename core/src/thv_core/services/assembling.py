"""Assemble the RunConfig of a request: pure, after its server was resolved."""

from __future__ import annotations

import re

import msgspec

from thv_core.errors import InvalidRequest
from thv_core.model.elsewhere import REMOTE, url_name
from thv_core.model.entry import PackageSpec, ServerEntry
from thv_core.model.group import DEFAULT_GROUP
from thv_core.model.names import derived_name
from thv_core.model.profile import BUILTIN_PROFILES, Network, PermissionProfile
from thv_core.model.request import RunRequest
from thv_core.model.run_config import RunConfig, checked
from thv_core.model.serving import unusual

__all__ = ["assemble", "assemble_remote", "builtin_profile", "is_pinned", "package_of", "same_package", "scheme_of"]

_WITHOUT_SCRIPTS = ("uvx",)
"""The schemes whose packages run nothing of theirs when they are installed."""

_FOR_HERE = {
    "allow_network": "--allow-network",
    "allow_read": "--allow-read",
    "allow_write": "--allow-write",
    "allow_socket": "--allow-socket",
    "allow_scripts": "--allow-scripts",
    "permission_profile": "--permission-profile",
    "permission_profile_name_or_path": "--permission-profile",
    "volumes": "--volume",
}
"""What would be ignored of a request for a server that runs somewhere else, by the flag that asks for it."""

_LOOPBACK = "127.0.0.1"
_VERSION = re.compile(r"v?\d|[0-9a-f]{7,}\Z")
"""How a version begins, or what a digest is; anything else behind the ``@`` is a tag, which moves."""


def scheme_of(server: str) -> str:
    """Return the URI scheme of what the user asked to run.

    :raises InvalidRequest: when it has none, because no catalog of names is installed.
    """
    scheme, separator, rest = server.partition("://")
    if not separator or not scheme or not rest:
        raise InvalidRequest(
            f"{server!r} does not say where the server comes from",
            hint="Write uvx://PACKAGE or npx://PACKAGE, such as uvx://mcp-server-time.",
        )
    return scheme


def package_of(config: RunConfig) -> PackageSpec:
    """Return the package of a configuration, whose image is a pinned reference, ``uvx://NAME@VERSION``.

    :raises InvalidRequest: when it is not pinned.
    """
    scheme = scheme_of(config.image)
    name, version = _parts(config.image)
    if not version:
        raise InvalidRequest(
            f"image {config.image!r} is not pinned to a version", hint=f"Write {config.image.rstrip('@')}@VERSION."
        )
    return PackageSpec(scheme=scheme, name=name, version=version, scripts=config.allow_scripts)


def is_pinned(image: str) -> bool:
    """Tell whether a reference names one version, and not whatever is newest or has a tag such as ``latest``."""
    return bool(_VERSION.match(_parts(image)[1]))


def same_package(one: str, other: str) -> bool:
    """Tell whether two references name one package, whatever their versions; spellings of one name are equal."""
    return _identity(one) == _identity(other)


def _identity(image: str) -> tuple[str, str]:
    scheme, _, _ = image.partition("://")
    name, _ = _parts(image)
    # PEP 503; the other indexes have one spelling for each name.
    return scheme, re.sub(r"[-_.]+", "-", name).lower() if scheme == "uvx" else name


def _parts(image: str) -> tuple[str, str]:
    """Return the name and the version, which is empty when there is none, as in ``npx://@scope/name``."""
    rest = image.partition("://")[2]
    name, separator, version = rest.rpartition("@")
    return (name, version) if separator and name and "/" not in version else (rest, "")


def assemble(request: RunRequest, entry: ServerEntry) -> RunConfig:
    """Merge what the user asked for with what the source knows; the user wins.

    :raises InvalidRequest: naming the first value that cannot be meant.
    """
    if request.allow_scripts and entry.package.scheme in _WITHOUT_SCRIPTS:
        raise InvalidRequest(
            f"{entry.package.reference} has no install scripts that could be allowed",
            hint="Leave out --allow-scripts: a package without a wheel is built in a sandbox of its own anyway.",
        )
    return checked(
        RunConfig(
            name=request.name or derived_name(request.server),
            image=entry.package.reference,
            transport=request.transport or entry.transport,
            host=request.host or _LOOPBACK,
            port=request.proxy_port,
            group=request.group or DEFAULT_GROUP,
            cmd_args=request.cmd_args,
            env_vars={**entry.env_vars, **request.env_vars},
            secrets=request.secrets,
            volumes=request.volumes,
            target_port=request.target_port,
            container_labels=request.labels,
            allow_scripts=request.allow_scripts,
            permission_profile=_widened(_profile(request, entry), request),
            permission_profile_name_or_path=request.permission_profile_name_or_path,
            **unusual(request),
        )
    )


def assemble_remote(request: RunRequest) -> RunConfig:
    """Return the configuration of a server that runs somewhere else.

    :raises InvalidRequest: naming the first value that cannot be meant for one.
    """
    for key, flag in _FOR_HERE.items():
        if getattr(request, key):
            raise InvalidRequest(
                f"{flag} means nothing to a server that runs somewhere else",
                hint="What it may do is up to whoever runs it.",
            )
    if request.transport == "stdio":
        raise InvalidRequest(
            "transport stdio needs a server that runs here",
            hint="Leave --transport out, or write streamable-http or sse.",
        )
    return checked(
        RunConfig(
            name=request.name or url_name(request.server),
            remote_url=request.server,
            transport=request.transport or "streamable-http",
            runtime=REMOTE,
            host=request.host or _LOOPBACK,
            port=request.proxy_port,
            group=request.group or DEFAULT_GROUP,
            cmd_args=request.cmd_args,
            env_vars=request.env_vars,
            secrets=request.secrets,
            target_port=request.target_port,
            container_labels=request.labels,
            **unusual(request),
        )
    )


def _widened(profile: PermissionProfile, request: RunRequest) -> PermissionProfile:
    """Return the profile with what the flags of the request add to it; nothing that it allows is lost."""
    return msgspec.structs.replace(
        profile,
        read=(*profile.read, *request.allow_read),
        write=(*profile.write, *request.allow_write),
        network=_reaching(profile.network, request.allow_network),
        allow_socket=profile.allow_socket or request.allow_socket,
    )


def _reaching(network: Network, entries: tuple[str, ...]) -> Network:
    if not entries:
        return network
    if network.mode == "none":
        raise InvalidRequest(
            f"the profile says network mode none, and {entries[0]} shall be reached",
            hint="Leave out --allow-network, or take the mode out of the profile.",
        )
    outbound = network.outbound
    # A profile that lists ports alone allows any host on them; beside listed hosts that has to be said.
    any_host = outbound.allow_port and not outbound.allow_host and not outbound.insecure_allow_all
    hosts = (*(("*",) if any_host else outbound.allow_host), *entries)
    return msgspec.structs.replace(network, outbound=msgspec.structs.replace(outbound, allow_host=hosts))


def _profile(request: RunRequest, entry: ServerEntry) -> PermissionProfile:
    if request.permission_profile is not None:
        return request.permission_profile
    if request.permission_profile_name_or_path:
        return builtin_profile(request.permission_profile_name_or_path)
    return entry.permissions or BUILTIN_PROFILES["none"]


def builtin_profile(name: str) -> PermissionProfile:
    """Return a profile that needs no file.

    :raises InvalidRequest: when there is none of that name.
    """
    profile = BUILTIN_PROFILES.get(name)
    if profile is None:
        raise InvalidRequest(f"there is no permission profile {name!r}", hint="Use none, network, or a JSON file.")
    return profile
