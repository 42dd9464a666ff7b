"""RunConfig: the one versioned document that says how a workload runs.

State, export, ``--from-config`` and the API carry the same bytes. Field names follow ToolHive's RunConfig in one
consistent snake_case. It holds the names of secrets, never their values.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable
from typing import cast

import msgspec

from thv_core.errors import InvalidDocument, InvalidRequest
from thv_core.model.document import Document, decode_document
from thv_core.model.elsewhere import checked_elsewhere
from thv_core.model.group import DEFAULT_GROUP, valid_group
from thv_core.model.label import valid_label
from thv_core.model.names import valid_name
from thv_core.model.profile import PermissionProfile, checked_profile, volume
from thv_core.model.reach import outbound_rules, reached_ports
from thv_core.model.secret_reference import SecretReference, secret_reference
from thv_core.model.serving import HeaderForward, ScalingConfig
from thv_core.model.serving_checks import checked_serving

__all__ = [
    "PROXY_PORT",
    "SCHEMA_VERSION",
    "USUAL_TARGET_PORT",
    "MiddlewareConfig",
    "RunConfig",
    "checked",
    "decode_run_config",
]

SCHEMA_VERSION = "v0.1.0"
TRANSPORTS = ("stdio", "sse", "streamable-http")

PROXY_PORT = 3128
"""The port of the HTTP proxy on the loopback interface of a server that may reach out."""

USUAL_TARGET_PORT = 8080
"""Where an HTTP server listens unless its configuration says another port; its network namespace is its own."""

DEEPEST = 32
"""How deep the parameters of a middleware may be nested."""

_VARIABLE = re.compile(r"[A-Za-z_][A-Za-z0-9_]*\Z")


class MiddlewareConfig(Document, frozen=True, kw_only=True):
    """One configured middleware: ``type`` is the name of its recipe, ``parameters`` are the recipe's own."""

    type: str
    parameters: dict[str, object] = msgspec.field(default_factory=dict[str, object])


class RunConfig(Document, frozen=True, kw_only=True, omit_defaults=True):
    """How one workload runs; ``image`` is a pinned reference such as ``uvx://mcp-server-time@2026.10.19``.

    ``remote_url`` is set instead for a server that runs somewhere else: its whole MCP endpoint.

    ``target_port`` is the port that a server of an HTTP transport listens on. ``allow_scripts`` lets a package run its
    install scripts while it is prepared. The keys from ``proxy_mode`` to ``socket`` are those of
    :class:`thv_core.model.serving.Serving`; ``session_ttl`` and ``request_timeout`` are durations as Go writes them,
    and the usual ones when they are empty or zero. ``tls_certificate``, ``tls_key`` and ``socket`` are absolute paths.
    """

    name: str
    image: str = ""
    remote_url: str = ""
    schema_version: str = SCHEMA_VERSION
    transport: str = "stdio"
    host: str = "127.0.0.1"
    port: int = 0
    group: str = DEFAULT_GROUP
    runtime: str = ""
    cmd_args: tuple[str, ...] = ()
    env_vars: dict[str, str] = msgspec.field(default_factory=dict[str, str])
    secrets: tuple[str, ...] = ()
    volumes: tuple[str, ...] = ()
    target_port: int = 0
    container_labels: dict[str, str] = {}  # noqa: RUF012 - msgspec copies it, and leaves an empty one out of the bytes
    allow_scripts: bool = False
    permission_profile_name_or_path: str = ""
    permission_profile: PermissionProfile = PermissionProfile(name="none")
    additional_middleware_configs: tuple[MiddlewareConfig, ...] = ()
    proxy_mode: str = "streamable-http"
    endpoint_prefix: str = ""
    allowed_origins: tuple[str, ...] = ()
    trust_proxy_headers: bool = False
    stateless: bool = False
    strict_protocol_validation: bool = False
    session_ttl: str = ""
    request_timeout: str = ""
    stdio_sessions: str = "shared"
    header_forward: HeaderForward = HeaderForward()
    scaling_config: ScalingConfig = ScalingConfig()
    tls_certificate: str = ""
    tls_key: str = ""
    socket: str = ""

    @property
    def secret_references(self) -> tuple[SecretReference, ...]:
        """The parsed ``secrets``."""
        return tuple(secret_reference(text) for text in self.secrets)


def decode_run_config(text: bytes | str, origin: str) -> RunConfig:
    """Decode and check a RunConfig.

    :raises InvalidDocument: naming the key path, its line and the nearest known key.
    """
    try:
        return checked(decode_document(text, RunConfig, origin))
    except InvalidDocument:
        raise
    except InvalidRequest as error:
        raise InvalidDocument(f"{origin}: {error.message}", hint=error.hint) from None


