"""What to say about a plugin that is missing: first-party distributions offer it, or will, or nobody knows it."""

from __future__ import annotations

__all__ = ["advice"]

_OFFERED: dict[tuple[str, str], tuple[str, ...]] = {
    ("runtime", "sandbox"): ("sandbox",),
    ("runtime", "remote"): ("remote",),
    ("source", "packages"): ("npx", "uvx"),
    ("builder", "packages"): ("npx", "uvx"),
    ("secrets", "secrets-local"): ("environment",),
    ("egress", "egress"): ("names",),
    ("gateway", "gateway"): ("http",),
    ("command", "cli"): ("completion", "config", "plugins", "version"),
    ("command", "supervisor"): (
        *("apply", "cache", "diff", "egress", "export", "group", "inspector", "list", "logs", "mcp", "profile"),
        *("proxy", "restart", "rm", "run", "runtime", "serve", "service", "start", "status", "stop"),
    ),
}
"""The names that are offered, by their kind and the folder of ``plugins`` in the repository that offers them."""

_NOT_YET: dict[str, tuple[str, ...]] = {
    "runtime": ("docker", "kubernetes", "podman"),
    "source": ("docker", "go", "http", "https", "oci", "registry"),
    "builder": ("go",),
    "secrets": ("1password", "aws", "encrypted", "keyring", "kubernetes", "onepassword", "vault"),
    "command": ("build", "client", "registry", "search", "secret", "skill"),
}
"""What people know from elsewhere and look for here."""

_CALLED = {"source": "{}://", "builder": "{}://", "command": "The command {}"}


def advice(kind: str, name: str) -> str:
    """Return what to do about a plugin that is not installed, or an empty string when nothing is known of it.

    Our distributions are on no package index, where their names could be a stranger's: only a checkout is advised.
    """
    for (offered, folder), names in _OFFERED.items():
        if kind == offered and name in names:
            return f"Install it from a checkout of thv:  pip install ./plugins/{folder}"
    if name in _NOT_YET.get(kind, ()):
        return f"{_CALLED.get(kind, f'The {kind} {{}}').format(name)} is not offered yet."
    return ""
