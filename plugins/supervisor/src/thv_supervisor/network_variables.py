"""The variables of a shell that say how the network is reached: package indexes, proxies, certificates."""

from __future__ import annotations

from collections.abc import Mapping

__all__ = ["network_variables", "proxy_variables"]

_PROXIES = ("HTTP_PROXY", "HTTPS_PROXY", "NO_PROXY")
_NAMES = frozenset(
    {
        *(*_PROXIES, "ALL_PROXY", "NETRC", "SSL_CERT_DIR", "SSL_CERT_FILE", "NODE_EXTRA_CA_CERTS"),
        *("NPM_CONFIG_REGISTRY", "NPM_CONFIG_USERCONFIG"),
    }
)
_PREFIX = "UV_"


def network_variables(environment: Mapping[str, str]) -> dict[str, str]:
    """Return those of ``environment``, in whichever case the proxy variables are written."""
    return {name: value for name, value in environment.items() if name.startswith(_PREFIX) or name.upper() in _NAMES}


def proxy_variables(environment: Mapping[str, str]) -> dict[str, str]:
    """Return the user's proxies as ``HTTP_PROXY``, ``HTTPS_PROXY`` and ``NO_PROXY``.

    Lower case goes first, as in curl, which knows ``http_proxy`` in no other case. ``ALL_PROXY`` stands in for those
    that are missing.
    """
    chosen: dict[str, str] = {}
    for name in _PROXIES:
        fallback = "" if name == "NO_PROXY" else _either("ALL_PROXY", environment)
        if value := _either(name, environment) or fallback:
            chosen[name] = value
    return chosen


def _either(name: str, environment: Mapping[str, str]) -> str:
    return environment.get(name.lower(), "") or environment.get(name, "")
