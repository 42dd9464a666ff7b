"""Assemble the RunConfig of a request: pure, after its server was resolved."""

from __future__ import annotations

from thv_core.errors import InvalidRequest
from thv_core.model.entry import PackageSpec, ServerEntry
from thv_core.model.names import derived_name
from thv_core.model.profile import BUILTIN_PROFILES, PermissionProfile
from thv_core.model.request import RunRequest
from thv_core.model.run_config import RunConfig, checked

__all__ = ["assemble", "package_of", "scheme_of"]


def scheme_of(server: str) -> str:
    """Return the URI scheme of what the user asked to run.

    :raises InvalidRequest: when it has none, because no catalog of names is installed.
    """
    scheme, separator, rest = server.partition("://")
    if not separator or not scheme or not rest:
        raise InvalidRequest(
            f"{server!r} does not say where the server comes from",
            hint="Write uvx://PACKAGE, such as uvx://mcp-server-time.",
        )
    return scheme


def package_of(image: str) -> PackageSpec:
    """Return the package of a pinned reference, ``uvx://NAME@VERSION``.

    :raises InvalidRequest: when it is not pinned.
    """
    scheme = scheme_of(image)
    name, separator, version = image.removeprefix(f"{scheme}://").rpartition("@")
    if not separator or not name or not version:
        raise InvalidRequest(f"image {image!r} is not pinned to a version", hint=f"Write {image}@VERSION.")
    return PackageSpec(scheme=scheme, name=name, version=version)


def assemble(request: RunRequest, entry: ServerEntry) -> RunConfig:
    """Merge what the user asked for with what the source knows; the user wins.

    :raises InvalidRequest: naming the first value that cannot be meant.
    """
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
            permission_profile=_profile(request, entry),
            permission_profile_name_or_path=request.permission_profile_name_or_path,
        )
    )


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
