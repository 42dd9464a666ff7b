"""Whose certificates are accepted: what the user named, otherwise what the system trusts."""

from __future__ import annotations

import contextlib
from collections.abc import Iterable, Mapping
from pathlib import Path

__all__ = ["SYSTEM_STORES", "certificates", "trust"]

SYSTEM_STORES = (
    "/etc/ssl/certs/ca-certificates.crt",
    "/etc/pki/ca-trust/extracted/pem/tls-ca-bundle.pem",
    "/etc/pki/tls/certs/ca-bundle.crt",
    "/etc/ssl/ca-bundle.pem",
    "/etc/ssl/cert.pem",
)
"""Where systems keep the certificates that they trust: Debian, Fedora and its older kin, SUSE, Alpine and macOS."""

_CHOSEN = ("SSL_CERT_FILE", "SSL_CERT_DIR", "UV_SYSTEM_CERTS", "UV_NATIVE_TLS")
_FILES = ("SSL_CERT_FILE", "NODE_EXTRA_CA_CERTS")
_LONGEST_STORE = 8 * 1024 * 1024


def trust(environment: Mapping[str, str], stores: Iterable[str] = SYSTEM_STORES) -> dict[str, str]:
    """Return the variables that make uv trust the system's certificates, or none where the user or nothing decides.

    uv's own list lacks the certificates of a company; but a system without any would leave uv with none at all.
    """
    chosen = any(environment.get(name) for name in _CHOSEN)
    return {} if chosen or not any(map(_has_content, stores)) else {"UV_SYSTEM_CERTS": "1"}


def certificates(environment: Mapping[str, str], stores: Iterable[str] = SYSTEM_STORES) -> bytes:
    """Return the certificates to trust in PEM form: those of the user's files, else those of the system, else none."""
    chosen = list(dict.fromkeys(environment[name] for name in _FILES if environment.get(name)))
    named = b"\n".join(_content(store) for store in chosen)
    return named if named.strip() else next((_content(store) for store in stores if _has_content(store)), b"")


def _content(store: str) -> bytes:
    with contextlib.suppress(OSError), Path(store).open("rb") as file:
        return file.read(_LONGEST_STORE)
    return b""


def _has_content(store: str) -> bool:
    path = Path(store)
    return path.is_file() and path.stat().st_size > 0
