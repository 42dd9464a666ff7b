"""The keys of ToolHive's RunConfig that ours does not have: which mean nothing here, and which cannot be honoured yet.

Source: ToolHive 0.44, ``schema_version`` v0.1.0. Most keys are in snake_case, those within ``telemetry_config`` and
``audit_config`` in camelCase, those within ``oidc_config`` and ``ignore_config`` are the names of Go's fields.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from typing import cast

__all__ = ["KNOWN_TO_TOOLHIVE", "loopback_origins", "mapping_of", "says_something", "unsupported"]

_MEANINGLESS = frozenset(
    {
        *("container_name", "base_name", "debug", "mcpserver_generation", "ignore_config"),
        *("registry_api_url", "registry_url", "registry_server_name", "isolate_network"),
    }
)
"""Names of files, where an entry came from, and what is always so here."""

_UNNOTICED = frozenset({"bodylimit", "mcp-parser", "origin", "recovery", "telemetry", "usagemetrics"})
"""The types of ToolHive's middleware that no caller notices, or that are always so here."""

_REASONS = {
    "allow_docker_gateway": "a server does not reach this machine; its profile can name an address",
    "audit_config": "there is no audit yet",
    "audit_config_path": "there is no audit yet",
    "authz_config": "calls are not authorised by policies yet",
    "authz_config_path": "calls are not authorised by policies yet",
    "aws_sts_config": "there are no credentials of AWS yet",
    "embedded_auth_server_config": "there is no authorization server yet",
    "env_file_dir": "the variables in that folder are not in the document",
    "jwks_auth_token_file": "the tokens of clients are not checked yet",
    "k8s_pod_template_patch": "there is no runtime for Kubernetes yet",
    "middleware_configs": "what it checks or changes in calls is not offered yet",
    "mutating_webhooks": "no webhooks are called yet",
    "oidc_config": "the tokens of clients are not checked yet",
    "publish": "no port of a server is published but that of MCP",
    "rate_limit_config": "there are no rate limits yet",
    "rate_limit_namespace": "there are no rate limits yet",
    "remote_auth_config": "there is no login to remote servers yet",
    "runtime_config": "packages are built with nothing but what they ask for",
    "target_host": "a server is reached in its own network only",
    "telemetry_config": "there is no telemetry yet",
    "thv_ca_bundle": "certificates are trusted for all:  thv config set ca_certificate_path PATH",
    "token_exchange_config": "no tokens are exchanged yet",
    "tools_filter": "tools are not chosen yet",
    "tools_override": "tools are not renamed yet",
    "upstream_swap_config": "no tokens are exchanged yet",
    "validating_webhooks": "no webhooks are called yet",
}

_LOOPBACK_ORIGIN = re.compile(r"https?://(?:localhost|127\.0\.0\.1|\[::1\])(?::\d+)?\Z")

KNOWN_TO_TOOLHIVE = _MEANINGLESS | _REASONS.keys() | {"remote_url"}
"""Every key of ToolHive that is none of ours."""


def unsupported(key: str, value: object) -> str:
    """Return why a key cannot be honoured, or nothing when it need not be: it is not set, or has the usual value."""
    if key not in _REASONS or not says_something(value) or _USUAL.get(key, _never)(value):
        return ""
    return _REASONS[key]


def says_something(value: object) -> bool:
    """Tell whether anything in a value is set: not empty, zero or false."""
    if isinstance(value, dict):
        return any(says_something(each) for each in cast("dict[str, object]", value).values())
    return bool(value)


def mapping_of(value: object) -> Mapping[str, object]:
    """Return a mapping as it is, and anything else as an empty one."""
    return cast("Mapping[str, object]", value) if isinstance(value, dict) else {}


def _never(value: object) -> bool:
    del value
    return False


def _silent_telemetry(value: object) -> bool:
    telemetry = mapping_of(value)
    return not telemetry.get("endpoint") and not telemetry.get("enablePrometheusMetricsPath")


def _unnoticed_middleware(value: object) -> bool:
    """Tell whether a chain does no more than ToolHive's own without any key set; it is obeyed instead of the keys."""
    return isinstance(value, list) and all(_is_unnoticed(mapping_of(each)) for each in cast("list[object]", value))


def _is_unnoticed(middleware: Mapping[str, object]) -> bool:
    kind = str(middleware.get("type"))
    return kind in _UNNOTICED or (kind == "auth" and not says_something(middleware.get("parameters")))


def loopback_origins(value: object) -> bool:
    """Tell whether a list of origins is what ToolHive derives from its own listener, which is another one here."""
    return isinstance(value, list) and all(_LOOPBACK_ORIGIN.match(str(each)) for each in cast("list[object]", value))


_USUAL: dict[str, Callable[[object], bool]] = {
    # An export has the key only when it is true, and ToolHive audits whenever there is a configuration.
    "audit_config": lambda value: mapping_of(value).get("enabled") is False,
    "middleware_configs": _unnoticed_middleware,
    "target_host": lambda value: value in ("127.0.0.1", "::1", "localhost", "0.0.0.0"),  # noqa: S104 - nothing is bound
    "telemetry_config": _silent_telemetry,
}
