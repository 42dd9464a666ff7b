"""What the view must know of this host: as whom the server runs, and which system folders are links."""

from __future__ import annotations

import posixpath
from collections.abc import Iterable
from pathlib import Path

from thv_sandbox.accounts import Account
from thv_sandbox.targets import SYSTEM_ENTRIES
from thv_sandbox.view import Host

__all__ = ["this_host"]


def this_host(account: Account, hidden: Iterable[str] = ()) -> Host:
    """Look at this host, for a server of ``account`` that is to find the folders ``hidden`` empty."""
    entries = [Path(entry) for entry in SYSTEM_ENTRIES]
    return Host(
        uid=account.uid,
        gid=account.gid,
        links={str(entry): str(entry.readlink()) for entry in entries if entry.is_symlink()},
        folders=tuple(str(entry) for entry in entries if entry.exists() and not entry.is_symlink()),
        hidden=tuple(each for each in hidden if _is_shown(each)),
    )


def _is_shown(folder: str) -> bool:
    """Tell whether a folder is one of those below ``/usr`` that every server sees, reached through no link."""
    path = Path(folder)
    return folder.startswith("/usr/") and posixpath.normpath(folder) == folder == str(path.resolve()) and path.is_dir()
