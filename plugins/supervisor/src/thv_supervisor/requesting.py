"""Turn the flags of ``thv run`` into a run request: whatever only the caller's shell knows is resolved here."""

from __future__ import annotations

import re
import uuid
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import msgspec

from thv_core.errors import InvalidRequest, SecretNotFound
from thv_core.model.profile import BUILTIN_PROFILES, PermissionProfile, decode_profile, volume
from thv_core.model.request import RunRequest
from thv_core.model.run_config import RunConfig, decode_run_config
from thv_core.model.secret_reference import SHELL_PREFIX, SecretReference, secret_reference
from thv_supervisor.network_variables import network_variables

__all__ = ["request_from"]

FALLBACK_PREFIX = "TOOLHIVE_SECRET_"
NO_FALLBACK = "TOOLHIVE_DISABLE_ENV_FALLBACK"
BESIDE = ("server", "env_vars", "secrets", "volumes", "profile", "args", "transport", "proxy_port")
"""The flags that say what a file says, too; only the name may be another."""


def request_from(flags: Mapping[str, Any], environment: Mapping[str, str], directory: Path) -> dict[str, object]:
    """Return the request as plain data.

    :raises InvalidRequest: naming the first flag or file that cannot be meant.
    :raises SecretNotFound: when a secret should come from the shell and is not there.
    """
    config = _config(flags, directory)
    references = config.secret_references if config else tuple(secret_reference(text) for text in flags["secrets"])
    profile = _profile(flags["profile"], directory)
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
    beside = [name for name in BESIDE if flags[name]]
    if beside:
        raise InvalidRequest(f"--from-config has all there is to say, and {beside[0]} was given too")
    return decode_run_config(_text(directory / file, file), file)


def _profile(name_or_path: str, directory: Path) -> PermissionProfile | None:
    if not name_or_path or name_or_path in BUILTIN_PROFILES:
        return BUILTIN_PROFILES.get(name_or_path)
    if not re.search(r"[/.]", name_or_path):
        raise InvalidRequest(
            f"there is no permission profile {name_or_path!r}",
            hint="Use none, network, or a file: ./team.json.",
        )
    return decode_profile(_text(directory / name_or_path, name_or_path), name_or_path)


def _text(path: Path, name: str) -> str:
    try:
        return path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        reason = error.strerror if isinstance(error, OSError) else "it is not UTF-8"
        raise InvalidRequest(f"{name} cannot be read: {reason}") from None


def _pair(text: str) -> tuple[str, str]:
    key, separator, value = text.partition("=")
    if not separator or not key:
        raise InvalidRequest(f"--env {text!r} is not KEY=VALUE", hint=f"Write --env {text or 'KEY'}=VALUE.")
    return key, value


def _volume(text: str, directory: Path) -> str:
    source, colon, rest = text.partition(":")
    if not source:
        raise InvalidRequest(f"--volume {text!r} names no path of this machine")
    try:
        absolute = str((directory / Path(source).expanduser()).absolute())
    except RuntimeError:
        raise InvalidRequest(f"--volume {text}: there is no such home") from None
    spelled = f"{absolute}{colon}{rest}"
    volume(spelled)
    return spelled


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
