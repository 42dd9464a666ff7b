from __future__ import annotations

import os
import subprocess
from pathlib import Path

import pytest

from thv_core.spi import ResourceLimits
from thv_sandbox import cgroups
from thv_sandbox.cgroups import Hierarchy, attach, found, here, killed_for_memory, limited, remove, sweep

LIMITS = ResourceLimits(memory=64 << 20, cpu=0.5, pids=20)
FIRST = """\
31 23 0:28 / /sys/fs/cgroup rw,relatime - tmpfs tmpfs rw,mode=755
32 31 0:29 / /sys/fs/cgroup/cpu,cpuacct rw - cgroup cgroup rw,cpu,cpuacct
35 31 0:32 /docker/abc /sys/fs/cgroup/memory rw - cgroup cgroup rw,memory
38 31 0:35 / /sys/fs/cgroup/blkio rw - cgroup cgroup rw,blkio
39 31 0:36 /other /sys/fs/cgroup/pids rw - cgroup cgroup rw,pids
40 31 0:37 / /sys/fs/cgroup/systemd rw - cgroup cgroup rw,name=systemd
"""
FIRST_MEMBERSHIP = (
    "9:name=systemd:/\n8:pids:/elsewhere\n7:blkio:/\n4:memory:/docker/abc/inner\n1:cpu,cpuacct:/user\n0::/\n"
)


def test_the_hierarchies_of_version_1_are_found_with_the_groups_of_this_process() -> None:
    assert found(FIRST, FIRST_MEMBERSHIP) == (
        Hierarchy(own=Path("/sys/fs/cgroup/cpu,cpuacct/user"), controllers=("cpu",), unified=False),
        Hierarchy(own=Path("/sys/fs/cgroup/memory/inner"), controllers=("memory",), unified=False),
    )


def unified(tmp_path: Path, offered: str = "cpuset cpu io memory pids") -> tuple[Hierarchy, Path]:
    own = tmp_path / "app.slice" / "thv.service"
    own.mkdir(parents=True)
    (own / "cgroup.controllers").write_text(offered)
    (own.parent / "cgroup.subtree_control").write_text("")
    mounts = f"30 23 0:26 / {tmp_path} rw,nosuid - cgroup2 cgroup2 rw,nsdelegate\n"
    (hierarchy,) = found(mounts, "0::/app.slice/thv.service\n")
    return hierarchy, own


def test_the_hierarchy_of_version_2_is_found_with_what_it_offers(tmp_path: Path) -> None:
    hierarchy, own = unified(tmp_path)
    assert hierarchy == Hierarchy(own=own, controllers=("memory", "pids", "cpu"), unified=True)
    assert hierarchy.parents == (own, own.parent)


def test_a_hierarchy_of_version_2_without_our_controllers_is_left_out(tmp_path: Path) -> None:
    (tmp_path / "cgroup.controllers").write_text("io hugetlb")
    assert found(f"30 23 0:26 / {tmp_path} rw - cgroup2 cgroup2 rw\n", "0::/\n") == ()


def test_groups_of_a_service_are_made_beside_it_when_it_cannot_have_children(tmp_path: Path) -> None:
    hierarchy, own = unified(tmp_path)
    (own.parent / "thv").mkdir()
    (own.parent / "thv" / "cgroup.subtree_control").write_text("")
    place, controllers = cgroups._place(hierarchy)
    assert place == own.parent / "thv"
    assert controllers == ("memory", "pids", "cpu")
    assert (place / "cgroup.subtree_control").read_text() == "+memory +pids +cpu"


def test_a_limit_without_its_file_is_not_taken_for_set(tmp_path: Path) -> None:
    assert limited({"memory": (tmp_path, True), "pids": (tmp_path, True)}, "notes.1", LIMITS) == {}
    files = {"memory.max": "67108864", "memory.oom.group": "1", "pids.max": "20", "cpu.max": "50000 100000"}
    for name in files:
        (tmp_path / "notes.1" / name).write_text("")
    groups = limited(dict.fromkeys(cgroups.CONTROLLERS, (tmp_path, True)), "notes.1", LIMITS)
    assert groups == dict.fromkeys(cgroups.CONTROLLERS, tmp_path / "notes.1")
    assert {name: (tmp_path / "notes.1" / name).read_text() for name in files} == files


@pytest.mark.parametrize(
    ("name", "text"),
    [("memory.events", "low 0\noom 3\noom_kill 2\n"), ("memory.oom_control", "under_oom 0\noom_kill 2\n")],
)
def test_processes_that_were_killed_for_memory_are_counted(tmp_path: Path, name: str, text: str) -> None:
    (tmp_path / name).write_text(text)
    assert killed_for_memory(str(tmp_path)) == 2
    assert killed_for_memory(str(tmp_path / "gone")) == 0


def test_only_abandoned_and_empty_groups_are_swept(tmp_path: Path) -> None:
    for name in ("gone", "kept", "busy"):
        (tmp_path / name).mkdir()
    (tmp_path / "busy" / "child").mkdir()
    sweep({"memory": (tmp_path, False)}, lambda name: name != "kept")
    assert sorted(each.name for each in tmp_path.iterdir()) == ["busy", "kept"]


# In CI, where root runs the tests, a machine without them is a failure.
@pytest.mark.skipif(
    os.environ.get("CI") != "true" and "pids" not in here(), reason="this user has no control groups here"
)
def test_real_groups_hold_a_process_and_go_with_it() -> None:
    groups = limited(here(), f"test-{os.getpid()}", LIMITS)
    try:
        with subprocess.Popen(["sleep", "100"]) as process:
            attach(groups, process.pid)
            members = (groups["pids"] / "cgroup.procs").read_text().split()
            most = (groups["pids"] / "pids.max").read_text().strip()
            process.kill()
        assert members == [str(process.pid)]
        assert most == "20"
    finally:
        remove(tuple(groups.values()))
    assert not any(folder.exists() for folder in groups.values())
