"""Turn the flags of ``thv run`` into a run request: whatever only the caller's shell knows is resolved here."""

from __future__ import annotations

import re
import uuid
from collections.abc import Collection, Iterable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import msgspec

from thv_core.errors import InvalidRequest, SecretNotFound
from thv_core.model.label import label
from thv_core.model.profile import grant, volume
from thv_core.model.reach import DEFAULT_PORTS, rule
from thv_core.model.request import RunRequest
from thv_core.model.run_config import RunConfig
from thv_core.model.secret_reference import SHELL_PREFIX, SecretReference, secret_reference, without_value
from thv_supervisor.environment_files import variables_of_directory, variables_of_file
from thv_supervisor.network_variables import network_variables
from thv_supervisor.profiles import here, profile_named, read_text
from thv_supervisor.serving_flags import SPELLED, header_references, serving_keys

if TYPE_CHECKING:
    from thv_core.spi.console import Console

__all__ = ["request_from", "shell_values"]

FALLBACK_PREFIX = "TOOLHIVE_SECRET_"
NO_FALLBACK = "TOOLHIVE_DISABLE_ENV_FALLBACK"
BESIDE = {
    "server": "SERVER",
    "image": "--image",
    "env_vars": "--env",
    "env_file": "--env-file",
    "env_file_dir": "--env-file-dir",
    "secrets": "--secret",
    "volumes": "--volume",
    "profile": "--permission-profile",
    "args": "ARGS",
    "transport": "--transport",
    "proxy_port": "--proxy-port",
    "target_port": "--target-port",
    "host": "--host",
    "group": "--group",
    "labels": "--label",
    "isolate_network": "--isolate-network",
    "allow_network": "--allow-network",
    "allow_read": "--allow-read",
    "allow_write": "--allow-write",
    "allow_socket": "--allow-socket",
    "allow_scripts": "--allow-scripts",
    **SPELLED,
}
"""The flags that say what a file says, too, as they are spelled; only the name may be another."""

_FROM_SHELL = re.compile(rf"(?P<target>[A-Za-z_][A-Za-z0-9_]*)=(?P<name>{SHELL_PREFIX}[^,]+)\Z")
_LOOPBACK = ("127.0.0.1", "::1", "localhost")


def request_from(flags: Mapping[str, Any], given: Collection[str], console: Console) -> dict[str, object]:
    """Return the request as plain data.

    :param flags: the value of every flag; ``given`` are the names of those that the user wrote.
    :raises InvalidRequest: naming the first flag or file that cannot be meant.
    :raises SecretNotFound: when a secret should come from the shell and is not there.
    """
    environment, directory = console.environment, console.directory
    _offered(flags)
    config = _config(flags, given, console)
    secrets = tuple(_secret(text) for text in flags["secrets"])
    serving = serving_keys(flags, directory)
    references = config.secret_references if config else tuple(secret_reference(text) for text in secrets)
    headers = config.header_forward if config else serving["header_forward"]
    _caution(config.proxy_mode if config else flags["proxy_mode"], console)
    profile = profile_named(flags["profile"], directory) if flags["profile"] else None
    request = RunRequest(
        request_id=str(uuid.uuid4()),
        server=flags["server"] or flags["image"],
        run_config=config,
        name=flags["name"],
        group="" if config else flags["group"],
        labels=dict(label(text) for text in flags["labels"]),
        host="" if config else flags["host"],
        transport=flags["transport"],
        proxy_port=flags["proxy_port"],
        cmd_args=tuple(flags["args"]),
        env_vars=_variables(flags, directory),
        secrets=secrets,
        volumes=tuple(_volume(text, directory) for text in flags["volumes"]),
        target_port=flags["target_port"],
        allow_scripts=flags["allow_scripts"],
        allow_network=tuple(_reached(text) for text in flags["allow_network"]),
        allow_read=tuple(_mount("--allow-read", text, directory) for text in flags["allow_read"]),
        allow_write=tuple(_mount("--allow-write", text, directory) for text in flags["allow_write"]),
        allow_socket=flags["allow_socket"],
        permission_profile=profile,
        permission_profile_name_or_path=flags["profile"],
        shell_values=shell_values((*references, *header_references(headers)), environment),
        network=network_variables(environment),
        **serving,
    )
    plain: dict[str, object] = msgspec.to_builtins(request)
    return plain


