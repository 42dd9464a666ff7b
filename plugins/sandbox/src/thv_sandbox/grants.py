"""Grants as they are on this host: real paths that exist, and none that gives away what decides over servers.

A server that may write a folder can put a link in the place of what lies in it, and the next start would follow that
link out of the grant. So the path of a source must hold no link, and what bubblewrap binds is not that path, which may
change at any moment, but the open descriptor that was compared with it.
"""

from __future__ import annotations

import os
from collections.abc import Generator, Iterable, Sequence
from contextlib import contextmanager
from pathlib import Path

from thv_core.errors import InvalidRequest, StartFailed
from thv_core.model.plan import DeploymentPlan
from thv_core.model.profile import Grant
from thv_sandbox.targets import check_targets, within

__all__ = ["check_grants", "opened_source"]

_KERNEL = ("/proc", "/sys", "/dev")


def check_grants(plan: DeploymentPlan, forbidden: Iterable[Path]) -> None:
    """Check each grant of ``plan``, and that its package is there.

    :param forbidden: folders of thv, which no server may see: what lies there decides what runs, and a Unix socket
        works even through a read-only mount.
    :raises InvalidRequest: when a grant cannot be meant.
    :raises StartFailed: when a source, or a folder of the package, cannot be opened or is reached through a link.
    """
    check_targets(plan)
    for path in (plan.root.path, *plan.root.view):
        _check_present(path)
    for path in plan.workspaces:
        with opened_source(path):
            _check_kernel(path)
    ours = tuple(forbidden)
    for grant in plan.grants:
        with opened_source(grant.source):
            _check_kernel(grant.source)
            _check_ours(grant, ours)
            _check_package(grant, plan)
            _check_parents(grant, plan.grants)


@contextmanager
def opened_source(source: str, *, linked: bool = False) -> Generator[int]:
    """Hold the source of a mount open (``O_PATH``): what its path names now, and what nobody can exchange any more.

    :param linked: whether its path may hold links, as that of an interpreter does.
    :raises StartFailed: when it cannot be opened, or its path holds a link.
    """
    try:
        descriptor = os.open(source, os.O_PATH | os.O_CLOEXEC)
    except OSError as error:
        raise StartFailed(
            f"the server is granted {source}, which cannot be opened",
            evidence=[str(error)],
            hint="Create it first, or grant a path that you can open.",
        ) from error
    try:
        if not linked:
            _check_real(source, descriptor)
        yield descriptor
    finally:
        os.close(descriptor)


def _check_real(source: str, descriptor: int) -> None:
    # Only the kernel can say where the descriptor leads: any look at the path could be answered by another link.
    actual = str(Path(f"/proc/self/fd/{descriptor}").readlink())
    if actual != source:
        raise StartFailed(
            f"the server is granted {source}, which leads to {actual}",
            hint=f"Grant {actual} itself if that is meant; otherwise see who put a link there, and remove it.",
        )


def _check_present(path: str) -> None:
    try:
        Path(path).stat()
    except OSError as error:
        raise StartFailed(
            f"the package needs {path}, which cannot be opened",
            evidence=[str(error)],
            hint="Prepare it again: thv run",
        ) from error


def _check_kernel(source: str) -> None:
    for folder in _KERNEL:
        if within(source, folder):
            raise InvalidRequest(
                f"a grant of {source} would show the server the kernel's own files of this machine",
                hint="The sandbox has a /proc and a /dev of its own.",
            )


def _check_ours(grant: Grant, forbidden: Iterable[Path]) -> None:
    for folder in (place for path in forbidden for place in (str(path), os.path.realpath(path))):
        if within(folder, grant.source):
            hint = f"Grant a folder below {grant.source} that does not contain {folder}."
        elif within(grant.source, folder):
            hint = f"Grant a folder outside of {folder}."
        else:
            continue
        raise InvalidRequest(
            f"the grant {grant.source} would give the server thv's own files ({folder})",
            hint=hint,
        )


def _check_package(grant: Grant, plan: DeploymentPlan) -> None:
    for path in (plan.root.path, *plan.root.view):
        package = os.path.realpath(path)
        if grant.writable and (within(package, grant.source) or within(grant.source, package)):
            raise InvalidRequest(
                f"a writable grant of {grant.source} would let the server change its own package",
                hint="Grant the folders that the server needs, not one that contains them all.",
            )


def _check_parents(grant: Grant, grants: Sequence[Grant]) -> None:
    for parent in grants:
        if parent is not grant and within(grant.target, parent.target):
            point = os.path.normpath(parent.source + grant.target.removeprefix(parent.target))
            # A link there would lead the mount out of the sandbox, and a read-only folder gets no new mount point.
            # One window stays: another server that may write there, and puts a link above the last name of the place
            # between this look and the mount. It moves the mount within the sandbox's own view, and reads nothing more.
            if _real(point) != point:
                raise InvalidRequest(
                    f"a grant at {grant.target} has no place in the grant at {parent.target}",
                    evidence=[f"{point} does not exist, or is reached through a link"],
                    hint="Show it elsewhere: HOST_PATH:/data",
                )


def _real(path: str) -> str:
    """Return the real path of what exists and can be reached, else an empty string."""
    try:
        return os.path.realpath(path, strict=True)
    except OSError:
        return ""
