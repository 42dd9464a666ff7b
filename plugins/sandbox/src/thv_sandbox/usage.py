"""How much memory a sandbox uses, as far as that can be read without control groups.

Of memory that processes share, each counts its part (PSS). Reading that costs the kernel a walk through all their
pages, so it is asked only when the simple sum, which is never smaller, exceeds the limit, and only for so long: a
server could make it expensive on purpose. Files in memory file systems count as well, and so does what the kernel keeps
for a sandbox: page tables, and what its sockets may hold. Source: proc(5), proc_pid_smaps_rollup, socket(7).
"""

from __future__ import annotations

import os
import time
from contextlib import suppress
from pathlib import Path

from thv_sandbox.processes import descendants

__all__ = ["exceeds"]

_PAGE = os.sysconf("SC_PAGE_SIZE")
_PROC = Path("/proc")
_ASKING_SECONDS = 0.5
_FEW_SOCKETS = 256
_SOCKET_BYTES = 208 << 10


def exceeds(pid: int, limit: int, folders: tuple[str, ...]) -> bool:
    """Tell whether a sandbox uses more than ``limit`` bytes.

    :param pid: its first process.
    :param folders: where it sees memory file systems of its own.
    """
    stored = sum(_stored(pid, folder) for folder in folders) + _in_sockets(pid)
    processes = descendants(pid)
    kept = stored + sum(map(_page_tables, processes))
    if kept + sum(map(_resident, processes)) <= limit:
        return False
    until = time.thread_time() + _ASKING_SECONDS
    return kept + sum(_proportional(each, until) for each in processes) > limit


def _stored(pid: int, folder: str) -> int:
    with suppress(OSError):
        status = os.statvfs(_PROC / f"{pid}/root{folder}")
        return (status.f_blocks - status.f_bfree) * status.f_frsize
    return 0


def _in_sockets(pid: int) -> int:
    """Return what the sockets of its network namespace may hold, each as much as the default; a few are free."""
    with suppress(OSError, IndexError, ValueError):
        used = int((_PROC / f"{pid}/net/sockstat").read_text().split()[2])
        return max(0, used - _FEW_SOCKETS) * _SOCKET_BYTES
    return 0


def _page_tables(pid: int) -> int:
    with suppress(OSError):
        for line in (_PROC / f"{pid}/status").read_text("utf-8", "replace").splitlines():
            if line.startswith("VmPTE:"):
                return int(line.split()[1]) * 1024
    return 0


def _resident(pid: int) -> int:
    with suppress(OSError, IndexError):
        return int((_PROC / f"{pid}/statm").read_text().split()[1]) * _PAGE
    return 0


def _proportional(pid: int, until: float) -> int:
    with suppress(OSError):
        # The walk counts as time of this thread.
        if time.thread_time() > until:
            return _resident(pid)
        for line in (_PROC / f"{pid}/smaps_rollup").read_text().splitlines():
            if line.startswith("Pss:"):
                return int(line.split()[1]) * 1024
    # A process that keeps others from looking at its pages counts with all of them.
    return _resident(pid)
