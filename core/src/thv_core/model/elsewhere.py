"""Servers that run somewhere else: their URL, the name that one gets, and what may be said of one. Pure."""

from __future__ import annotations

import ipaddress
import re
from typing import TYPE_CHECKING, NamedTuple

from thv_core.errors import InvalidRequest
from thv_core.model.names import valid_name

if TYPE_CHECKING:
    from thv_core.model.run_config import RunConfig

__all__ = ["REMOTE", "checked_elsewhere", "is_url", "place_of", "url_name"]

REMOTE = "remote"
"""The runtime that keeps them."""

_SCHEMES = ("http", "https")
_HERE = ("cmd_args", "env_vars", "secrets", "volumes", "target_port", "allow_scripts")
_URL = re.compile(r"(?i:https?)://(?P<authority>[^/?#\\\s]+)(?:[/?][!-\"$-~]*)?")
_AUTHORITY = re.compile(r"(?P<host>\[[0-9A-Fa-f:.]+\]|[A-Za-z0-9._-]+)(?::(?P<port>[0-9]{1,5}))?")
_HINT = "Write the server's whole MCP endpoint:  https://mcp.example.com/mcp"


class _Place(NamedTuple):
    host: str
    port: int


def is_url(server: str) -> bool:
    """Tell whether what is to be run is named by a URL, hence runs somewhere else."""
    return server.partition("://")[0].lower() in _SCHEMES


def place_of(url: str) -> str:
    """Return the host of a server, with its port if it is an unusual one: what people may read of its URL."""
    place = _parts(url)
    name = f"[{place.host}]" if ":" in place.host else place.host
    return f"{name}:{place.port}" if place.port else name


def url_name(url: str) -> str:
    """Return the name for a workload behind a URL: the second-level label, ``example`` of ``api.example.com``."""
    host = _parts(url).host
    try:
        ipaddress.ip_address(host)
    except ValueError:
        labels = host.rstrip(".").split(".")
        host = labels[-2] if len(labels) > 1 else labels[0]
    return valid_name(re.sub(r"[^a-zA-Z0-9._-]", "-", host).strip("-._") or "remote")


def checked_elsewhere(config: RunConfig) -> None:
    """Check that a configuration says one place where its server runs, and of a remote one nothing that is for here.

    :raises InvalidRequest: naming what cannot be meant.
    """
    if not config.remote_url:
        if not config.image:
            raise InvalidRequest(
                f"{config.name} has neither an image nor a remote_url", hint="Write  image: uvx://PACKAGE"
            )
        return
    if config.image:
        raise InvalidRequest(f"{config.name} has an image and a remote_url", hint="Leave one of them out.")
    _parts(config.remote_url)
    for key in _HERE:
        if getattr(config, key):
            raise InvalidRequest(
                f"{key} means nothing to a server that runs somewhere else", hint=f"Leave {key} out of {config.name}."
            )
    if config.transport not in ("sse", "streamable-http"):
        raise InvalidRequest(
            f"transport {config.transport} needs a server that runs here", hint="Write streamable-http, or sse."
        )
    if config.permission_profile.read or config.permission_profile.write:
        raise InvalidRequest("a server that runs somewhere else can be granted no files", hint="Leave the profile out.")


def _parts(url: str) -> _Place:
    match = _URL.fullmatch(url)
    authority = match["authority"] if match else ""
    if "@" in authority:
        raise InvalidRequest(
            "the URL of a server must not hold a password", hint="Forward it as a header, from the secret store."
        )
    found = _AUTHORITY.fullmatch(authority)
    if found is None or int(found["port"] or 1) not in range(1, 65536):
        raise InvalidRequest(f"{url!r} is not the URL of an MCP endpoint", hint=_HINT)
    return _Place(found["host"].strip("[]").lower(), int(found["port"] or 0))
