"""A hostile server beside a neighbour, for each kind of user: every attack fails, and the machine stays responsive.

Each attack takes a second or two; ``THV_HOSTILE_SECONDS=60`` makes each as long as that.
"""

from __future__ import annotations

import json
import os
import socket
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from thv_core.spi import DeploymentPlan, Grant, ResourceLimits

PlanMaker = Callable[..., DeploymentPlan]
MEBIBYTE = 1 << 20
SECONDS = float(os.environ.get("THV_HOSTILE_SECONDS", "1"))
LIMITS = ResourceLimits(memory=160 * MEBIBYTE, pids=48, files=200)
OUTSIDE = (
    "/etc/shadow",
    "/root/.profile",
    "/etc/cron.d/evil",
    "/usr/bin/evil",
    "/sys/kernel/profiling",
    "/proc/sysrq-trigger",
)
RESPONSIVE = 5.0
"""Seconds: far more than an answer takes, and far less than that of a machine under a bomb."""


@pytest.fixture
def attack(account: Any, plan_of: PlanMaker) -> Callable[..., dict[str, Any]]:
    """Give what runs an attack as each kind of user, and asserts that it touched nobody else."""

    def run(name: str, *, limits: ResourceLimits = LIMITS, **order: object) -> dict[str, Any]:
        out = account.folder / "out"
        whole = {"attack": name, "seconds": SECONDS, "host_pid": os.getpid(), "outside": OUTSIDE, **order}
        whole["files"] = limits.files
        plan_of(account, "neighbour.py")
        grant = Grant(source=str(out), target="/out", writable=True)
        plan = plan_of(account, "hostile.py", json.dumps(whole), grants=(grant,), limits=limits)
        outcome = account.drive("attack", plan, longest=SECONDS + 60)
        assert outcome["state"] == "exited", outcome
        assert outcome["neighbour"] < RESPONSIVE, outcome
        assert outcome["host"] < RESPONSIVE, outcome
        report = out / "report.json"
        return {**outcome, "report": json.loads(report.read_text()) if report.exists() else None}

    return run


def test_nothing_leads_out(attack: Callable[..., dict[str, Any]], account: Any) -> None:
    abstract = f"thv-hostile-test-{os.getpid()}"
    device = account.folder / "out" / "null-device"
    if os.getuid() == 0:
        os.mknod(device, 0o20666, os.makedev(1, 3))
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind("\0" + abstract)
        listener.listen()
        outcome = attack("escapes", abstract=abstract)
    report = outcome["report"]
    assert report["rounds"] > 1
    assert report["environments"] == []
    assert report["ptrace"] == ["EPERM"]
    assert report["rights"] == ["EPERM"]
    assert report["signal"] in ("ESRCH", "done")
    assert {report["mount"], report["bind"], report["clone"], *report["unshare"]} == {"EPERM"}
    assert set(report["sockets"].values()) == {"EAFNOSUPPORT"}
    assert report["packet"] == "EAFNOSUPPORT"
    assert report["raw"] == "EPERM"
    assert set(report["calls"].values()) == {"EPERM"}
    assert report["root"] in ("EPERM", "EINVAL")
    assert report["device"] == "EPERM"
    assert report["granted_device"] == ("EACCES" if os.getuid() == 0 else "ENOENT")
    assert set(report["written"].values()) <= {"EROFS", "ENOENT", "EACCES"}
    assert set(report["read"].values()) <= {"ENOENT", "EACCES", "EIO"}
    assert set(report["links"].values()) <= {"ENOENT", "EACCES", "ELOOP", "EIO"}
    assert report["socket"] == "ENOENT"
    assert report["abstract"] == "ECONNREFUSED"
    assert report["priority"] in ("EACCES", "EPERM")
    assert report["reserved_log"] in ("ENOTSUP", "EOPNOTSUPP")


def test_a_fork_bomb_stays_in_its_sandbox(attack: Callable[..., dict[str, Any]]) -> None:
    outcome = attack("forks")
    assert 8 < outcome["processes"] <= LIMITS.pids


@pytest.mark.parametrize("bomb", ["allocates", "shares_memory"])
def test_a_memory_bomb_ends_its_own_sandbox_and_that_is_noted(attack: Callable[..., dict[str, Any]], bomb: str) -> None:
    outcome = attack(bomb)
    assert outcome["notes"] == ["ended: it used more than 160 MiB of memory"]
    assert outcome["seconds"] < 30


def test_memory_that_belongs_to_no_process_counts_or_is_refused(attack: Callable[..., dict[str, Any]]) -> None:
    outcome = attack("hides_memory")
    if "watched" in outcome["limits"][0]:
        assert outcome["report"] == {"refused": "ENOSYS"}
    else:
        assert outcome["notes"] == ["ended: it used more than 160 MiB of memory"]


@pytest.mark.parametrize("bomb", ["piles_up", "maps"])
def test_what_the_kernel_keeps_for_a_sandbox_counts(attack: Callable[..., dict[str, Any]], bomb: str) -> None:
    outcome = attack(bomb, limits=ResourceLimits(memory=160 * MEBIBYTE, pids=4, files=4000))
    assert outcome["seconds"] < 30
    if "watched" in outcome["limits"][0]:
        assert outcome["notes"] == ["ended: it used more than 160 MiB of memory"]


def test_what_is_stored_in_memory_counts(attack: Callable[..., dict[str, Any]]) -> None:
    outcome = attack("fills", limits=ResourceLimits(memory=48 * MEBIBYTE))
    assert outcome["notes"] == ["ended: it used more than 48 MiB of memory"]


def test_no_disk_is_filled(attack: Callable[..., dict[str, Any]]) -> None:
    report = attack("fills", limits=ResourceLimits())["report"]
    assert report == {folder: ["ENOSPC", 64] for folder in ("/tmp", "/home/mcp", "/dev/shm")}


def test_only_so_many_files_are_opened(attack: Callable[..., dict[str, Any]]) -> None:
    report = attack("opens")["report"]
    assert report["error"] == "EMFILE"
    assert report["opened"] < LIMITS.files


def test_a_flood_of_the_log_is_slowed_and_bounded_and_noted(attack: Callable[..., dict[str, Any]]) -> None:
    outcome = attack("floods", seconds=max(SECONDS, 3))
    (note,) = outcome["notes"]
    assert note.startswith("floods its log (")
    assert outcome["log"] < 1024 * MEBIBYTE


def test_a_granted_socket_is_refused(account: Any, plan_of: PlanMaker, monkeypatch: pytest.MonkeyPatch) -> None:
    out: Path = account.folder / "out"
    monkeypatch.chdir(out)
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind("way-out")
        grant = Grant(source=str(out), target="/out", writable=False)
        refusal = account.drive("refused_start", plan_of(account, "sleeper.py", grants=(grant,)))
    assert refusal["code"] == "invalid-request"
    assert f"{out}/way-out" in refusal["message"]
    assert "--allow-socket" in refusal["hint"]
