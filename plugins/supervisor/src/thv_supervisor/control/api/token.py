"""The token of the API: 32 random bytes in a file that only its owner can read."""

from __future__ import annotations

import hmac
import os
import secrets
import stat
from pathlib import Path

from thv_core.errors import StateUnusable
from thv_core.state.files import write_atomically

__all__ = ["is_token", "token_in"]

BYTES = 32
MOST = 1024


def token_in(path: Path) -> str:
    """Return the token in a file, which is made when it is missing.

    :raises StateUnusable: when others can read the file, or it holds no token.
    """
    if not path.exists():
        write_atomically(path, secrets.token_urlsafe(BYTES).encode() + b"\n")
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC)
        with os.fdopen(descriptor, "rb") as file:
            found = os.fstat(descriptor)
            text = file.read(MOST).decode("ascii", "replace").strip()
    except OSError as error:
        reason = error.strerror or ""
        raise StateUnusable(
            f"the token in {path} cannot be read", evidence=[reason], hint=f"Have a new one made:  rm {path}"
        ) from None
    if found.st_uid != os.geteuid() or found.st_mode & (stat.S_IRWXG | stat.S_IRWXO):
        raise StateUnusable(f"others can read the token in {path}", hint=f"Have a new one made:  rm {path}")
    if len(text) < BYTES:
        raise StateUnusable(f"there is no token in {path}", hint=f"Have a new one made:  rm {path}")
    return text


def is_token(given: str, token: str) -> bool:
    """Tell whether a header ``Authorization: Bearer TOKEN`` (RFC 6750) carries the token, in constant time."""
    scheme, _, value = given.partition(" ")
    same = hmac.compare_digest(value.strip().encode("utf-8", "replace"), token.encode())
    return same and scheme.lower() == "bearer"
