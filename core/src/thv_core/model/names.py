"""Names of workloads: what is valid, and how one is derived from what the user asked to run."""

from __future__ import annotations

import re

from thv_core.errors import InvalidRequest

__all__ = ["derived_name", "valid_name"]

_VALID = re.compile(r"[a-zA-Z0-9][a-zA-Z0-9._-]{0,99}\Z")
_NOISE = re.compile(r"^(mcp-server-|server-|mcp-)|(-mcp-server|-mcp|-server)$")


def valid_name(name: str) -> str:
    """Return ``name`` if it can name a workload: 1 to 100 of ``a-z A-Z 0-9 . _ -``, the first a letter or digit.

    :raises InvalidRequest: otherwise.
    """
    if not _VALID.match(name):
        raise InvalidRequest(
            f"{name!r} cannot name a workload",
            hint="Use 1 to 100 letters, digits, dots, dashes and underscores, starting with a letter or digit.",
        )
    return name


def derived_name(reference: str) -> str:
    """Return the name for a workload run from ``reference``: ``uvx://mcp-server-time@1.2`` becomes ``time``."""
    package = reference.split("://", 1)[-1]
    scope, _, tail = package.rpartition("/")
    bare = re.split(r"[@=\[]", tail, maxsplit=1)[0] or scope.strip("@")
    short = _NOISE.sub("", bare) or bare
    return valid_name(re.sub(r"[^a-zA-Z0-9._-]", "-", short).strip("-._") or "server")
