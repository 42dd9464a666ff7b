"""The variables of a shell that say how the network is reached: package indexes, proxies, certificates."""

from __future__ import annotations

from collections.abc import Mapping

__all__ = ["network_variables"]

_NAMES = frozenset({"ALL_PROXY", "HTTP_PROXY", "HTTPS_PROXY", "NO_PROXY", "NETRC", "SSL_CERT_DIR", "SSL_CERT_FILE"})
_PREFIX = "UV_"


def network_variables(environment: Mapping[str, str]) -> dict[str, str]:
    """Return those of ``environment``, in whichever case the proxy variables are written."""
    return {name: value for name, value in environment.items() if name.startswith(_PREFIX) or name.upper() in _NAMES}
