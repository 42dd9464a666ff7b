"""Groups of workloads: make, rename and remove them, and move workloads between them, while everything runs on."""

from __future__ import annotations

from collections.abc import Sequence

from thv_core.model.group import DEFAULT_GROUP, Group, valid_group
from thv_core.model.workload import Workload
from thv_core.state.store import StateStore
from thv_supervisor.control.keeping import STOP_GRACE
from thv_supervisor.control.reconciler import SETTLE_LIMIT, Reconciler

__all__ = ["Groups"]


class Groups:
    """The groups that a reconciler's workloads are in. Nothing here starts a server anew or touches a session."""

    def __init__(self, reconciler: Reconciler) -> None:
        self._reconciler = reconciler

    @property
    def _store(self) -> StateStore:
        return self._reconciler.ground.store

    def all(self) -> list[Group]:
        """Return every group, the default one first."""
        return self._store.groups()

    def get(self, name: str) -> Group:
        """Return one group.

        :raises NotFound: when there is none of that name; the hint is the nearest.
        """
        return self._store.group(name)

    def create(self, name: str) -> Group:
        """Make a group.

        :raises InvalidRequest: when its name cannot name one.
        :raises AlreadyExists: when there is one of that name.
        """
        group = Group(name=valid_group(name), created_at=self._reconciler.ground.clock())
        self._store.add_group(group)
        return group

    def rename(self, old: str, new: str) -> None:
        """Give a group another name.

        :raises ThvError: when it is the default group or does not exist, or when the new name is taken or cannot be.
        """
        self._store.rename_group(old, new)

    def move(self, names: Sequence[str], group: str) -> None:
        """Move workloads to a group, all of them or none.

        :raises NotFound: when the group or one of them does not exist.
        """
        self._store.move(names, group)

    async def remove(self, name: str, with_workloads: bool) -> list[str]:
        """Remove a group: its workloads go with it, and are waited for, or go to the default group; return their names.

        :raises InvalidRequest: when it is the default group.
        :raises NotFound: when it does not exist.
        :raises TimedOut: when a workload does not end; the group is still there then.
        """
        if name == DEFAULT_GROUP:
            self._store.remove_group(name)
        self.get(name)
        members = self._members(name)
        if not with_workloads:
            # Nobody can come between: this is one step of the event loop.
            self._store.move(members, DEFAULT_GROUP)
            self._store.remove_group(name)
            return members
        for member in members:
            await self._reconciler.remove(member)
        for member in members:
            await self._reconciler.until(member, _gone, STOP_GRACE + SETTLE_LIMIT)
        self._store.remove_group(name)
        return members

    def _members(self, name: str) -> list[str]:
        def has(workload: Workload) -> bool:
            successor = workload.successor
            return workload.config.group == name or (successor is not None and successor.config.group == name)

        return [workload.name for workload in self._store.all() if has(workload)]


def _gone(workload: Workload | None) -> bool:
    return workload is None
