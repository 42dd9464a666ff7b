"""What the view must know of this host: who we are, and which system folders are links."""

from __future__ import annotations

import os
from pathlib import Path

from thv_sandbox.view import SYSTEM_ENTRIES, Host

__all__ = ["this_host"]


def this_host() -> Host:
    """Look at this host."""
    entries = [Path(entry) for entry in SYSTEM_ENTRIES]
    return Host(
        uid=os.getuid(),
        gid=os.getgid(),
        links={str(entry): str(entry.readlink()) for entry in entries if entry.is_symlink()},
        folders=tuple(str(entry) for entry in entries if entry.exists() and not entry.is_symlink()),
    )
