"""Groups in the state, and the workloads in them."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import msgspec
import pytest

from thv_core.errors import AlreadyExists, Conflict, InvalidRequest, NotFound
from thv_core.model.group import DEFAULT_GROUP, Group
from thv_core.model.run_config import RunConfig
from thv_core.model.workload import Successor, SwapKind, Workload
from thv_core.state.store import StateStore


@pytest.fixture
def store(tmp_path: Path) -> Iterator[StateStore]:
    opened = StateStore(tmp_path / "state.db")
    opened.add_group(Group(name="search", created_at=1.5))
    opened.add_group(Group(name="a team", created_at=2.5))
    yield opened
    opened.close()


def workload(name: str, group: str = DEFAULT_GROUP, successors_group: str = "") -> Workload:
    config = RunConfig(name=name, image="uvx://x@1", group=group)
    successor = None
    if successors_group:
        changed = msgspec.structs.replace(config, image="uvx://x@2", group=successors_group)
        successor = Successor(config=changed, generation=2, request_id="r2", kind=SwapKind.BESIDE)
    return Workload(name=name, config=config, request_id="r1", successor=successor)


def groups_of(store: StateStore) -> dict[str, tuple[str, str]]:
    return {
        each.name: (each.config.group, each.successor.config.group if each.successor else "") for each in store.all()
    }


def unchanged(store: StateStore) -> int:
    return store._database.connection.total_changes


def test_the_default_group_is_always_there_and_first(store: StateStore) -> None:
    assert store.groups() == [
        Group(name="default"),
        Group(name="a team", created_at=2.5),
        Group(name="search", created_at=1.5),
    ]


@pytest.mark.parametrize("name", ["search", "default"])
def test_a_group_is_there_once(store: StateStore, name: str) -> None:
    with pytest.raises(AlreadyExists, match=f"group '{name}' already exists"):
        store.add_group(Group(name=name))
    assert len(store.groups()) == 3


def test_a_name_that_cannot_name_a_group_is_refused(store: StateStore) -> None:
    with pytest.raises(InvalidRequest, match="cannot name a group"):
        store.add_group(Group(name="Search"))
    with pytest.raises(InvalidRequest, match="cannot name a group"):
        store.rename_group("search", " search")


def test_a_workload_is_added_to_a_group_that_exists_only(store: StateStore) -> None:
    with pytest.raises(NotFound, match="group 'serach' does not exist") as caught:
        store.add(workload("time", "serach"))
    assert caught.value.hint == "Did you mean search? Or create it:  thv group create serach"
    with pytest.raises(NotFound) as caught:
        store.add(workload("time", "zz top"))
    assert caught.value.hint == "Create it:  thv group create 'zz top'"
    assert store.names() == []
    store.add(workload("time", "search"))
    assert groups_of(store) == {"time": ("search", "")}


def test_a_workload_is_changed_to_a_group_that_exists_only(store: StateStore) -> None:
    store.add(workload("time"))
    for changed in (workload("time", "absent"), workload("time", "default", "absent")):
        with pytest.raises(NotFound, match="group 'absent' does not exist"):
            store.replace(changed)
    store.replace(workload("time", "default", "search"))
    assert groups_of(store) == {"time": ("default", "search")}


@pytest.mark.parametrize("member", [workload("time", "search"), workload("time", "default", "search")])
def test_a_group_with_workloads_is_not_removed_and_they_are_named(store: StateStore, member: Workload) -> None:
    store.add(member)
    with pytest.raises(Conflict, match="group 'search' is not empty") as caught:
        store.remove_group("search")
    assert caught.value.evidence == ("time",)
    store.remove("time")
    store.remove_group("search")
    assert [each.name for each in store.groups()] == ["default", "a team"]


@pytest.mark.parametrize(
    "change",
    [
        lambda store: store.remove_group("serach"),
        lambda store: store.rename_group("serach", "find"),
        lambda store: store.move(["time"], "serach"),
    ],
)
def test_a_group_that_does_not_exist_is_answered_with_the_nearest(
    store: StateStore, change: Callable[[StateStore], None]
) -> None:
    store.add(workload("time"))
    before = unchanged(store)
    with pytest.raises(NotFound, match="group 'serach' does not exist") as caught:
        change(store)
    assert caught.value.hint.startswith("Did you mean search?")
    assert unchanged(store) == before


def test_the_default_group_is_neither_removed_nor_renamed(store: StateStore) -> None:
    with pytest.raises(InvalidRequest, match="the group default cannot be removed"):
        store.remove_group("default")
    with pytest.raises(InvalidRequest, match="the group default cannot be renamed"):
        store.rename_group("default", "other")
    for taken in ("default", "a team"):
        with pytest.raises(AlreadyExists):
            store.rename_group("search", taken)


def test_a_group_is_renamed_with_the_configurations_of_its_workloads(store: StateStore) -> None:
    for each in (
        workload("in", "search"),
        workload("leaves", "search", "a team"),
        workload("joins", "a team", "search"),
        workload("out", "a team"),
    ):
        store.add(each)
    store.rename_group("search", "find")
    assert groups_of(store) == {
        "in": ("find", ""),
        "leaves": ("find", "a team"),
        "joins": ("a team", "find"),
        "out": ("a team", ""),
    }
    assert store.groups()[2] == Group(name="find", created_at=1.5)
    assert store.get("in") == workload("in", "find")


def test_renaming_a_group_to_its_own_name_writes_nothing(store: StateStore) -> None:
    store.add(workload("time", "search"))
    before = unchanged(store)
    store.rename_group("search", "search")
    assert unchanged(store) == before


def test_workloads_are_moved_with_the_change_that_is_under_way(store: StateStore) -> None:
    store.add(workload("a"))
    store.add(workload("b", "default", "search"))
    store.add(workload("c"))
    store.move(["a", "b"], "a team")
    assert groups_of(store) == {"a": ("a team", ""), "b": ("a team", "a team"), "c": ("default", "")}
    before = unchanged(store)
    store.move(["a", "b"], "a team")
    assert unchanged(store) == before


def test_all_workloads_are_moved_or_none(store: StateStore) -> None:
    store.add(workload("time"))
    with pytest.raises(NotFound, match="there is no workload named tme") as caught:
        store.move(["time", "tme"], "search")
    assert caught.value.hint == "Did you mean time?"
    assert groups_of(store) == {"time": ("default", "")}
