"""Admit a request: resolve its server and check, before anything is recorded, that it can be run here."""

from __future__ import annotations

import contextlib
import errno
import socket
from dataclasses import dataclass
from pathlib import Path

import msgspec

from thv_core.errors import InvalidRequest, PluginNotFound, Unsupported
from thv_core.model.elsewhere import REMOTE, is_url, place_of
from thv_core.model.entry import ServerEntry
from thv_core.model.request import RunRequest
from thv_core.model.run_config import RunConfig, checked
from thv_core.model.workload import Workload
from thv_core.services.assembling import assemble, assemble_remote, is_pinned, package_of, same_package, scheme_of
from thv_core.spi.runtimes import Runtime
from thv_core.spi.sources import Builder, ServerSource
from thv_supervisor.control.ground import Ground
from thv_supervisor.control.header_values import header_values
from thv_supervisor.control.outlets import outlet_plan
from thv_supervisor.probing import spoken
from thv_supervisor.real_paths import with_real_paths

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


async def admit(request: RunRequest, ground: Ground, current: Workload | None = None) -> Admitted:
    """Return the configuration that a request amounts to.

    :param current: the workload whose configuration it is to replace; what the request leaves open stays as it is.
    :raises ThvError: naming what cannot be meant, found or loaded.
    """
    admitted = await _configured(request, ground, current)
    config = _placed(admitted.config, request, current)
    usual = REMOTE if config.remote_url else ground.kernel.configuration.runtime
    chosen = msgspec.structs.replace(config, runtime=config.runtime or usual)
    # Before anything is prepared; it is checked again when the workload is recorded.
    ground.store.group(chosen.group)
    config = await ground.calls.run("admission", LOAD_LIMIT, lambda: with_real_paths(chosen))
    await ground.calls.run("admission", LOAD_LIMIT, lambda: _loadable(config, ground))
    _known_middleware(config, ground)
    return Admitted(config, admitted.resolved, admitted.seconds)


def _placed(config: RunConfig, request: RunRequest, current: Workload | None) -> RunConfig:
    """Return the configuration with what the flags beside it say, and with what a change leaves as it is."""
    placed = msgspec.structs.replace(
        config,
        group=request.group or config.group,
        host=request.host or config.host,
        container_labels={**config.container_labels, **request.labels},
    )
    return checked(placed if current is None else _staying(placed, request, current.config))


def _staying(config: RunConfig, request: RunRequest, current: RunConfig) -> RunConfig:
    if bool(config.remote_url) != bool(current.remote_url):
        raise InvalidRequest(
            f"no change moves {current.name} from here to somewhere else, or back",
            hint=f"Remove it and run it again:  thv rm {current.name}",
        )
    if config.runtime not in ("", current.runtime):
        raise InvalidRequest(
            f"{current.name} runs in the runtime {current.runtime}, and no change moves it to {config.runtime}",
            hint=f"Remove it and run it again:  thv rm {current.name}",
        )
    group = current.group if request.run_config is None and not request.group else config.group
    return msgspec.structs.replace(config, runtime=current.runtime, group=group)


def _loadable(config: RunConfig, ground: Ground) -> None:
    """Construct every driver that a start will need, where a slow import holds up nobody."""
    drivers = ground.kernel.drivers
    runtime = drivers.get(Runtime, config.runtime)
    if not config.remote_url:
        drivers.get(Builder, package_of(config).scheme)
    _connectable(config, runtime)
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


async def _configured(request: RunRequest, ground: Ground, current: Workload | None) -> Admitted:
    name = _name(request, current)
    if is_url(request.server):
        remote = assemble_remote(msgspec.structs.replace(request, name=name))
        if not request.transport:
            remote = msgspec.structs.replace(remote, transport=await _spoken(remote, request, ground, current))
        return Admitted(remote, f"{place_of(request.server)}, which runs somewhere else")
    if request.run_config is not None:
        named = checked(msgspec.structs.replace(request.run_config, name=name or request.run_config.name))
        return await _pinned(named, ground, current)
    wanted = _as_pinned(request.server, current)
    entry, seconds = await _resolved(wanted, ground)
    config = assemble(msgspec.structs.replace(request, server=wanted, name=name), entry)
    return Admitted(config, _said(entry), seconds)


async def _spoken(config: RunConfig, request: RunRequest, ground: Ground, current: Workload | None) -> str:
    """Return how a server somewhere else speaks: as it did, or as is found out now."""
    if current is not None and current.config.remote_url == config.remote_url:
        return current.config.transport
    shell = {**ground.shell_values.of(config.name if current else ""), **request.shell_values}
    values = await header_values(config, shell, ground)
    # Threads of their own: a place in the network that takes its time keeps nobody else from being admitted.
    return await ground.calls.run("probing", RESOLVE_LIMIT, lambda: spoken(config, values))


def _name(request: RunRequest, current: Workload | None) -> str:
    if current is None:
        return request.name
    given = request.name or (request.run_config.name if request.run_config else "")
    if given not in ("", current.name):
        raise InvalidRequest(
            f"a change of {current.name} cannot name it {given}", hint="Remove it, and run it under the other name."
        )
    return current.name


async def _pinned(config: RunConfig, ground: Ground, current: Workload | None) -> Admitted:
    """Return a configuration whose image is an exact version: the one that runs now, unless another is asked for."""
    if config.remote_url:
        return Admitted(config)
    image = _as_pinned(config.image, current)
    if is_pinned(image):
        return Admitted(msgspec.structs.replace(config, image=image))
    entry, seconds = await _resolved(image, ground)
    return Admitted(msgspec.structs.replace(config, image=entry.package.reference), _said(entry), seconds)


def _as_pinned(reference: str, current: Workload | None) -> str:
    if current is None or _names_version(reference) or not same_package(reference, current.config.image):
        return reference
    return current.config.image


def _names_version(reference: str) -> bool:
    """Tell whether a reference asks for a version, be it only a tag such as ``latest``."""
    name, _, version = reference.partition("://")[2].rpartition("@")
    return bool(name and version and "/" not in version)


async def _resolved(reference: str, ground: Ground) -> tuple[ServerEntry, float]:
    began = ground.monotonic()
    scheme = scheme_of(reference)

    def found() -> ServerSource:
        return ground.kernel.drivers.get(ServerSource, scheme)

    # A scheme that no plugin has gets no threads of its own: whoever asks may write anything there.
    source = await ground.calls.run("admission", LOAD_LIMIT, found)
    entry = await ground.calls.run(f"source {scheme}", RESOLVE_LIMIT, lambda: source.resolve(reference))
    return entry, ground.monotonic() - began


def _said(entry: ServerEntry) -> str:
    origin = f" from {entry.origin}" if entry.origin else ""
    return f"{entry.package.name} {entry.package.version}{origin}"


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
