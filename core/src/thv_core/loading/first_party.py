"""Which distribution to install for a plugin that is missing: the known first-party plugins."""

from __future__ import annotations

__all__ = ["distribution_of"]

_KNOWN: dict[str, dict[str, tuple[str, ...]]] = {
    "runtime": {
        "thv-sandbox": ("sandbox",),
        "thv-docker": ("docker",),
        "thv-podman": ("podman",),
        "thv-kubernetes": ("kubernetes",),
    },
    "source": {"thv-packages": ("uvx", "npx", "go"), "thv-images": ("oci",), "thv-registry": ("registry",)},
    "builder": {"thv-packages": ("uvx", "npx", "go")},
    "secrets": {
        "thv-secrets-local": ("environment", "encrypted", "keyring"),
        "thv-secrets-onepassword": ("1password", "onepassword"),
        "thv-secrets-vault": ("vault",),
        "thv-secrets-aws": ("aws",),
        "thv-secrets-kubernetes": ("kubernetes",),
    },
    "gateway": {"thv-gateway": ("asgi",)},
    "command": {
        "thv-cli": ("completion", "config", "plugins", "version"),
        "thv-supervisor": (
            *("list", "logs", "mcp", "restart", "rm", "run", "runtime", "serve", "service", "start", "status", "stop"),
        ),
        "thv-clients": ("client",),
        "thv-registry": ("registry", "search"),
        "thv-secrets-local": ("secret",),
    },
    "hooks": {
        "thv-audit": ("audit",),
        "thv-telemetry": ("telemetry",),
        "thv-rate-limit": ("rate-limit",),
        "thv-webhooks": ("webhooks",),
        "thv-tools": ("tools",),
    },
}


def distribution_of(kind: str, name: str) -> str:
    """Return the first-party distribution that offers a plugin, or an empty string when none is known to."""
    for distribution, names in _KNOWN.get(kind, {}).items():
        if name in names:
            return distribution
    return ""
