"""The groups of the state and who belongs to them, within a transaction of the caller."""

from __future__ import annotations

import shlex
import sqlite3
from collections.abc import Sequence

import msgspec

from thv_core.errors import AlreadyExists, InvalidRequest, NotFound
from thv_core.model.document import nearest
from thv_core.model.group import DEFAULT_GROUP
from thv_core.model.run_config import RunConfig
from thv_core.model.workload import Workload

__all__ = ["groups_of", "missing", "moved", "refuse_default", "refuse_taken", "require"]


def require(connection: sqlite3.Connection, name: str) -> None:
    """Check that a group exists.

    :raises NotFound: when it does not; the hint is the nearest, and how to create it.
    """
    known = _names(connection)
    if name not in known:
        raise missing(name, known)


def missing(name: str, known: Sequence[str]) -> NotFound:
    """Return the error that says there is no group of a name; the hint is the nearest, and how to create it."""
    meant = nearest(name, [*known])
    create = f"thv group create {shlex.quote(name)}"
    hint = f"Did you mean {meant}? Or create it:  {create}" if meant else f"Create it:  {create}"
    return NotFound(f"group '{name}' does not exist", hint=hint)


def refuse_taken(connection: sqlite3.Connection, name: str) -> None:
    """Check that no group has this name.

    :raises AlreadyExists: when one has.
    """
    if name in _names(connection):
        raise AlreadyExists(f"group '{name}' already exists", hint="Choose another name; thv group list shows all.")


def refuse_default(name: str, act: str) -> None:
    """Check that it is not the default group, which always exists.

    :raises InvalidRequest: when it is; ``act`` says what it cannot be: ``removed``.
    """
    if name == DEFAULT_GROUP:
        raise InvalidRequest(
            f"the group {DEFAULT_GROUP} cannot be {act}",
            hint="Whatever names no group is in it. Move its workloads:  thv group move NAME… GROUP",
        )


def groups_of(workload: Workload) -> set[str]:
    """Return the group that a workload is in, and the one that it will be in once the change under way is done."""
    return {config.group for config in _configs(workload)}


def moved(workload: Workload, group: str, former: str = "") -> Workload:
    """Return the workload in another group, whichever configuration of it will run.

    :param former: move only the configurations that are in this group.
    """
    successor = workload.successor
    if successor is not None:
        successor = msgspec.structs.replace(successor, config=_regrouped(successor.config, group, former))
    config = _regrouped(workload.config, group, former)
    return msgspec.structs.replace(workload, config=config, successor=successor)


def _configs(workload: Workload) -> tuple[RunConfig, ...]:
    return (workload.config, *((workload.successor.config,) if workload.successor else ()))


def _regrouped(config: RunConfig, group: str, former: str) -> RunConfig:
    return config if former and config.group != former else msgspec.structs.replace(config, group=group)


def _names(connection: sqlite3.Connection) -> list[str]:
    rows: list[tuple[str]] = connection.execute("SELECT name FROM groups ORDER BY name").fetchall()
    return [DEFAULT_GROUP, *(name for (name,) in rows)]
