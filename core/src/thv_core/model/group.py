"""Groups of workloads: a workload belongs to exactly one, named by its configuration."""

from __future__ import annotations

import re

from thv_core.errors import InvalidRequest
from thv_core.model.document import Document

__all__ = ["DEFAULT_GROUP", "Group", "valid_group"]

DEFAULT_GROUP = "default"
"""The group of whoever names none; it always exists."""

MOST = 100
_VALID = re.compile(r"[a-z0-9_-]+( [a-z0-9_-]+)*\Z")


class Group(Document, frozen=True, kw_only=True):
    """A group by its name; ``created_at`` is seconds since the epoch, 0 for the default group."""

    name: str
    created_at: float = 0.0


def valid_group(name: str) -> str:
    """Return ``name`` if it can name a group: lower-case letters, digits, ``_``, ``-`` and single spaces between.

    :raises InvalidRequest: otherwise.
    """
    if len(name) > MOST or not _VALID.match(name):
        raise InvalidRequest(
            f"{name!r} cannot name a group",
            hint="Use 1 to 100 lower-case letters, digits, dashes and underscores, with single spaces between.",
        )
    return name
