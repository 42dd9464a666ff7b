"""Unix sockets in grants: each is a way out of the sandbox, because one can connect through a read-only mount.

FIFOs are files like others, and devices in a grant cannot be opened: every bind is ``nodev``. A socket that somebody
makes in a granted folder later is not found.
"""

from __future__ import annotations

import os
import stat
import time
from collections.abc import Iterator
from contextlib import suppress

from thv_core.errors import InvalidRequest
from thv_core.model.plan import DeploymentPlan

__all__ = ["MOST_ENTRIES", "check_sockets"]

MOST_ENTRIES = 1_000_000
"""How many files of the grants are looked at, in all."""

_SECONDS = 10.0
_HINT = "Grant a folder without it, or allow it, if the server may talk to whoever listens there: --allow-socket"


def check_sockets(plan: DeploymentPlan, most: int = MOST_ENTRIES, seconds: float = _SECONDS) -> None:
    """Check that no grant is a Unix socket or contains one, unless the plan allows it.

    :raises InvalidRequest: naming the first; also when the grants are too large to tell.
    """
    if plan.allow_socket:
        return
    deadline, count = time.monotonic() + seconds, 0
    for grant in plan.grants:
        for path, is_socket in _entries(grant.source):
            count += 1
            if is_socket:
                raise InvalidRequest(f"the grant of {grant.source} contains a Unix socket: {path}", hint=_HINT)
            if count > most or time.monotonic() > deadline:
                raise InvalidRequest(
                    f"the grant of {grant.source} has too many files to search for Unix sockets",
                    evidence=[f"{count} files in {seconds:g} seconds at most"],
                    hint="Grant the folders that the server needs, or allow sockets: --allow-socket",
                )


def _entries(source: str) -> Iterator[tuple[str, bool]]:
    """Yield what a path is and what lies below it, links not followed; what nobody here can use holds nothing."""
    mode = os.lstat(source).st_mode
    yield source, stat.S_ISSOCK(mode)
    folders = [source] if stat.S_ISDIR(mode) else []
    while folders:
        # One at a time: a server may have made a folder with more entries than fit into memory.
        for entry in _listed(folders.pop()):
            yield entry.path, _is_socket(entry)
            if entry.is_dir(follow_symlinks=False):
                folders.append(entry.path)


def _listed(folder: str) -> Iterator[os.DirEntry[str]]:
    try:
        with os.scandir(folder) as listing:
            yield from listing
    except PermissionError as error:
        if _usable(folder):
            raise InvalidRequest(
                f"{folder}, in a grant, cannot be searched for Unix sockets",
                evidence=[str(error)],
                hint=f"Let yourself list it (chmod u+r {folder}), or grant a folder without it.",
            ) from error
    except OSError:
        return


def _usable(folder: str) -> bool:
    """Tell whether one can pass through what one cannot list, by a name that is known, or make it so."""
    with suppress(OSError):
        return os.access(folder, os.X_OK) or os.lstat(folder).st_uid == os.getuid()
    return False


def _is_socket(entry: os.DirEntry[str]) -> bool:
    # The kind of most entries is known from the listing; only what is none of these costs a look.
    if entry.is_file(follow_symlinks=False) or entry.is_dir(follow_symlinks=False) or entry.is_symlink():
        return False
    try:
        return stat.S_ISSOCK(entry.stat(follow_symlinks=False).st_mode)
    except OSError:
        return False
