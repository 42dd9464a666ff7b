"""How many files our own processes may have open: each server's network takes some."""

from __future__ import annotations

import resource

__all__ = ["raise_file_limit"]

ENOUGH = 65_536


def raise_file_limit() -> None:
    """Raise the soft limit of this process as far as its user may, within reason.

    What is started from here inherits it; runtimes give their servers the limit of the profile.
    """
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    most = ENOUGH if hard == resource.RLIM_INFINITY else min(hard, ENOUGH)
    if soft != resource.RLIM_INFINITY and soft < most:
        resource.setrlimit(resource.RLIMIT_NOFILE, (most, hard))
