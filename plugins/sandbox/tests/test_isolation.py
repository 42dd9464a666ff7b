"""One probe program inside a sandbox per user and bubblewrap; each test looks at one part of its report."""

from __future__ import annotations

import json
import os
import socket
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import msgspec
import pytest

from thv_core.spi import DeploymentPlan, Environment, Grant
from thv_sandbox.accounts import UID_RANGE

TOP = {"etc", "proc", "dev", "tmp", "home", "in", "out", "usr", "bin", "sbin", "lib", "lib32", "lib64", "libx32"}
PRIVATE = ("/tmp", "/home/mcp", "/dev/shm")
REPOSITORY = Path(__file__).parents[3]
HOSTNAME = "/proc/sys/kernel/hostname"
GRANTED = {"GRANTED": "a value", "HTTP_PROXY": ""}
DECLARED = {"PATH", "HOME", "PWD", "LANG", "TMPDIR", "USER"}


@contextmanager
def host_services() -> Iterator[tuple[int, str]]:
    """Listen on loopback and on an abstract Unix socket of the host."""
    abstract = f"thv-sandbox-test-{os.getpid()}"
    with socket.create_server(("127.0.0.1", 0)) as tcp, socket.socket(socket.AF_UNIX) as unix:
        unix.bind("\0" + abstract)
        unix.listen()
        yield tcp.getsockname()[1], abstract


@pytest.fixture(scope="module")
def report(shared_account: Any, plan_of: Callable[..., DeploymentPlan]) -> dict[str, Any]:
    """Give the report of the probe, run by each kind of user with each bubblewrap."""
    account, origin = shared_account
    (account.folder / "in" / "note").write_text("a note")
    (account.folder / "in" / "note").chmod(0o644)
    with host_services() as (port, abstract):
        order = {
            "host_pid": os.getpid(),
            "host_port": port,
            "abstract": abstract,
            "folders": ["/root", "/home", "/etc", "/tmp", "/sys", "/run", "/var", str(REPOSITORY), str(account.folder)],
            "files": ["/etc/shadow", "/etc/ssl/private", "/in/note", str(account.folder / "state")],
            "write": [f"{folder}/new" for folder in ("/in", "/out", "/tmp", "/home/mcp", "/etc", "/dev")] + [HOSTNAME],
            "private": PRIVATE,
        }
        grants = (
            Grant(source=str(account.folder / "in"), target="/in", writable=False),
            Grant(source=str(account.folder / "out"), target="/out", writable=True),
        )
        plan = plan_of(account, "isolation_probe.py", json.dumps(order), grants=grants)
        plan = msgspec.structs.replace(plan, environment=Environment(values=GRANTED))
        ended = account.drive("run_to_its_end", plan, bubblewrap=origin)
        assert ended == {"exit_code": 0, "log": ""}, ended
    return {"uid_outside": account.uid, **json.loads((account.folder / "out" / "report.json").read_text())}


def test_only_the_loopback_interface_exists(report: dict[str, Any]) -> None:
    assert report["interfaces"] == ["lo"]
    assert report["host_service"] == "ECONNREFUSED"
    assert report["outside"] == "ENETUNREACH"
    assert report["abstract"] == "ECONNREFUSED"
    assert report["localhost"] == "127.0.0.1"


def test_no_process_of_the_host_is_visible(report: dict[str, Any]) -> None:
    assert set(report["processes"]) == {1, report["own_pid"]}
    assert report["kill_parent_of_all"] == "ESRCH" or report["own_pid"] >= os.getpid()


def test_no_file_of_the_host_is_visible_beyond_the_view(report: dict[str, Any]) -> None:
    listed = report["listed"]
    assert listed["/root"] == listed["/sys"] == listed["/run"] == listed["/var"] == listed[str(REPOSITORY)] == "ENOENT"
    assert listed["/home"] == ["mcp"]
    assert listed["/tmp"] == [Path(folder_of(report)).name]
    assert listed[folder_of(report)] == ["package"]
    assert {"shadow", "machine-id", "ssh", "sudoers", "hostname", "environment"}.isdisjoint(listed["/etc"])
    assert {"passwd", "group", "hosts", "resolv.conf", "nsswitch.conf"} <= set(listed["/etc"])
    assert set(report["top"]) <= TOP
    assert report["read"]["/etc/shadow"] == report["read"]["/etc/ssl/private"] == "ENOENT"
    assert report["read"][f"{folder_of(report)}/state"] == "ENOENT"


def test_only_the_granted_environment_exists(report: dict[str, Any]) -> None:
    names = DECLARED | set(GRANTED)
    # The C locale of Python adds one name to its own environment.
    assert set(report["environment"]) - {"LC_CTYPE"} == names
    assert set(report["self_environment"]) == set(report["first_environment"]) == names
    assert {name: report["environment"][name] for name in GRANTED} == GRANTED
    assert report["home"] == report["folder"] == report["environment"]["HOME"] == "/home/mcp"


def test_no_privilege_is_left(report: dict[str, Any]) -> None:
    capabilities = [value for name, value in report["status"].items() if name.startswith("Cap")]
    assert len(capabilities) == 5
    assert set(capabilities) == {"0" * 16}
    assert {report["first_status"][name] for name in ("CapEff", "CapPrm", "CapInh", "CapAmb")} == {"0" * 16}
    assert report["status"]["NoNewPrivs"] == report["first_status"]["NoNewPrivs"] == "1"
    assert report["status"]["Seccomp"] == "2"
    if report["uid_outside"] == 0:
        assert UID_RANGE[0] <= report["uid"] <= UID_RANGE[1]
    else:
        assert report["uid"] == report["uid_outside"]
    assert report["user"] == "mcp"


def test_nothing_can_be_mounted_or_unshared(report: dict[str, Any]) -> None:
    words = {name: report[name] for name in ("mount", "remount", "unshare_user", "unshare_mount", "chroot")}
    assert set(words.values()) == {"EPERM"}, words
    assert report["vsock"] == "EAFNOSUPPORT"
    assert report["raw_socket"] == "EPERM"
    assert report["terminal"] in ("ENXIO", "ENOENT")


def test_nothing_can_be_written_but_grants_and_private_folders(report: dict[str, Any]) -> None:
    assert set(report["writable"]) == {"/tmp", "/home/mcp", "/out", "/dev/shm"}
    assert report["writable_kernel_files"] == []
    written = report["written"]
    assert [written[path] for path in ("/out/new", "/tmp/new", "/home/mcp/new")] == ["done"] * 3
    assert written["/in/new"] == written["/etc/new"] == written["/dev/new"] == "EROFS"
    assert written[HOSTNAME] == "EROFS"
    assert set(report["read_only"].values()) == {True}
    assert report["read"]["/in/note"] == "done"


def test_private_folders_are_bounded(report: dict[str, Any]) -> None:
    assert report["sizes"] == dict.fromkeys(PRIVATE, 64 * 1024 * 1024)
    assert report["filled"] == dict.fromkeys(PRIVATE, "ENOSPC")


def test_no_descriptor_is_inherited(report: dict[str, Any]) -> None:
    assert set(report["descriptors"]) == {"0", "1", "2"}
    targets = [target for number, target in report["first_descriptors"].items() if number not in ("0", "1", "2")]
    assert targets in ([], ["anon_inode:[eventfd]"])


def test_limits_and_the_host_name_are_set(report: dict[str, Any]) -> None:
    assert report["limits"] == {"core": [0, 0], "files": [1024, 1024]}
    assert report["hostname"].startswith("probe-")


def folder_of(report: dict[str, Any]) -> str:
    return next(path for path in report["listed"] if "thv-sandbox-" in path)
