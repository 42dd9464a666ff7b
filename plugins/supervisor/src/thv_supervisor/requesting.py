"""Turn the flags of ``thv run`` into a run request: whatever only the caller's shell knows is resolved here."""

from __future__ import annotations

import uuid
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import msgspec

from thv_core.errors import InvalidRequest, SecretNotFound
from thv_core.model.profile import grant, volume
from thv_core.model.reach import DEFAULT_PORTS, rule
from thv_core.model.request import RunRequest
from thv_core.model.run_config import RunConfig, decode_run_config
from thv_core.model.secret_reference import SHELL_PREFIX, SecretReference, secret_reference
from thv_supervisor.network_variables import network_variables
from thv_supervisor.profiles import profile_named, read_text

__all__ = ["request_from"]

FALLBACK_PREFIX = "TOOLHIVE_SECRET_"
NO_FALLBACK = "TOOLHIVE_DISABLE_ENV_FALLBACK"
BESIDE = {
    "server": "SERVER",
    "env_vars": "--env",
    "secrets": "--secret",
    "volumes": "--volume",
    "profile": "--permission-profile",
    "args": "ARGS",
    "transport": "--transport",
    "proxy_port": "--proxy-port",
    "target_port": "--target-port",
    "allow_network": "--allow-network",
    "allow_read": "--allow-read",
    "allow_write": "--allow-write",
    "allow_socket": "--allow-socket",
    "allow_scripts": "--allow-scripts",
}
"""The flags that say what a file says, too, as they are spelled; only the name may be another."""


def request_from(flags: Mapping[str, Any], environment: Mapping[str, str], directory: Path) -> dict[str, object]:
    """Return the request as plain data.

    :raises InvalidRequest: naming the first flag or file that cannot be meant.
    :raises SecretNotFound: when a secret should come from the shell and is not there.
    """
    config = _config(flags, directory)
    references = config.secret_references if config else tuple(secret_reference(text) for text in flags["secrets"])
    profile = profile_named(flags["profile"], directory) if flags["profile"] else None
    request = RunRequest(
        request_id=str(uuid.uuid4()),
        server=flags["server"],
        run_config=config,
        name=flags["name"],
        transport=flags["transport"],
        proxy_port=flags["proxy_port"],
        cmd_args=tuple(flags["args"]),
        env_vars=dict(_pair(text) for text in flags["env_vars"]),
        secrets=tuple(flags["secrets"]),
        volumes=tuple(_volume(text, directory) for text in flags["volumes"]),
        target_port=flags["target_port"],
        allow_scripts=flags["allow_scripts"],
        allow_network=tuple(_reached(text) for text in flags["allow_network"]),
        allow_read=tuple(_mount("--allow-read", text, directory) for text in flags["allow_read"]),
        allow_write=tuple(_mount("--allow-write", text, directory) for text in flags["allow_write"]),
        allow_socket=flags["allow_socket"],
        permission_profile=profile,
        permission_profile_name_or_path=flags["profile"],
        shell_values=_shell_values(references, environment),
        network=network_variables(environment),
    )
    plain: dict[str, object] = msgspec.to_builtins(request)
    return plain


def _config(flags: Mapping[str, Any], directory: Path) -> RunConfig | None:
    file = flags["config_file"]
    if not file:
        if not flags["server"]:
            raise InvalidRequest("say which server to run", hint="thv run uvx://mcp-server-time")
        return None
    beside = [spelled for name, spelled in BESIDE.items() if flags[name]]
    if beside:
        raise InvalidRequest(
            f"--from-config has all there is to say, and {beside[0]} was given too",
            hint=f"Write it into {file}, or leave it out.",
        )
    return decode_run_config(read_text(directory / file, file), file)


def _pair(text: str) -> tuple[str, str]:
    key, separator, value = text.partition("=")
    if not separator or not key:
        raise InvalidRequest(f"--env {text!r} is not KEY=VALUE", hint=f"Write --env {text or 'KEY'}=VALUE.")
    return key, value


def _reached(text: str) -> str:
    try:
        rule(text, DEFAULT_PORTS)
    except InvalidRequest as error:
        raise InvalidRequest(f"--allow-network: {error.message}", hint=error.hint) from None
    return text


def _volume(text: str, directory: Path) -> str:
    spelled = _absolute("--volume", text, directory)
    try:
        volume(spelled)
    except InvalidRequest as error:
        hint = "Write --volume HOST_PATH:SERVER_PATH, or HOST_PATH:SERVER_PATH:ro; SERVER_PATH is absolute."
        raise InvalidRequest(f"--volume {error.message}", hint=hint) from None
    return spelled


def _mount(flag: str, text: str, directory: Path) -> str:
    spelled = _absolute(flag, text, directory)
    try:
        grant(spelled, writable=False)
    except InvalidRequest as error:
        hint = f"Write {flag} PATH, or {flag} PATH:SERVER_PATH; SERVER_PATH is absolute."
        raise InvalidRequest(f"{flag} {error.message}", hint=hint) from None
    return spelled


def _absolute(flag: str, text: str, directory: Path) -> str:
    source, colon, rest = text.partition(":")
    if not source:
        raise InvalidRequest(f"{flag} {text!r} names no path of this machine", hint=f"Write {flag} /path.")
    try:
        absolute = str((directory / Path(source).expanduser()).absolute())
    except RuntimeError:
        raise InvalidRequest(f"{flag} {text}: there is no such home") from None
    return f"{absolute}{colon}{rest}"


def _shell_values(references: Iterable[SecretReference], environment: Mapping[str, str]) -> dict[str, str]:
    values: dict[str, str] = {}
    for reference in references:
        name = reference.name.removeprefix(SHELL_PREFIX)
        variable = name if reference.from_shell else f"{FALLBACK_PREFIX}{name}"
        if variable in environment and (reference.from_shell or environment.get(NO_FALLBACK) != "true"):
            values[reference.name] = environment[variable]
        elif reference.from_shell:
            raise SecretNotFound(f"{name} is not set in this shell", hint=f"Set it:  export {name}=…")
    return values
