"""Assemble the RunConfig of a request: pure, after its server was resolved."""

from __future__ import annotations

import msgspec

from thv_core.errors import InvalidRequest
from thv_core.model.entry import PackageSpec, ServerEntry
from thv_core.model.names import derived_name
from thv_core.model.profile import BUILTIN_PROFILES, Network, PermissionProfile
from thv_core.model.request import RunRequest
from thv_core.model.run_config import RunConfig, checked

__all__ = ["assemble", "package_of", "scheme_of"]

_WITHOUT_SCRIPTS = ("uvx",)
"""The schemes whose packages run nothing of theirs when they are installed."""


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
    image = config.image
    scheme = scheme_of(image)
    name, separator, version = image.removeprefix(f"{scheme}://").rpartition("@")
    if not separator or not name or not version:
        raise InvalidRequest(f"image {image!r} is not pinned to a version", hint=f"Write {image}@VERSION.")
    return PackageSpec(scheme=scheme, name=name, version=version, scripts=config.allow_scripts)


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
            port=request.proxy_port,
            cmd_args=request.cmd_args,
            env_vars={**entry.env_vars, **request.env_vars},
            secrets=request.secrets,
            volumes=request.volumes,
            target_port=request.target_port,
            allow_scripts=request.allow_scripts,
            permission_profile=_widened(_profile(request, entry), request),
            permission_profile_name_or_path=request.permission_profile_name_or_path,
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
        return _builtin(request.permission_profile_name_or_path)
    return entry.permissions or BUILTIN_PROFILES["none"]


def _builtin(name: str) -> PermissionProfile:
    profile = BUILTIN_PROFILES.get(name)
    if profile is None:
        raise InvalidRequest(f"there is no permission profile {name!r}", hint="Use none, network, or a JSON file.")
    return profile
