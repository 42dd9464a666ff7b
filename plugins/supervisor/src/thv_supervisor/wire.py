"""What both ends of the control API have to agree upon."""

from __future__ import annotations

from urllib.parse import quote

__all__ = ["CACHE", "EGRESS", "NOTICE", "PREFIX", "WORKLOADS", "workload_path"]

PREFIX = "/api/v1beta"
WORKLOADS = f"{PREFIX}/workloads"
EGRESS = f"{PREFIX}/egress"
CACHE = f"{PREFIX}/cache"

NOTICE = "x-thv-notice"
"""The response header with a sentence for the caller's user, in ASCII."""


def workload_path(name: str, operation: str = "") -> str:
    """Return the path of a workload, or of one operation on it."""
    return f"{WORKLOADS}/{quote(name, safe='')}" + (f"/{operation}" if operation else "")