def checked(config: RunConfig) -> RunConfig:
    """Return ``config`` if every value is one that thv can act on; an HTTP server without a port gets the usual one.

    :raises InvalidRequest: naming the first that is not.
    """
    if config.remote_url and config.transport == "stdio":
        config = msgspec.structs.replace(config, transport="streamable-http")
    if config.transport != "stdio" and not (config.target_port or config.remote_url):
        config = msgspec.structs.replace(config, target_port=USUAL_TARGET_PORT)
    valid_name(config.name)
    for check in _CHECKS:
        check(config)
    valid_group(config.group)
    for key, value in config.container_labels.items():
        valid_label(key, value)
    for text in config.volumes:
        volume(text)
    return config


def _known_schema(config: RunConfig) -> None:
    if config.schema_version != SCHEMA_VERSION:
        raise InvalidRequest(
            f"schema_version {config.schema_version!r} is not {SCHEMA_VERSION!r}",
            hint="Export it again with this version of thv.",
        )


def _known_transport(config: RunConfig) -> None:
    if config.transport not in TRANSPORTS:
        raise InvalidRequest(
            f"transport {config.transport!r} is not one of {', '.join(TRANSPORTS)}",
            hint="Leave it out, or write stdio.",
        )


def _listening_port(config: RunConfig) -> None:
    port = config.target_port
    if config.remote_url:
        return
    if config.transport == "stdio":
        if port:
            raise InvalidRequest(
                f"target_port {port} means nothing to a server that speaks stdio",
                hint="Add --transport streamable-http, or leave the port out.",
            )
        return
    if not 1024 <= port <= 65535:
        raise InvalidRequest(
            f"target_port {port} is not between 1024 and 65535", hint="Say where the server listens: --target-port 8000"
        )
    network = config.permission_profile.network
    taken = (*reached_ports(outbound_rules(network)), PROXY_PORT) if network.reaches_out else ()
    if port in taken:
        reason = "where its HTTP proxy is" if port == PROXY_PORT else "one that it may reach at other hosts"
        raise InvalidRequest(
            f"the server's own port {port} is {reason}",
            hint="Let the server listen on another port, and give that as --target-port.",
        )


def _possible_profile(config: RunConfig) -> None:
    checked_profile(config.permission_profile)


def _loopback_host(config: RunConfig) -> None:
    if config.host not in ("127.0.0.1", "::1", "localhost"):
        raise InvalidRequest(
            f"host {config.host!r} is not a loopback address",
            hint="Nothing listens beyond loopback without authentication. Use 127.0.0.1.",
        )


def _possible_port(config: RunConfig) -> None:
    if not 0 <= config.port <= 65535:
        raise InvalidRequest(f"port {config.port} is not between 0 and 65535", hint="Leave it out to have one chosen.")


def _variable_names(config: RunConfig) -> None:
    for name in (*config.env_vars, *(reference.target for reference in config.secret_references)):
        if not _VARIABLE.match(name):
            raise InvalidRequest(
                f"{name!r} is not the name of an environment variable",
                hint="Use letters, digits and underscores, and no digit first.",
            )


def _no_nul(config: RunConfig) -> None:
    named = {f"env_vars.{name}": value for name, value in config.env_vars.items()}
    named |= {f"cmd_args[{place}]": value for place, value in enumerate(config.cmd_args)}
    for name, value in named.items():
        if "\0" in value:
            raise InvalidRequest(f"{name} has a NUL character, which no program can be given")


def _distinct_targets(config: RunConfig) -> None:
    targets = [reference.target for reference in config.secret_references] + list(config.env_vars)
    for target in targets:
        if targets.count(target) > 1:
            raise InvalidRequest(f"{target} is set more than once", hint="Give it by --env or by --secret, and once.")


def _unprivileged(config: RunConfig) -> None:
    if config.permission_profile.privileged:
        raise InvalidRequest(
            "the profile asks for privileged, which no runtime here offers",
            hint='Remove "privileged" from the profile.',
        )


def _shallow_parameters(config: RunConfig) -> None:
    """Refuse what can be read here and not where the stack is deeper: one such workload would hide all others."""
    for each in config.additional_middleware_configs:
        level: list[object] = [each.parameters]
        for _ in range(DEEPEST):
            level = [inner for value in level for inner in _within(value)]
        if level:
            raise InvalidRequest(
                f"the parameters of the middleware {each.type} are nested more than {DEEPEST} deep",
                hint="Nest them less deeply.",
            )


def _within(value: object) -> Iterable[object]:
    if isinstance(value, dict):
        return cast("dict[str, object]", value).values()
    return cast("list[object]", value) if isinstance(value, list) else ()


_CHECKS: tuple[Callable[[RunConfig], None], ...] = (
    _known_schema,
    _known_transport,
    checked_elsewhere,
    _possible_profile,
    _listening_port,
    _loopback_host,
    _possible_port,
    _variable_names,
    _no_nul,
    _distinct_targets,
    _unprivileged,
    _shallow_parameters,
    checked_serving,
)
