"""Admit a request: resolve its server and check, before anything is recorded, that it can be run here."""

from __future__ import annotations

import contextlib
import errno
import socket
import time
from dataclasses import dataclass
from pathlib import Path

import msgspec

from thv_core.errors import InvalidRequest, PluginNotFound, Unsupported
from thv_core.model.entry import ServerEntry
from thv_core.model.profile import Grant, grant, volume
from thv_core.model.request import RunRequest
from thv_core.model.run_config import RunConfig, checked
from thv_core.services.assembling import assemble, package_of, scheme_of
from thv_core.spi.runtimes import Runtime
from thv_core.spi.sources import Builder, ServerSource
from thv_supervisor.control.ground import Ground
from thv_supervisor.control.outlets import outlet_plan

__all__ = ["Admitted", "admit", "ephemeral_start", "is_free"]

RESOLVE_LIMIT = 120.0
LOAD_LIMIT = 30.0
EPHEMERAL_RANGE = Path("/proc/sys/net/ipv4/ip_local_port_range")
USUAL_EPHEMERAL_START = 32768


@dataclass(frozen=True)
class Admitted:
    """A configuration that can run here; ``resolved`` says what a source made of the request, in ``seconds``."""

    config: RunConfig
    resolved: str = ""
    seconds: float = 0.0


async def admit(request: RunRequest, ground: Ground) -> Admitted:
    """Return the configuration that a request amounts to.

    :raises ThvError: naming what cannot be meant, found or loaded.
    """
    admitted = await _configured(request, ground)
    runtime = admitted.config.runtime or ground.kernel.configuration.runtime
    chosen = msgspec.structs.replace(admitted.config, runtime=runtime)
    config = await ground.calls.run("admission", LOAD_LIMIT, lambda: _with_real_paths(chosen))
    await ground.calls.run("admission", LOAD_LIMIT, lambda: _loadable(config, ground))
    _known_middleware(config, ground)
    return Admitted(config, admitted.resolved, admitted.seconds)


def _loadable(config: RunConfig, ground: Ground) -> None:
    """Construct every driver that a start will need, where a slow import holds up nobody."""
    drivers = ground.kernel.drivers
    drivers.get(Builder, package_of(config).scheme)
    _connectable(config, drivers.get(Runtime, config.runtime))
    outlet_plan(config.permission_profile.network, config.target_port, ground.kernel)
    if any(not reference.from_shell for reference in config.secret_references):
        ground.kernel.secret_store()


def _connectable(config: RunConfig, runtime: Runtime) -> None:
    if runtime.capabilities.network:
        return
    if config.permission_profile.network.reaches_out:
        raise Unsupported(
            f"the runtime {config.runtime} cannot open the network, and the profile asks for it",
            hint="Run it without network:  --permission-profile none",
        )
    if config.target_port:
        raise Unsupported(
            f"the runtime {config.runtime} cannot connect to a server that listens on a port",
            hint="Run the server with its stdio transport.",
        )


async def _configured(request: RunRequest, ground: Ground) -> Admitted:
    if request.run_config is not None:
        named = msgspec.structs.replace(request.run_config, name=request.name or request.run_config.name)
        return Admitted(checked(named))
    began = time.monotonic()
    scheme = scheme_of(request.server)

    def resolve() -> ServerEntry:
        return ground.kernel.drivers.get(ServerSource, scheme).resolve(request.server)

    entry = await ground.calls.run(f"source {scheme}", RESOLVE_LIMIT, resolve)
    origin = f" from {entry.origin}" if entry.origin else ""
    resolved = f"{entry.package.name} {entry.package.version}{origin}"
    return Admitted(assemble(request, entry), resolved, time.monotonic() - began)


def _with_real_paths(config: RunConfig) -> RunConfig:
    """Return the configuration with every symbolic link resolved, so that no server can later redirect its grants."""
    profile = msgspec.structs.replace(
        config.permission_profile,
        read=tuple(_real(grant(mount, writable=False)) for mount in config.permission_profile.read),
        write=tuple(_real(grant(mount, writable=True)) for mount in config.permission_profile.write),
    )
    volumes = tuple(_real_volume(volume(text)) for text in config.volumes)
    return msgspec.structs.replace(config, permission_profile=profile, volumes=volumes)


def _real_volume(granted: Grant) -> str:
    return _real(granted) + ("" if granted.writable else ":ro")


def _real(granted: Grant) -> str:
    try:
        return f"{Path(granted.source).resolve(strict=True)}:{granted.target}"
    except (OSError, RuntimeError) as error:
        reason = error.strerror if isinstance(error, OSError) else "its symbolic links form a circle"
        raise InvalidRequest(f"{granted.source} cannot be granted: {reason}") from None


def _known_middleware(config: RunConfig, ground: Ground) -> None:
    recipes = ground.kernel.hooks.middleware()
    for each in config.additional_middleware_configs:
        if each.type not in recipes:
            failures = [f"{plugin}: {reason}" for plugin, reason in ground.kernel.hooks.failures.items()]
            raise PluginNotFound(
                f"{config.name} needs the middleware {each.type}, which no plugin provides", evidence=failures
            )


def ephemeral_start() -> int:
    """Return the first port that the system gives to outgoing connections."""
    try:
        return int(EPHEMERAL_RANGE.read_text(encoding="ascii").split()[0])
    except (OSError, ValueError, IndexError):
        return USUAL_EPHEMERAL_START


def is_free(port: int) -> bool:
    """Tell whether a loopback port can be bound now.

    :raises InvalidRequest: when this user may not bind it at all.
    """
    with contextlib.closing(socket.socket()) as trial:
        trial.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            trial.bind(("127.0.0.1", port))
        except OSError as error:
            if error.errno == errno.EACCES:
                raise InvalidRequest(f"port {port} needs privileges", hint="Choose one above 1023.") from None
            return False
    return True
