from __future__ import annotations

import os
import resource
import subprocess

import pytest

from thv_core.errors import RuntimeUnavailable
from thv_core.spi import Deployment, DeploymentPlan, PackageRoot, ResourceLimits
from thv_sandbox.limits import LONGEST_FILE, apply, check_required, enforcement, prefer

LIMITS = ResourceLimits(memory=512 << 20, cpu=1.5, pids=64, files=500)


def plan_with(**changes: object) -> DeploymentPlan:
    root = PackageRoot(path="/usr", command=("serve",))
    deployment = Deployment(workload="notes", generation=1)
    return DeploymentPlan(deployment=deployment, command=("serve",), root=root, limits=LIMITS, **changes)


def test_with_control_groups_everything_is_enforced() -> None:
    enforced = enforcement(LIMITS, ("memory", "pids", "cpu"), 4)
    assert enforced.words == (
        "memory 512 MiB (cgroup)",
        "cpu 1.5 (cgroup)",
        "pids 64 (cgroup)",
        "files 500 (rlimit, of each process)",
    )
    check_required(plan_with(require_limits=True), enforced)


def test_what_is_only_watched_or_could_be_undone_is_not_called_enforced() -> None:
    enforced = enforcement(LIMITS, (), 4)
    assert enforced.words == (
        "memory 512 MiB (watched, not enforced between looks)",
        "cpu 1.5 (kept on 2 of 4 cores, not enforced)",
        "pids 64 (rlimit)",
        "files 500 (rlimit, of each process)",
    )
    check_required(plan_with(), enforced)
    with pytest.raises(RuntimeUnavailable, match="cannot enforce memory 512 MiB and cpu") as caught:
        check_required(plan_with(require_limits=True), enforced)
    assert caught.value.evidence == enforced.words


def test_no_more_cores_are_named_than_there_are() -> None:
    assert "kept on 1 of 1 cores" in enforcement(LIMITS, (), 1).words[1]


@pytest.mark.parametrize("controllers", [(), ("memory", "pids", "cpu")])
def test_the_limits_of_a_process_are_set(controllers: tuple[str, ...]) -> None:
    with subprocess.Popen(["sleep", "100"]) as process:
        try:
            before = resource.prlimit(process.pid, resource.RLIMIT_DATA)
            apply(process.pid, LIMITS, controllers)
            prefer(process.pid)
            found = {limit: resource.prlimit(process.pid, limit) for limit in (*EXPECTED, resource.RLIMIT_DATA)}
            cores = os.sched_getaffinity(process.pid)
            assert os.getpriority(os.PRIO_PROCESS, process.pid) >= 5
        finally:
            process.kill()
    data = found.pop(resource.RLIMIT_DATA)
    assert found == EXPECTED
    assert data == (before if controllers else (4 << 30, 4 << 30))
    assert len(cores) == (len(os.sched_getaffinity(0)) if controllers else min(2, len(os.sched_getaffinity(0))))


EXPECTED = {
    resource.RLIMIT_CORE: (0, 0),
    resource.RLIMIT_NOFILE: (500, 500),
    resource.RLIMIT_NPROC: (64, 64),
    resource.RLIMIT_FSIZE: (LONGEST_FILE, LONGEST_FILE),
}