def _caution(mode: str, console: Console) -> None:
    if mode == "sse":
        console.message("proxy mode sse is deprecated: prefer streamable-http, which is served at /mcp as well")


def _offered(flags: Mapping[str, Any]) -> None:
    """Refuse what other programs of this kind offer under the same flags, and this one does not."""
    if not flags["isolate_network"]:
        raise InvalidRequest(
            "--isolate-network=false: a server is always isolated",
            hint="Say what it may reach:  --allow-network HOST   or for any:  --permission-profile network",
        )
    if flags["host"] not in _LOOPBACK:
        raise InvalidRequest(
            f"--host {flags['host']}: nothing listens beyond loopback without authentication",
            hint="Leave it out, or use 127.0.0.1, ::1 or localhost.",
        )


def _config(flags: Mapping[str, Any], given: Collection[str], console: Console) -> RunConfig | None:
    file = flags["config_file"]
    if not file:
        _one_server(flags)
        return None
    beside = [spelled for name, spelled in BESIDE.items() if name in given]
    if beside:
        raise InvalidRequest(
            f"--from-config has all there is to say, and {beside[0]} was given too",
            hint=f"Write it into {file}, or leave it out.",
        )
    from thv_core.services.importing import imported

    found = imported(read_text(console.directory / file, file), file, flags["drop_unsupported"])
    for note in found.notes:
        console.message(note)
    return found.config


def _one_server(flags: Mapping[str, Any]) -> None:
    server, image = flags["server"], flags["image"]
    if server and image:
        raise InvalidRequest(
            f"--image {image} says which server to run, and {server} does too", hint="Leave one of them out."
        )
    if not server and not image:
        raise InvalidRequest("say which server to run", hint="thv run uvx://mcp-server-time")
    if flags["drop_unsupported"]:
        raise InvalidRequest("--drop-unsupported belongs to --from-config", hint="Leave it out.")


def _variables(flags: Mapping[str, Any], directory: Path) -> dict[str, str]:
    """Return the variables of the server: of the file, the directory and the flags, each stronger than the former."""
    file, folder = flags["env_file"], flags["env_file_dir"]
    of_file = variables_of_file(here(directory, file), f"--env-file {file}") if file else {}
    of_folder = variables_of_directory(here(directory, folder), f"--env-file-dir {folder}") if folder else {}
    return {**of_file, **of_folder, **dict(_pair(text) for text in flags["env_vars"])}


def _secret(text: str) -> str:
    """Return a reference in the form of a RunConfig, also for the spelling ``ENV=env:VARIABLE``."""
    if match := _FROM_SHELL.match(text):
        return f"{match['name']},target={match['target']}"
    try:
        secret_reference(text)
    except InvalidRequest:
        raise InvalidRequest(
            f"--secret {without_value(text)!r} is not NAME,target=VARIABLE",
            hint="Write github,target=GITHUB_TOKEN, or for one of your shell GITHUB_TOKEN=env:GITHUB_TOKEN.",
        ) from None
    return text


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
    return f"{here(directory, source, f'{flag} {text}').absolute()}{colon}{rest}"


def shell_values(references: Iterable[SecretReference], environment: Mapping[str, str]) -> dict[str, str]:
    """Return the values of secrets that the caller's shell holds, by the names of the secrets.

    :raises SecretNotFound: when one should come from the shell and is not there.
    """
    values: dict[str, str] = {}
    for reference in references:
        name = reference.name.removeprefix(SHELL_PREFIX)
        variable = name if reference.from_shell else f"{FALLBACK_PREFIX}{name}"
        if variable in environment and (reference.from_shell or environment.get(NO_FALLBACK) != "true"):
            values[reference.name] = environment[variable]
        elif reference.from_shell:
            raise SecretNotFound(f"{name} is not set in this shell", hint=f"Set it:  export {name}=…")
    return values
