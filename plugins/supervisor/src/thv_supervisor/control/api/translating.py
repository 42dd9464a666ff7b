"""Between ToolHive's ``createRequest`` and our configuration. Pure."""

from __future__ import annotations

import uuid
from collections.abc import Iterable, Sequence
from typing import Any, cast

import msgspec

from thv_core.errors import InvalidRequest
from thv_core.model.elsewhere import is_url
from thv_core.model.request import RunRequest
from thv_core.model.run_config import RunConfig
from thv_core.model.secret_reference import SHELL_PREFIX
from thv_core.model.serving import SERVING
from thv_core.services.assembling import same_package
from thv_supervisor.control.api.requests import CreateRequest, SecretParameter

__all__ = ["as_create_request", "as_run_request", "kept"]

_OF_TOOLHIVE = ("proxy_mode", "trust_proxy_headers", "header_forward")
"""What ToolHive's requests have of how clients meet a workload: a whole edit without it asks for the usual."""

_ABSENT = {
    "registry": "a catalog of servers",
    "server": "a catalog of servers",
    "allow_docker_gateway": "the gateway of Docker",
    "authz_config": "authorization policies",
    "oidc": "OIDC",
    "tools": "a list of allowed tools",
    "tools_override": "renamed tools",
    "oauth_config": "OAuth toward remote servers",
    "headers": "remote servers",
    "runtime_config": "build settings",
}
"""The fields whose feature this version does not have, and what it is."""


def as_run_request(asked: CreateRequest, present: Sequence[str] = ()) -> RunRequest:
    """Return what a caller asks for as a request to run a server.

    :param present: the secrets that it has already, which may stay wherever their values came from.
    :raises InvalidRequest: naming the first field that asks for what this version does not do.
    """
    _refuse_absent(asked)
    return RunRequest(
        request_id=str(uuid.uuid4()),
        server=asked.image or _elsewhere(asked.url),
        name=asked.name,
        group=asked.group,
        host=asked.host,
        transport=asked.transport,
        proxy_port=asked.proxy_port,
        target_port=asked.target_port,
        cmd_args=asked.cmd_arguments or (),
        env_vars=asked.env_vars or {},
        secrets=tuple(_references(asked.secrets or (), present)),
        volumes=asked.volumes or (),
        permission_profile=asked.permission_profile,
        **_serving(asked),
    )


def _elsewhere(url: str) -> str:
    if not is_url(url):
        raise InvalidRequest(
            f"url {url!r} is not the URL of an MCP endpoint", hint="Write https://mcp.example.com/mcp."
        )
    return url


def _serving(asked: CreateRequest) -> dict[str, Any]:
    """Return the keys that say how clients meet a workload, of those that were given."""
    given = {key: getattr(asked, key) for key in SERVING}
    return {key: value for key, value in given.items() if value not in (None, "")}


def as_create_request(config: RunConfig) -> CreateRequest:
    """Return a configuration in the shape in which it is created; a server somewhere else has nothing to isolate."""
    return CreateRequest(
        name=config.name,
        image=config.image,
        url=config.remote_url,
        host=config.host,
        transport=config.transport,
        proxy_port=config.port,
        target_port=config.target_port,
        cmd_arguments=config.cmd_args,
        env_vars=config.env_vars,
        secrets=tuple(SecretParameter(name=each.name, target=each.target) for each in config.secret_references),
        volumes=config.volumes,
        permission_profile=None if config.remote_url else config.permission_profile,
        network_isolation=None if config.remote_url else True,
        group=config.group,
        **{key: getattr(config, key) for key in SERVING},
    )


def kept(edited: RunConfig, current: RunConfig, asked: CreateRequest) -> RunConfig:
    """Return an edited configuration with everything of the current one that an edit has no field for.

    That its install scripts may run was allowed to one package, and not to whichever takes its place.
    """
    absent = [key for key in SERVING if key not in _OF_TOOLHIVE and getattr(asked, key) is None]
    same_profile = edited.permission_profile == current.permission_profile
    return msgspec.structs.replace(
        edited,
        port=asked.proxy_port or current.port,
        group=asked.group or current.group,
        runtime=current.runtime,
        container_labels=current.container_labels,
        allow_scripts=current.allow_scripts and same_package(edited.image, current.image),
        additional_middleware_configs=current.additional_middleware_configs,
        permission_profile_name_or_path=current.permission_profile_name_or_path if same_profile else "",
        **{key: getattr(current, key) for key in absent},
    )


def _refuse_absent(asked: CreateRequest) -> None:
    for field, feature in _ABSENT.items():
        if not _says_nothing(getattr(asked, field)):
            raise InvalidRequest(f"{field}: this version does not have {feature}", hint=f"Leave {field} out.")
    if asked.image and asked.url:
        raise InvalidRequest("there is an image and a url", hint="A server runs here or somewhere else: leave one out.")
    if asked.network_isolation is False and not asked.url:
        raise InvalidRequest(
            "network_isolation: every server is isolated, and none can do without",
            hint="Say in permission_profile.network.outbound what it may reach.",
        )
    if not (asked.image or asked.url):
        raise InvalidRequest(
            "image: say which server to run", hint="Write uvx://PACKAGE, such as uvx://mcp-server-time, or a url."
        )


def _says_nothing(value: object) -> bool:
    """Tell whether a value is what a form leaves behind that nobody filled in."""
    if isinstance(value, dict):
        return all(map(_says_nothing, cast("dict[str, object]", value).values()))
    if isinstance(value, list | tuple):
        return all(map(_says_nothing, cast("tuple[object, ...]", value)))
    return not value


def _references(secrets: Iterable[SecretParameter], present: Sequence[str]) -> Iterable[str]:
    for each in secrets:
        reference = f"{each.name},target={each.target}"
        if each.name.startswith(SHELL_PREFIX) and reference not in present:
            raise InvalidRequest(
                f"secrets: {each.name} would come from a shell, and there is none behind this request",
                hint="Put it into the secret store, and give the name that it has there.",
            )
        yield reference
