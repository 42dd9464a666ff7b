"""RunConfig: the one versioned document that says how a workload runs.

State, export, ``--from-config`` and the API carry the same bytes. Field names follow ToolHive's RunConfig in one
consistent snake_case. It holds the names of secrets, never their values.
"""

from __future__ import annotations

import re
from collections.abc import Callable

import msgspec

from thv_core.errors import InvalidDocument, InvalidRequest
from thv_core.model.document import Document, decode_document
from thv_core.model.names import valid_name
from thv_core.model.profile import PermissionProfile, grant, volume
from thv_core.model.secret_reference import SecretReference, secret_reference

__all__ = ["SCHEMA_VERSION", "MiddlewareConfig", "RunConfig", "checked", "decode_run_config"]

SCHEMA_VERSION = "v0.1.0"
TRANSPORTS = ("stdio", "sse", "streamable-http")

_VARIABLE = re.compile(r"[A-Za-z_][A-Za-z0-9_]*\Z")


class MiddlewareConfig(Document, frozen=True, kw_only=True):
    """One configured middleware: ``type`` is the name of its recipe, ``parameters`` are the recipe's own."""

    type: str
    parameters: dict[str, object] = msgspec.field(default_factory=dict[str, object])


class RunConfig(Document, frozen=True, kw_only=True, omit_defaults=True):
    """How one workload runs; ``image`` is a pinned reference such as ``uvx://mcp-server-time@2026.10.19``."""

    name: str
    image: str
    schema_version: str = SCHEMA_VERSION
    transport: str = "stdio"
    host: str = "127.0.0.1"
    port: int = 0
    group: str = "default"
    runtime: str = ""
    cmd_args: tuple[str, ...] = ()
    env_vars: dict[str, str] = msgspec.field(default_factory=dict[str, str])
    secrets: tuple[str, ...] = ()
    volumes: tuple[str, ...] = ()
    permission_profile_name_or_path: str = ""
    permission_profile: PermissionProfile = PermissionProfile(name="none")
    additional_middleware_configs: tuple[MiddlewareConfig, ...] = ()

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
    """Return ``config`` if every value is one that thv can act on.

    :raises InvalidRequest: naming the first that is not.
    """
    valid_name(config.name)
    for check in _CHECKS:
        check(config)
    for mount in (*config.permission_profile.read, *config.permission_profile.write):
        grant(mount, writable=False)
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
    if config.transport != "stdio":
        raise InvalidRequest(
            f"transport {config.transport} is not offered for servers in the sandbox yet",
            hint="Run the server with its stdio transport.",
        )


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


_CHECKS: tuple[Callable[[RunConfig], None], ...] = (
    _known_schema,
    _known_transport,
    _loopback_host,
    _possible_port,
    _variable_names,
    _distinct_targets,
    _unprivileged,
)
