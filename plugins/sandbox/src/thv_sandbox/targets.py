"""Where things are in a server's view, and that none of them hides another (pure)."""

from __future__ import annotations

import posixpath
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from thv_core.errors import InvalidRequest
from thv_core.model.plan import CERTIFICATES, DeploymentPlan
from thv_core.model.profile import Grant

__all__ = [
    "HOME",
    "PRIVATE_SIZE",
    "SHARED_MEMORY",
    "SYSTEM_ENTRIES",
    "Mount",
    "check_targets",
    "memory_folders",
    "mounts",
    "new_folders",
    "within",
]

HOME = "/home/mcp"
"""The private home of every server."""

SHARED_MEMORY = "/dev/shm"  # noqa: S108 - the server's own

PRIVATE_SIZE = 64 * 1024 * 1024
"""The size in bytes of each private folder for which the plan says nothing else."""

SYSTEM_ENTRIES = ("/bin", "/sbin", "/lib", "/lib32", "/lib64", "/libx32", "/etc/localtime")
"""What a host has either as a link into ``/usr``, which is reproduced, or of its own, which is bound."""

_SYSTEM = ("/usr", *SYSTEM_ENTRIES[:-1], "/etc", "/proc", "/dev", posixpath.dirname(CERTIFICATES))
_PRIVATE = ("/tmp", HOME)  # noqa: S108 - the server's own
_VISIBLE = ("/usr", *SYSTEM_ENTRIES[:-1])
_ELSEWHERE = "Show it elsewhere: HOST_PATH:/data"


@dataclass(frozen=True)
class Mount:
    """Something of the host at ``target``; ``linked`` when the path of its source may hold links."""

    source: str
    target: str
    writable: bool = False
    linked: bool = False


def within(path: str, folder: str) -> bool:
    """Tell whether ``path`` is ``folder`` or lies beneath it."""
    return path == folder or path.startswith(folder.rstrip("/") + "/")


def mounts(plan: DeploymentPlan) -> tuple[Mount, ...]:
    """Return everything of the host that the plan shows, in the order of the mounts: outer before inner."""
    grants = sorted(plan.grants, key=lambda each: each.target)
    return (
        *(Mount(source=path, target=path, linked=True) for path in _package_paths(plan)),
        *(Mount(source=each.source, target=each.target, writable=each.writable) for each in grants),
        *(Mount(source=path, target=path, writable=True) for path in sorted(plan.workspaces)),
    )


def memory_folders(plan: DeploymentPlan) -> dict[str, int]:
    """Return every folder of the view that lies in memory, with its size in bytes."""
    return dict.fromkeys((SHARED_MEMORY, *_PRIVATE), PRIVATE_SIZE) | plan.tmpfs


def new_folders(plan: DeploymentPlan) -> Mapping[str, int]:
    """Return the memory file systems that only this plan has, outer before inner."""
    return {path: size for path, size in sorted(plan.tmpfs.items()) if path not in (SHARED_MEMORY, *_PRIVATE)}


def check_targets(plan: DeploymentPlan) -> None:
    """Check that no mount hides another one or the system's view.

    :raises InvalidRequest: naming the first that does.
    """
    package = _package_paths(plan)
    for path in package:
        _check_place(path, "the package")
    for grant in plan.grants:
        _check_place(grant.target, "a grant")
        _check_package(grant.target, package)
        _check_writable(grant, plan.grants)
    _check_workspaces(plan, package)
    for path in new_folders(plan):
        _check_place(path, "a memory file system")
        _check_free(path, mounts(plan))


def _package_paths(plan: DeploymentPlan) -> tuple[str, ...]:
    """Return what the package needs, outermost only and without what the system's view shows anyway."""
    wanted = sorted({posixpath.normpath(path) for path in (plan.root.path, *plan.root.view)})
    needed: list[str] = []
    for path in wanted:
        if not any(within(path, folder) for folder in (*_VISIBLE, *needed, *plan.workspaces)):
            needed.append(path)
    return tuple(needed)


def _check_place(path: str, what: str) -> None:
    if not path.startswith("/") or posixpath.normpath(path) != path:
        raise InvalidRequest(f"{path!r} is not an absolute path in its shortest form")
    hidden = [each for each in _SYSTEM if within(path, each) or within(each, path)]
    hidden += [each for each in _PRIVATE if within(each, path)]
    if hidden:
        raise InvalidRequest(f"{what} at {path} would hide {hidden[0]} from the server", hint=_ELSEWHERE)


def _check_package(target: str, package: Iterable[str]) -> None:
    for path in package:
        if within(target, path) or within(path, target):
            raise InvalidRequest(f"a grant at {target} would hide the server's own package at {path}", hint=_ELSEWHERE)


def _check_writable(grant: Grant, grants: Iterable[Grant]) -> None:
    for other in grants:
        if other.writable and other is not grant and within(grant.target, other.target):
            raise InvalidRequest(
                f"a grant at {grant.target} lies beneath {other.target}, which the server may write",
                hint="Grant folders that do not lie in each other, or show one of them elsewhere: HOST_PATH:/data",
            )


def _check_workspaces(plan: DeploymentPlan, package: Iterable[str]) -> None:
    others = [*package, *(grant.target for grant in plan.grants)]
    for path in plan.workspaces:
        _check_place(path, "a workspace")
        for other in (*others, *(each for each in plan.workspaces if each != path)):
            # What lies beneath it would be mounted where an earlier job may have put links.
            if within(other, path):
                raise InvalidRequest(f"{other} lies in the workspace {path}, which the job may write")


def _check_free(path: str, taken: Iterable[Mount]) -> None:
    for mount in taken:
        if within(path, mount.target) or within(mount.target, path):
            raise InvalidRequest(
                f"a memory file system at {path} and what the server is shown at {mount.target} hide each other",
                hint="Put it elsewhere, such as /scratch.",
            )
