"""Grants as they are on this host: sources that exist, with their links resolved, and none that gives us away."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path

from thv_core.errors import InvalidRequest, StartFailed
from thv_core.model.plan import DeploymentPlan
from thv_core.model.profile import Grant
from thv_sandbox.view import check_targets, within

__all__ = ["resolved_grants"]

_KERNEL = ("/proc", "/sys", "/dev")


def resolved_grants(plan: DeploymentPlan, state: Path) -> tuple[Grant, ...]:
    """Return the grants of ``plan`` with resolved sources.

    :param state: our own directory, which no server may see: a Unix socket works even through a read-only mount.
    :raises InvalidRequest: when a grant cannot be meant.
    :raises StartFailed: when a source, or a folder of the package, does not exist.
    """
    check_targets(plan)
    for path in (plan.root.path, *plan.root.view):
        if not Path(path).exists():
            raise StartFailed(f"the package needs {path}, which does not exist", hint="Prepare it again: thv run")
    grants = tuple(_resolved(grant) for grant in plan.grants)
    for grant in grants:
        _check_kernel(grant)
        _check_private(grant, state.resolve())
        _check_package(grant, plan)
        _check_parents(grant, grants)
    return grants


def _resolved(grant: Grant) -> Grant:
    try:
        source = str(Path(grant.source).resolve(strict=True))
    except (OSError, RuntimeError) as error:
        raise StartFailed(
            f"the server is granted {grant.source}, which cannot be opened",
            evidence=[str(error)],
            hint="Create it first, or grant a path that exists.",
        ) from error
    return Grant(source=source, target=grant.target, writable=grant.writable)


def _check_kernel(grant: Grant) -> None:
    for folder in _KERNEL:
        if within(grant.source, folder):
            raise InvalidRequest(
                f"a grant of {grant.source} would show the server the kernel's own files of this machine",
                hint="The sandbox has a /proc and a /dev of its own.",
            )


def _check_private(grant: Grant, state: Path) -> None:
    if within(str(state), grant.source) or within(grant.source, str(state)):
        raise InvalidRequest(
            f"a grant of {grant.source} would show the server thv's own state",
            hint="Grant the folders that the server needs, not one that contains them all.",
        )


def _check_package(grant: Grant, plan: DeploymentPlan) -> None:
    for path in (plan.root.path, *plan.root.view):
        package = str(Path(path).resolve())
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
            if os.path.realpath(point) != point or not Path(point).exists():
                raise InvalidRequest(
                    f"a grant at {grant.target} has no place in the grant at {parent.target}",
                    evidence=[f"{point} does not exist, or is reached through a link"],
                    hint="Show it elsewhere: HOST_PATH:/data",
                )
