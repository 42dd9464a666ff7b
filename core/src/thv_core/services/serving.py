"""Say in the words of a route how clients meet a workload. Pure."""

from __future__ import annotations

from urllib.parse import quote

from thv_core.model.duration import duration_seconds
from thv_core.model.route import ForwardHeader, Terms
from thv_core.model.run_config import RunConfig
from thv_core.model.secret_reference import SHELL_PREFIX

__all__ = ["client_terms", "client_url", "forward_headers", "header_secrets", "request_timeout", "secret_key"]


def client_terms(config: RunConfig) -> Terms:
    """Return how clients meet a workload."""
    usual = Terms()
    return Terms(
        socket=config.socket,
        tls_certificate=config.tls_certificate,
        tls_key=config.tls_key,
        origins=config.allowed_origins,
        stateless=config.stateless,
        session_ttl=duration_seconds(config.session_ttl) or usual.session_ttl,
        endpoint_prefix=config.endpoint_prefix,
        trust_proxy_headers=config.trust_proxy_headers,
        session_redis=config.scaling_config.session_redis,
        seats_per_client=config.stdio_sessions == "per-client",
    )


def request_timeout(config: RunConfig, usual: float) -> float:
    """Return the seconds that a request to a workload may take."""
    return duration_seconds(config.request_timeout) or usual


def forward_headers(config: RunConfig) -> tuple[ForwardHeader, ...]:
    """Return the header fields that each request to the server carries; of a secret its key, never its value."""
    headers = config.header_forward
    plain = (ForwardHeader(name=name, value=value) for name, value in headers.add_plaintext_headers.items())
    secret = (
        ForwardHeader(name=name, secret=secret_key(config.name, named))
        for name, named in headers.add_headers_from_secret.items()
    )
    return (*plain, *secret)


def header_secrets(config: RunConfig) -> tuple[str, ...]:
    """Return the names of the secrets whose values are sent as header fields."""
    return tuple(dict.fromkeys(config.header_forward.add_headers_from_secret.values()))


def secret_key(workload: str, name: str) -> str:
    """Return the name under which the gateway knows a value: two workloads may come from shells that differ."""
    return f"{name} of {workload}" if name.startswith(SHELL_PREFIX) else name


def client_url(config: RunConfig) -> str:
    """Return the URL that an MCP client uses: ``http+unix://%2Fpath/mcp`` for a Unix socket."""
    path = f"/sse#{config.name}" if config.proxy_mode == "sse" else "/mcp"
    if config.socket:
        return f"http+unix://{quote(config.socket, safe='')}{path}"
    host = f"[{config.host}]" if ":" in config.host else config.host
    return f"{'https' if config.tls_certificate else 'http'}://{host}:{config.port}{path}"
