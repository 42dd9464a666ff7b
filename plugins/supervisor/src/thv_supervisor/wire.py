"""What both ends of the control API have to agree upon."""

from __future__ import annotations

from urllib.parse import quote

__all__ = [
    "CACHE",
    "DOCUMENTATION",
    "EGRESS",
    "EVENTS",
    "GROUPS",
    "LINES",
    "LISTENERS",
    "LOGS",
    "NOTICE",
    "OPENAPI",
    "PREFIX",
    "RUNS",
    "SHUTDOWN",
    "VERSION",
    "WORKLOADS",
    "group_path",
    "run_path",
    "workload_path",
]

PREFIX = "/api/v1beta"
WORKLOADS = f"{PREFIX}/workloads"
GROUPS = f"{PREFIX}/groups"
RUNS = f"{PREFIX}/runs"
EVENTS = f"{PREFIX}/events"
EGRESS = f"{PREFIX}/egress"
CACHE = f"{PREFIX}/cache"
LOGS = f"{PREFIX}/logs"
LISTENERS = f"{PREFIX}/listeners"
VERSION = f"{PREFIX}/version"
SHUTDOWN = f"{PREFIX}/shutdown"
OPENAPI = "/api/openapi.json"
DOCUMENTATION = "/api/doc"

NOTICE = "x-thv-notice"
"""The response header with a sentence for the caller's user, in ASCII."""

LINES = "application/x-ndjson"
"""The media type of a stream of documents, one a line."""


def workload_path(name: str, operation: str = "") -> str:
    """Return the path of a workload, or of one operation on it."""
    return _below(WORKLOADS, name, operation)


def group_path(name: str, operation: str = "") -> str:
    """Return the path of a group, or of one operation on it."""
    return _below(GROUPS, name, operation)


def run_path(request_id: str) -> str:
    """Return the path of a run by the identity of its request."""
    return _below(RUNS, request_id, "")


def _below(collection: str, name: str, operation: str) -> str:
    return f"{collection}/{quote(name, safe='')}" + (f"/{operation}" if operation else "")
