"""What the keys of a RunConfig that say how clients meet a workload may be. Pure."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import TYPE_CHECKING

from thv_core.errors import InvalidRequest
from thv_core.model.duration import duration_seconds
from thv_core.model.header_fields import checked_headers, checked_origin

if TYPE_CHECKING:
    from thv_core.model.run_config import RunConfig

__all__ = ["PROXY_MODES", "STDIO_SESSIONS", "checked_serving", "redis_address"]

PROXY_MODES = ("streamable-http", "sse")
STDIO_SESSIONS = ("shared", "per-client")

LONGEST_SOCKET = 107
"""Bytes of the path of a Unix socket (``sun_path`` on Linux, and its terminating NUL)."""

SHORTEST_SESSION = 1.0
LONGEST_REQUEST = 86_400.0
LONGEST_SESSION = 30 * 86_400.0

_PREFIX = re.compile(r"/[!$&'()*+,;=:@A-Za-z0-9._~%/-]*\Z")
_REDIS = re.compile(r"(?:rediss?://)?(?:\[[0-9A-Fa-f:.]+\]|[A-Za-z0-9._-]+):(?P<port>[0-9]{1,5})\Z")


def checked_serving(config: RunConfig) -> None:
    """Check every key that says how clients meet a workload.

    :raises InvalidRequest: naming the first that cannot be meant.
    """
    for check in _CHECKS:
        check(config)


def redis_address(text: str) -> str:
    """Return the address of a Redis, ``HOST:PORT`` or ``rediss://HOST:PORT``.

    :raises InvalidRequest: when it is none; a password that stands in it is not repeated.
    """
    match = _REDIS.match(text)
    if match is None or not 0 < int(match["port"]) <= 65535:
        shown = text.rpartition("@")[2] if "@" in text else text
        raise InvalidRequest(
            f"{shown!r} is not the address of a Redis",
            hint="Write HOST:PORT, or rediss://HOST:PORT; the password comes from THV_SESSION_REDIS_PASSWORD.",
        )
    return text


def _known_mode(config: RunConfig) -> None:
    if config.proxy_mode not in PROXY_MODES:
        raise InvalidRequest(
            f"proxy_mode {config.proxy_mode!r} is not one of {', '.join(PROXY_MODES)}", hint="Leave it out."
        )
    if config.proxy_mode == "sse" and config.transport != "stdio":
        raise InvalidRequest(
            f"proxy_mode sse is for servers that speak stdio, and this one speaks {config.transport}",
            hint="Leave it out: clients reach both /mcp and /sse.",
        )


def _known_sessions(config: RunConfig) -> None:
    if config.stdio_sessions not in STDIO_SESSIONS:
        known = ", ".join(STDIO_SESSIONS)
        raise InvalidRequest(f"stdio_sessions {config.stdio_sessions!r} is not one of {known}", hint="Leave it out.")
    if config.stdio_sessions == "per-client" and config.transport != "stdio":
        raise InvalidRequest(
            f"stdio_sessions per-client is for servers that speak stdio, and this one speaks {config.transport}",
            hint="Leave it out: a server that speaks HTTP keeps its sessions apart itself.",
        )


def _sessionless(config: RunConfig) -> None:
    if not config.stateless:
        return
    needing = {
        "proxy_mode sse": config.proxy_mode == "sse",
        "transport sse": config.transport == "sse",
        "stdio_sessions per-client": config.stdio_sessions == "per-client",
    }
    for what, is_asked in needing.items():
        if is_asked:
            raise InvalidRequest(f"stateless means no sessions, and {what} is made of them", hint="Leave one out.")


def _possible_prefix(config: RunConfig) -> None:
    if config.endpoint_prefix and not _PREFIX.match(config.endpoint_prefix):
        raise InvalidRequest(
            f"endpoint_prefix {config.endpoint_prefix!r} is not the beginning of a path",
            hint="It begins with / and has no query:  /team/search",
        )


def _possible_durations(config: RunConfig) -> None:
    _duration("session_ttl", config.session_ttl, SHORTEST_SESSION, LONGEST_SESSION)
    _duration("request_timeout", config.request_timeout, 0.0, LONGEST_REQUEST)


def _duration(key: str, text: str, least: float, most: float) -> None:
    if not text:
        return
    seconds = duration_seconds(text)
    if seconds is None:
        raise InvalidRequest(f"{key} {text!r} is not a duration", hint="Write it with units: 30m, 1h30m, 90s.")
    if 0 < seconds < least:
        raise InvalidRequest(
            f"{key} {text!r} is shorter than {least:g} s", hint="Write a longer one, or 0s for the usual."
        )
    if seconds > most:
        raise InvalidRequest(f"{key} {text!r} is longer than {most / 3600:g} hours", hint="Write a shorter one.")


def _possible_origins(config: RunConfig) -> None:
    for text in config.allowed_origins:
        checked_origin(text)


def _possible_headers(config: RunConfig) -> None:
    if not config.header_forward:
        return
    checked_headers(config.header_forward)
    if not config.remote_url:
        raise InvalidRequest(
            f"header_forward adds to the requests to a remote server, and {config.name} runs here",
            hint="Give what it needs by --env or --secret; they go to a server somewhere else:  thv run https://…",
        )


def _possible_scaling(config: RunConfig) -> None:
    scaling = config.scaling_config
    if (scaling.backend_replicas or 0) > 1:
        raise InvalidRequest(
            f"scaling_config.backend_replicas {scaling.backend_replicas}: a server runs once", hint="Leave it out."
        )
    if scaling.session_redis is not None:
        redis_address(scaling.session_redis.address)
        if scaling.session_redis.db < 0:
            raise InvalidRequest(f"session_redis.db {scaling.session_redis.db} is below 0", hint="Write 0, or more.")


def _possible_certificate(config: RunConfig) -> None:
    if bool(config.tls_certificate) != bool(config.tls_key):
        given, other = ("certificate", "key") if config.tls_certificate else ("key", "certificate")
        raise InvalidRequest(f"TLS has a {given} and no {other}", hint="Give both:  --tls-cert FILE --tls-key FILE")
    for key, path in (("tls_certificate", config.tls_certificate), ("tls_key", config.tls_key)):
        if path and not path.startswith("/"):
            raise InvalidRequest(f"{key} {path!r} is not an absolute path", hint="Write it from / on.")


def _possible_socket(config: RunConfig) -> None:
    path = config.socket
    if not path:
        return
    if not path.startswith("/") or path.endswith("/") or "\0" in path:
        raise InvalidRequest(f"socket {path!r} is not an absolute path of a file", hint="Write it from / on.")
    if len(path.encode("utf-8", "surrogateescape")) > LONGEST_SOCKET:
        raise InvalidRequest(
            f"socket {path!r} is longer than the {LONGEST_SOCKET} bytes that the path of a Unix socket can have",
            hint="Put it into a folder with a shorter path.",
        )
    if config.tls_certificate:
        raise InvalidRequest(
            "a Unix socket is protected by its mode and takes no TLS", hint="Leave out --socket, or the certificate."
        )


_CHECKS: tuple[Callable[[RunConfig], None], ...] = (
    _known_mode,
    _known_sessions,
    _sessionless,
    _possible_prefix,
    _possible_durations,
    _possible_origins,
    _possible_headers,
    _possible_scaling,
    _possible_certificate,
    _possible_socket,
)
