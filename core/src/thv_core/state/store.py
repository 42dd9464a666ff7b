"""The state: workloads and groups in SQLite, durable once a call has returned, whatever is killed afterwards."""

from __future__ import annotations

import sqlite3
from collections.abc import Sequence
from pathlib import Path
from typing import cast

import msgspec

from thv_core.errors import AlreadyExists, Conflict, InvalidDocument, NotFound
from thv_core.model.document import nearest
from thv_core.model.group import DEFAULT_GROUP, Group, valid_group
from thv_core.model.workload import Workload
from thv_core.state.database import Database, Row
from thv_core.state.grouping import groups_of, missing, moved, refuse_default, refuse_taken, require
from thv_core.state.rows import INSERT, SELECT, UPDATE, row_of, workload_of

__all__ = ["StateStore"]


class StateStore:
    """Workloads by name, and their groups. Safe to use from any thread and from several processes.

    Every method raises :class:`StateUnusable`, naming the file, when it is damaged, was written by a newer version or
    cannot be written. The file is never deleted or repaired, and nothing is written when nothing changes.
    """

    def __init__(self, path: Path) -> None:
        self._database = Database(path)

    def add(self, workload: Workload) -> None:
        """Remember a new workload.

        :raises AlreadyExists: when there is one of that name.
        :raises NotFound: when its group does not exist.
        """
        try:
            with self._database.transaction() as connection:
                connection.execute(INSERT, row_of(workload))
                require(connection, workload.config.group)
        except sqlite3.IntegrityError:
            raise AlreadyExists(
                f"workload with name '{workload.name}' already exists",
                hint=f"Give another with --name, or remove it:  thv rm {workload.name}",
            ) from None

    def get(self, name: str) -> Workload:
        """Return the workload of a name.

        :raises NotFound: when there is none; the hint is the nearest name.
        """
        found = self._select("WHERE name = ?", name)
        if not found:
            raise _not_found(name, self.names())
        return found[0]

    def all(self) -> list[Workload]:
        """Return every workload, by name."""
        return self._select("ORDER BY name")

    def names(self) -> list[str]:
        """Return the name of every workload, sorted."""
        return [str(name) for (name,) in self._database.query("SELECT name FROM workloads ORDER BY name")]

    def replace(self, workload: Workload) -> None:
        """Replace the workload of the same name; an equal one is not written.

        :raises NotFound: when there is none, the hint is the nearest name; or when a group that it had not before
            does not exist.
        """
        with self._database.transaction() as connection:
            before = self._within(connection, workload.name)
            if before == workload:
                return
            for group in sorted(groups_of(workload) - groups_of(before)):
                require(connection, group)
            connection.execute(UPDATE, (*row_of(workload), workload.name))

    def remove(self, name: str) -> None:
        """Forget a workload; one that does not exist is no error."""
        with self._database.transaction() as connection:
            connection.execute("DELETE FROM workloads WHERE name = ?", (name,))

    def next_generation(self) -> int:
        """Return a number that was never returned before, larger than all of them."""
        with self._database.transaction() as connection:
            connection.execute("UPDATE counters SET value = value + 1 WHERE name = 'generation'")
            (value,) = connection.execute("SELECT value FROM counters WHERE name = 'generation'").fetchone()
        return int(value)

    def by_request(self, request_id: str) -> Workload | None:
        """Return the workload that a request started or is changing, if it is still there."""
        started = self._select("WHERE request_id = ? ORDER BY created_at DESC LIMIT 1", request_id)
        changing = started or self._select("WHERE successor IS NOT NULL ORDER BY name")
        return next((each for each in changing if request_id in _requests(each)), None)

    def remembered_ports(self) -> dict[str, int]:
        """Return the port of each workload that has one, running or not.

        A change under way that brings another port has an entry of its own, ``the change of NAME``.
        """
        rows = self._database.query("SELECT name, port FROM workloads WHERE port > 0 ORDER BY name")
        ports = {str(name): cast("int", port) for name, port in rows}
        for each in self._select("WHERE successor IS NOT NULL ORDER BY name"):
            port = each.successor.config.port if each.successor else 0
            if port not in (0, each.config.port):
                ports[f"the change of {each.name}"] = port
        return ports

    def groups(self) -> list[Group]:
        """Return every group: the default one first, then by name."""
        rows = self._database.query("SELECT name, created_at FROM groups ORDER BY name")
        return [
            Group(name=DEFAULT_GROUP),
            *(Group(name=str(name), created_at=cast("float", created_at)) for name, created_at in rows),
        ]

    def group(self, name: str) -> Group:
        """Return the group of a name.

        :raises NotFound: when there is none; the hint is the nearest, and how to create it.
        """
        groups = {group.name: group for group in self.groups()}
        if name not in groups:
            raise missing(name, [*groups])
        return groups[name]

    def add_group(self, group: Group) -> None:
        """Remember a new group.

        :raises InvalidRequest: when its name cannot name a group.
        :raises AlreadyExists: when there is one of that name.
        """
        valid_group(group.name)
        with self._database.transaction() as connection:
            refuse_taken(connection, group.name)
            connection.execute("INSERT INTO groups (name, created_at) VALUES (?, ?)", (group.name, group.created_at))

    def remove_group(self, name: str) -> None:
        """Forget a group that nothing is in.

        :raises InvalidRequest: when it is the default group.
        :raises NotFound: when it does not exist.
        :raises Conflict: when a workload is in it, or will be once a change is done.
        """
        refuse_default(name, "removed")
        with self._database.transaction() as connection:
            require(connection, name)
            members = [each.name for each in self._members(connection, name)]
            if members:
                raise Conflict(
                    f"group '{name}' is not empty",
                    evidence=members,
                    hint="Move its workloads to another group, or remove them, first.",
                )
            connection.execute("DELETE FROM groups WHERE name = ?", (name,))

    def rename_group(self, old: str, new: str) -> None:
        """Give a group another name, in the configurations of its workloads, too.

        :raises InvalidRequest: when it is the default group, or the new name cannot name a group.
        :raises NotFound: when it does not exist.
        :raises AlreadyExists: when another group has the new name.
        """
        refuse_default(old, "renamed")
        valid_group(new)
        with self._database.transaction() as connection:
            require(connection, old)
            if old == new:
                return
            refuse_taken(connection, new)
            connection.execute("UPDATE groups SET name = ? WHERE name = ?", (new, old))
            for each in self._members(connection, old):
                connection.execute(UPDATE, (*row_of(moved(each, new, old)), each.name))

    def move(self, names: Sequence[str], group: str) -> None:
        """Move workloads to a group, all of them or none.

        :raises NotFound: when the group, or one of the workloads, does not exist.
        """
        with self._database.transaction() as connection:
            require(connection, group)
            for name in names:
                before = self._within(connection, name)
                after = moved(before, group)
                if after != before:
                    connection.execute(UPDATE, (*row_of(after), name))

    def close(self) -> None:
        """Close the file; closing twice is no error."""
        self._database.close()

    def _select(self, clause: str, *parameters: str) -> list[Workload]:
        return self._workloads(self._database.query(f"{SELECT} {clause}", *parameters))

    def _within(self, connection: sqlite3.Connection, name: str) -> Workload:
        rows: list[Row] = connection.execute(f"{SELECT} WHERE name = ?", (name,)).fetchall()
        if not rows:
            known: list[tuple[str]] = connection.execute("SELECT name FROM workloads ORDER BY name").fetchall()
            raise _not_found(name, [each for (each,) in known])
        return self._workloads(rows)[0]

    def _members(self, connection: sqlite3.Connection, group: str) -> list[Workload]:
        rows: list[Row] = connection.execute(f"{SELECT} ORDER BY name").fetchall()
        return [each for each in self._workloads(rows) if group in groups_of(each)]

    def _workloads(self, rows: list[Row]) -> list[Workload]:
        try:
            return [workload_of(row, str(self._database.path)) for row in rows]
        except (InvalidDocument, msgspec.ValidationError) as error:
            raise self._database.damaged(str(error)) from error


def _requests(workload: Workload) -> tuple[str, ...]:
    successor = workload.successor
    return (workload.request_id, *((successor.request_id,) if successor else ()))


def _not_found(name: str, known: list[str]) -> NotFound:
    meant = nearest(name, known)
    hint = f"Did you mean {meant}?" if meant else "thv list --all shows every workload."
    return NotFound(f"there is no workload named {name}", hint=hint)
