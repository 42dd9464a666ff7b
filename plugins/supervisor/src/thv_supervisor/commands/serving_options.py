"""The options that say how clients meet a workload, as ``thv run`` has them; ``thv proxy`` has some of them."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import click

from thv_supervisor.commands.durations import Duration

__all__ = ["PROXIED", "spelled_serving"]

Decorated = Callable[..., Any]

LONGEST_SESSION = 30 * 86_400.0
REQUEST_TIMEOUT = ("THV_REQUEST_TIMEOUT", "TOOLHIVE_PROXY_REQUEST_TIMEOUT")
"""Where the usual ``--request-timeout`` of a shell stands."""

_OPTIONS: dict[str, Decorated] = {
    "proxy_mode": click.option(
        "--proxy-mode",
        default="streamable-http",
        show_default=True,
        type=click.Choice(["streamable-http", "sse"]),
        help="Which URL clients are shown; both are served. sse is deprecated.",
    ),
    "endpoint_prefix": click.option(
        "--endpoint-prefix", default="", metavar="PATH", help="What begins the URLs that /sse names."
    ),
    "allowed_origins": click.option(
        "--allowed-origins", multiple=True, metavar="ORIGIN", help="Let in web pages of exactly this origin."
    ),
    "trust_proxy_headers": click.option(
        "--trust-proxy-headers", is_flag=True, help="Believe X-Forwarded-* of a proxy in front."
    ),
    "stateless": click.option("--stateless", is_flag=True, help="The server keeps no sessions and takes POST only."),
    "strict_protocol_validation": click.option(
        "--strict-protocol-validation", is_flag=True, help="Refuse unknown versions whatever the server says."
    ),
    "session_ttl": click.option(
        "--session-ttl",
        default="0s",
        type=Duration(usual=True, longest=LONGEST_SESSION),
        help="End sessions that are idle so long; 2h by default.",
    ),
    "request_timeout": click.option(
        "--request-timeout",
        default="0s",
        type=Duration(usual=True),
        envvar=[*REQUEST_TIMEOUT],
        help="How long a request may take; else the setting.",
    ),
    "stdio_sessions": click.option(
        "--stdio-sessions",
        default="shared",
        show_default=True,
        type=click.Choice(["shared", "per-client"]),
        help="One process for all clients, or one for each session.",
    ),
    "forward_headers": click.option(
        "--remote-forward-headers", "forward_headers", multiple=True, metavar="NAME=VALUE", help="Send a header along."
    ),
    "forward_secrets": click.option(
        "--remote-forward-headers-secret",
        "forward_secrets",
        multiple=True,
        metavar="NAME=SECRET",
        help="The same, with a secret as value.",
    ),
    "session_redis": click.option(
        "--session-redis", default="", metavar="HOST:PORT", help="Keep sessions in a Redis, for several gateways."
    ),
    "tls_cert": click.option("--tls-cert", default="", metavar="FILE", help="Serve https with this certificate."),
    "tls_key": click.option("--tls-key", default="", metavar="FILE", help="The key of that certificate."),
    "socket": click.option("--socket", default="", metavar="PATH", help="Listen on a Unix socket instead of a port."),
}

PROXIED = (
    *("endpoint_prefix", "allowed_origins", "trust_proxy_headers", "session_ttl", "request_timeout"),
    *("forward_headers", "forward_secrets", "tls_cert", "tls_key", "socket"),
)
"""Those of ``thv proxy``."""


def spelled_serving(*names: str) -> Callable[[Decorated], Decorated]:
    """Return what adds options to a command: those named, or all."""

    def add(command: Decorated) -> Decorated:
        for name in reversed(names or tuple(_OPTIONS)):
            command = _OPTIONS[name](command)
        return command

    return add
