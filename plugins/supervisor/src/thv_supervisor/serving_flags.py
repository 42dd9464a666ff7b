"""Turn the flags that say how clients meet a workload into the keys of a RunConfig that do."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from thv_core.errors import InvalidRequest
from thv_core.model.duration import duration_text
from thv_core.model.secret_reference import SecretReference
from thv_core.model.serving import HeaderForward, ScalingConfig, SessionRedis
from thv_supervisor.profiles import here

__all__ = ["SPELLED", "header_references", "serving_keys"]

_AS_THEY_ARE = (
    *("proxy_mode", "endpoint_prefix", "trust_proxy_headers", "stateless", "strict_protocol_validation"),
    "stdio_sessions",
)
_PATHS = {"tls_cert": "tls_certificate", "tls_key": "tls_key", "socket": "socket"}

SPELLED = {
    "proxy_mode": "--proxy-mode",
    "endpoint_prefix": "--endpoint-prefix",
    "allowed_origins": "--allowed-origins",
    "trust_proxy_headers": "--trust-proxy-headers",
    "stateless": "--stateless",
    "strict_protocol_validation": "--strict-protocol-validation",
    "session_ttl": "--session-ttl",
    "request_timeout": "--request-timeout",
    "stdio_sessions": "--stdio-sessions",
    "forward_headers": "--remote-forward-headers",
    "forward_secrets": "--remote-forward-headers-secret",
    "session_redis": "--session-redis",
    "tls_cert": "--tls-cert",
    "tls_key": "--tls-key",
    "socket": "--socket",
}
"""How each flag is spelled, by the name under which a command receives it."""


def serving_keys(flags: Mapping[str, Any], directory: Path) -> dict[str, Any]:
    """Return the keys by name, of the flags that there are.

    :param directory: what paths are relative to.
    :raises InvalidRequest: naming the first flag that cannot be meant; the value of a header is not repeated.
    """
    keys: dict[str, Any] = {name: flags[name] for name in _AS_THEY_ARE if name in flags}
    keys |= {name: duration_text(flags[name]) for name in ("session_ttl", "request_timeout")}
    keys["allowed_origins"] = tuple(flags["allowed_origins"])
    keys["header_forward"] = HeaderForward(
        add_plaintext_headers=dict(_pairs("--remote-forward-headers", flags["forward_headers"])),
        add_headers_from_secret=dict(_pairs("--remote-forward-headers-secret", flags["forward_secrets"])),
    )
    if flags.get("session_redis"):
        keys["scaling_config"] = ScalingConfig(session_redis=SessionRedis(address=flags["session_redis"]))
    for name, key in _PATHS.items():
        if flags[name]:
            keys[key] = str(here(directory, flags[name]).absolute())
    return keys


def header_references(headers: HeaderForward) -> tuple[SecretReference, ...]:
    """Return the secrets that are sent as header fields, as references to no variable."""
    return tuple(SecretReference(name=name, target="") for name in headers.add_headers_from_secret.values())


def _pairs(flag: str, texts: Iterable[str]) -> Iterable[tuple[str, str]]:
    seen: set[str] = set()
    for text in texts:
        name, separator, value = text.partition("=")
        name = name.strip()
        if not separator or not name or not value:
            what = "VALUE" if flag == "--remote-forward-headers" else "SECRET_NAME"
            raise InvalidRequest(f"{flag} {name!r} is not NAME={what}", hint=f"Write {flag} {name or 'NAME'}={what}")
        if name.lower() in seen:
            raise InvalidRequest(f"{flag}: the header {name} is given twice", hint="Give it once.")
        seen.add(name.lower())
        yield name, value
