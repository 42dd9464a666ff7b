"""Flags that people know from ToolHive, and the feature with which each will come here."""

from __future__ import annotations

__all__ = ["feature_of"]

_FEATURES = {
    "audit": ("--enable-audit", "--audit-config"),
    "authentication of clients": ("--oidc-", "--jwks-", "--resource-url", "--token-exchange-"),
    "container runtimes and images": (
        *("--build-with", "--ca-cert", "--image-verification", "--runtime-add-package", "--runtime-image"),
        "--thv-ca-bundle",
    ),
    "ignore files": ("--ignore-globally", "--print-resolved-overlays"),
    "Kubernetes": ("--k8s-pod-patch",),
    "policies": ("--authz-config",),
    "remote servers": ("--remote-auth",),
    "telemetry": ("--otel-",),
    "the registry": ("--check-upgrades",),
    "tool filters": ("--tools",),
    "webhooks": ("--webhook-config",),
}
"""The beginnings of flags by what they belong to; ``docs/compatibility.md`` says the same."""


def feature_of(flag: str) -> str:
    """Return the feature that a flag belongs to and that is not offered yet, or nothing."""
    found = (feature for feature, beginnings in _FEATURES.items() if flag.startswith(beginnings))
    return next(found, "")
