"""Resolve the symbolic links of the paths in a configuration, so that no server can later redirect its grants."""

from __future__ import annotations

from pathlib import Path

import msgspec

from thv_core.errors import InvalidRequest
from thv_core.model.profile import Grant, grant, volume
from thv_core.model.run_config import RunConfig

__all__ = ["with_real_paths"]


def with_real_paths(config: RunConfig) -> RunConfig:
    """Return the configuration with every symbolic link resolved; doing it again changes nothing.

    :raises InvalidRequest: naming a grant of something that is not there, or a file of TLS that cannot be read.
    """
    profile = msgspec.structs.replace(
        config.permission_profile,
        read=tuple(_real(grant(mount, writable=False)) for mount in config.permission_profile.read),
        write=tuple(_real(grant(mount, writable=True)) for mount in config.permission_profile.write),
    )
    volumes = tuple(_real_volume(volume(text)) for text in config.volumes)
    return msgspec.structs.replace(
        config,
        permission_profile=profile,
        volumes=volumes,
        tls_certificate=_real_file(config.tls_certificate, "certificate"),
        tls_key=_real_file(config.tls_key, "key"),
        socket=_real_socket(config.socket),
    )


def _real_file(path: str, what: str) -> str:
    if not path:
        return ""
    try:
        real = Path(path).resolve(strict=True)
        with real.open("rb"):
            return str(real)
    except (OSError, RuntimeError) as error:
        reason = error.strerror if isinstance(error, OSError) else "its symbolic links form a circle"
        raise InvalidRequest(f"the {what} {path} cannot be read: {reason}") from None


def _real_socket(path: str) -> str:
    if not path:
        return ""
    try:
        folder = Path(path).parent.resolve(strict=True)
    except (OSError, RuntimeError) as error:
        reason = error.strerror if isinstance(error, OSError) else "its symbolic links form a circle"
        raise InvalidRequest(f"no socket can be made at {path}: {reason}", hint="Make its folder first.") from None
    return str(folder / Path(path).name)


def _real_volume(granted: Grant) -> str:
    return _real(granted) + ("" if granted.writable else ":ro")


def _real(granted: Grant) -> str:
    try:
        path = Path(granted.source).resolve(strict=True)
    except (OSError, RuntimeError) as error:
        reason = error.strerror if isinstance(error, OSError) else "its symbolic links form a circle"
        raise InvalidRequest(f"{granted.source} cannot be granted: {reason}") from None
    real = f"{path}:{granted.target}"
    try:
        grant(real, writable=granted.writable)
    except InvalidRequest:
        raise InvalidRequest(
            f"{granted.source} cannot be granted: it leads to {str(path)!r}, and no grant can name that",
            hint="Give it a name without colons and without what means something to a shell.",
        ) from None
    return real
