"""What builders have prepared on this machine: which workloads use it, and the removal of what none uses."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import partial

from thv_core.errors import ThvError
from thv_core.model.document import Document
from thv_core.model.entry import PreparedPackage
from thv_core.model.workload import Workload
from thv_core.spi.sources import Builder
from thv_supervisor.control.ground import Ground

__all__ = ["CacheContents", "CachedPackage", "Pruning", "contents", "prune"]

LIMIT = 60.0


class CachedPackage(Document, frozen=True, kw_only=True):
    """One prepared package; ``builder`` is the scheme of whoever prepared it, ``workloads`` are those that use it."""

    builder: str
    package: PreparedPackage
    workloads: tuple[str, ...] = ()


class CacheContents(Document, frozen=True, kw_only=True):
    """Everything that is prepared, and in words what could not be looked at."""

    packages: tuple[CachedPackage, ...] = ()
    problems: tuple[str, ...] = ()


@dataclass
class Pruning:
    """What a removal did: the removed packages, how many bytes that freed, and what went wrong."""

    removed: list[PreparedPackage] = field(default_factory=list[PreparedPackage])
    freed: int = 0
    problems: list[str] = field(default_factory=list[str])


async def contents(ground: Ground) -> CacheContents:
    """Return everything that the installed builders have prepared, by reference."""
    found: list[CachedPackage] = []
    problems: list[str] = []
    for name in ground.kernel.drivers.names(Builder):
        try:
            prepared = await ground.calls.run(f"builder {name} cache", LIMIT, partial(_prepared, ground, name))
        except ThvError as error:
            problems.append(f"{name}: {error.message}")
        else:
            found += [CachedPackage(builder=name, package=each, workloads=_users(ground, each)) for each in prepared]
    found.sort(key=lambda each: (each.package.reference, each.package.path))
    return CacheContents(packages=tuple(found), problems=tuple(problems))


async def prune(ground: Ground, turn: asyncio.Lock, unused_since: float) -> Pruning:
    """Remove every package that no workload uses, and that was last used before an instant.

    :param turn: held while a package is looked at and removed, so that no workload begins to use it meanwhile.
    :param unused_since: seconds since the epoch.
    """
    seen = await contents(ground)
    pruning = Pruning(problems=[*seen.problems])
    packages = [each.package for each in seen.packages]
    for each in seen.packages:
        if each.package.used_at > unused_since:
            continue
        async with turn:
            if each.package.path not in _in_use(ground, packages):
                await _remove(ground, each, pruning)
    return pruning


async def _remove(ground: Ground, cached: CachedPackage, pruning: Pruning) -> None:
    package = cached.package

    def discard() -> None:
        ground.kernel.drivers.get(Builder, cached.builder).discard(package)

    try:
        await ground.calls.run(f"builder {cached.builder} cache", LIMIT, discard)
    except ThvError as error:
        pruning.problems.append(f"{package.reference}: {error.message}")
    else:
        # Two references may stand for one root, which is freed once.
        pruning.freed += 0 if package.path in {each.path for each in pruning.removed} else package.size
        pruning.removed.append(package)


def _prepared(ground: Ground, name: str) -> Sequence[PreparedPackage]:
    return ground.kernel.drivers.get(Builder, name).prepared()


def _users(ground: Ground, package: PreparedPackage) -> tuple[str, ...]:
    """Name the workloads that have a package: one that is being started is among them before it is prepared."""
    reference = _folded(package.reference)
    return tuple(each.name for each in ground.store.all() if reference in _images(each))


def _in_use(ground: Ground, packages: Sequence[PreparedPackage]) -> set[str]:
    """Return the paths of what workloads have; of a workload whose package is not found, whatever has its name."""
    images = {image for each in ground.store.all() for image in _images(each)}
    missing = images - {_folded(each.reference) for each in packages}
    names = {image.rpartition("@")[0] for image in missing}
    folded = ((each.path, _folded(each.reference)) for each in packages)
    return {path for path, reference in folded if reference in images or reference.rpartition("@")[0] in names}


def _images(workload: Workload) -> set[str]:
    """Return the package that a workload has, and the one that it is changed to."""
    configs = [workload.config, *([workload.successor.config] if workload.successor else [])]
    return {_folded(config.image) for config in configs}


def _folded(reference: str) -> str:
    """Return what is the same for every spelling of a reference: package indexes tell neither case nor joints apart."""
    return re.sub(r"[-_.]+", "-", reference).lower()
