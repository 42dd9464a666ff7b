"""A mount namespace for one start: what another user could not reach is bound at short paths that it can.

Bubblewrap looks up the path of each descriptor that it is to bind, and a folder below one of root's is out of the reach
of the account that bubblewrap runs as. So root starts it in a mount namespace of its own, in which each source is bound
below :data:`STAGE`. A namespace belongs to a thread, so no further process is needed, and nothing is left but what the
sandbox itself keeps. Source: mount_namespaces(7), unshare(2), mount(2).
"""

from __future__ import annotations

import os
import stat
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TypeVar

from thv_core.errors import RuntimeUnavailable
from thv_sandbox.apart import apart, call

__all__ = ["STAGE", "Stage", "on_a_stage"]

STAGE = Path("/tmp")  # noqa: S108 - hidden, in that namespace, by an empty file system of root
"""Where the sources are bound; what is there otherwise must be opened before the first of them is."""

_NEW_MOUNTS = 0x00020000
_NO_SUID, _NO_DEVICES, _BIND, _RECURSIVE, _FROM_OUTSIDE = 0x2, 0x4, 0x1000, 0x4000, 0x80000
_OPTIONS = b"mode=0755,size=1m"

_Result = TypeVar("_Result")


class Stage:
    """The places of one start, in the namespace of the calling thread."""

    def place(self, sources: Mapping[str, int]) -> dict[str, str]:
        """Bind what descriptors of this namespace lead to, and return the paths there by the names given.

        Call it once: from then on :data:`STAGE` shows nothing else.
        """
        call("mount", b"thv", os.fsencode(STAGE), b"tmpfs", _NO_SUID | _NO_DEVICES, _OPTIONS)
        return {name: self._bind(STAGE / name, descriptor) for name, descriptor in sources.items()}

    @staticmethod
    def _bind(path: Path, descriptor: int) -> str:
        if stat.S_ISDIR(os.fstat(descriptor).st_mode):
            path.mkdir(mode=0o755)
        else:
            path.touch(mode=0o644)
        call("mount", f"/proc/self/fd/{descriptor}".encode(), os.fsencode(path), None, _BIND | _RECURSIVE, None)
        return str(path)


def on_a_stage(work: Callable[[Stage], _Result]) -> _Result:
    """Run ``work`` in a thread that has a mount namespace of its own, and return what it returns or raise.

    :raises RuntimeUnavailable: when this root may not make one.
    """

    def separated() -> _Result:
        _separate()
        return work(Stage())

    return apart(separated)


def _separate() -> None:
    try:
        call("unshare", _NEW_MOUNTS)
        # What the host unmounts later must not be kept alive by a sandbox.
        call("mount", b"none", b"/", None, _RECURSIVE | _FROM_OUTSIDE, None)
    except OSError as error:
        raise RuntimeUnavailable(
            "this root may not make mount namespaces, which its servers need",
            evidence=[str(error)],
            hint="Run thv as an ordinary user, or give this container the capability SYS_ADMIN.",
        ) from error
