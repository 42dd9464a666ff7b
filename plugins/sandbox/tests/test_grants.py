from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgspec
import pytest

from thv_core.errors import InvalidRequest, StartFailed
from thv_core.spi import Deployment, DeploymentPlan, Grant, PackageRoot
from thv_sandbox.grants import check_grants, opened_source


@pytest.fixture
def ours(tmp_path: Path) -> tuple[Path, ...]:
    folders = tuple(tmp_path / "home" / name / "thv" for name in ("config", "state", "cache"))
    for folder in folders:
        folder.mkdir(parents=True)
    return folders


@pytest.fixture
def data(tmp_path: Path) -> Path:
    for folder in ("data/out", "package"):
        (tmp_path / folder).mkdir(parents=True, exist_ok=True)
    return tmp_path / "data"


def plan_with(data: Path, *grants: Grant) -> DeploymentPlan:
    root = PackageRoot(path=str(data.parent / "package"), command=("serve",))
    return DeploymentPlan(
        deployment=Deployment(workload="notes", generation=1), command=("serve",), root=root, grants=grants
    )


def grant(source: Path, target: str = "/data", writable: bool = False) -> Grant:
    return Grant(source=str(source), target=target, writable=writable)


@pytest.mark.parametrize("source", ["link", "link/out"])
def test_a_source_that_is_reached_through_a_link_is_refused_with_both_paths(data: Path, source: str) -> None:
    (data.parent / "link").symlink_to(data)
    actual = str(data.parent / source.replace("link", "data"))
    with pytest.raises(StartFailed) as caught:
        check_grants(plan_with(data, grant(data.parent / source)), ())
    assert f"{data.parent / source}, which leads to {actual}" in caught.value.message
    assert f"Grant {actual} itself" in caught.value.hint


def test_a_folder_that_a_server_replaced_by_a_link_is_not_followed(data: Path) -> None:
    plan = plan_with(data, grant(data / "out"))
    check_grants(plan, ())
    (data / "out").rmdir()
    (data / "out").symlink_to(data.parent / "package")
    with pytest.raises(StartFailed, match=r"/data/out, which leads to .*/package"):
        check_grants(plan, ())


def test_a_path_with_two_slashes_does_not_slip_past_the_checks(ours: tuple[Path, ...], data: Path) -> None:
    with pytest.raises(StartFailed, match="which leads to"):
        check_grants(plan_with(data, Grant(source=f"/{ours[0]}", target="/data", writable=False)), ours)


def test_an_opened_source_stays_what_was_checked(data: Path) -> None:
    (data / "out" / "note").write_text("a note")
    with opened_source(str(data / "out")) as descriptor:
        (data / "out").rename(data / "moved")
        (data / "out").symlink_to("/etc")
        assert [each.name for each in Path(f"/proc/self/fd/{descriptor}").iterdir()] == ["note"]


def test_a_missing_source_is_named(data: Path) -> None:
    with pytest.raises(StartFailed, match="/nowhere"):
        check_grants(plan_with(data, grant(data / "nowhere")), ())


def test_a_link_in_a_circle_is_named(data: Path) -> None:
    (data / "circle").symlink_to(data / "circle")
    with pytest.raises(StartFailed, match="/circle"):
        check_grants(plan_with(data, grant(data / "circle")), ())


def test_a_missing_package_is_named(data: Path) -> None:
    (data.parent / "package").rmdir()
    with pytest.raises(StartFailed, match="/package"):
        check_grants(plan_with(data), ())


@pytest.mark.parametrize("part", ["package", "grant", "inner grant"])
def test_what_an_ordinary_user_cannot_open_is_named(
    ordinary: Any, plan_of: Callable[..., DeploymentPlan], part: str
) -> None:
    closed = ordinary.folder / "package" / "closed" / "inner"
    closed.mkdir(parents=True)
    outer = Grant(source=str(ordinary.folder / "package"), target="/data", writable=False)
    changes = {
        "package": {"root": PackageRoot(path=str(closed), command=("serve",))},
        "grant": {"grants": (grant(closed),)},
        "inner grant": {"grants": (outer, grant(ordinary.folder / "in", "/data/closed/inner"))},
    }
    plan = plan_of(ordinary, "sleeper.py", **changes[part])
    closed.parent.chmod(0)
    refusal = ordinary.drive("refused", plan)
    closed.parent.chmod(0o700)
    wrong = {"package": "cannot be opened", "grant": "cannot be opened", "inner grant": "has no place"}
    assert refusal["code"] == ("invalid-request" if part == "inner grant" else "start-failed")
    assert wrong[part] in refusal["message"]
    assert str(closed) in refusal["message"] + str(refusal["evidence"])


@pytest.mark.parametrize("writable", [False, True])
@pytest.mark.parametrize(
    ("source", "where"),
    [
        ("home", "config"),
        ("home/config", "config"),
        ("home/state/thv", "state"),
        ("home/cache/thv/inner", "cache"),
        (".", "config"),
    ],
)
def test_our_own_folders_are_never_granted(
    ours: tuple[Path, ...], data: Path, source: str, where: str, writable: bool
) -> None:
    (ours[2] / "inner").mkdir()
    granted = grant(data.parent / source, writable=writable)
    with pytest.raises(InvalidRequest) as caught:
        check_grants(plan_with(data, granted), ours)
    named = data.parent / "home" / where / "thv"
    assert caught.value.message == f"the grant {granted.source} would give the server thv's own files ({named})"
    assert str(named) in caught.value.hint


def test_what_lies_beside_our_own_folders_may_be_granted(ours: tuple[Path, ...], data: Path) -> None:
    (data.parent / "home" / "state" / "thv-notes").mkdir()
    check_grants(plan_with(data, grant(data.parent / "home" / "state" / "thv-notes")), ours)


@pytest.mark.parametrize("source", ["elsewhere", "home"])
def test_a_folder_of_ours_that_is_a_link_is_guarded_at_both_ends(data: Path, source: str) -> None:
    for folder in ("elsewhere/thv", "home"):
        (data.parent / folder).mkdir(parents=True)
    (data.parent / "home" / "thv").symlink_to(data.parent / "elsewhere" / "thv")
    with pytest.raises(InvalidRequest, match="thv's own files"):
        check_grants(plan_with(data, grant(data.parent / source)), (data.parent / "home" / "thv",))


@pytest.mark.parametrize("source", ["/proc", "/proc/sys/kernel", "/sys", "/dev/null"])
def test_the_kernel_s_own_files_are_never_granted(data: Path, source: str) -> None:
    with pytest.raises(InvalidRequest, match="kernel's own files"):
        check_grants(plan_with(data, grant(Path(source))), ())


def test_a_server_may_not_write_its_own_package(data: Path) -> None:
    package = data.parent / "package"
    check_grants(plan_with(data, grant(package)), ())
    for source in (package, Path("/usr/lib")):
        plan = plan_with(data, grant(source, writable=True))
        root = PackageRoot(path=plan.root.path, command=("serve",), view=("/usr",))
        with pytest.raises(InvalidRequest, match="its own package"):
            check_grants(msgspec.structs.replace(plan, root=root), ())


def test_a_grant_inside_another_needs_a_real_folder_as_its_place(data: Path) -> None:
    check_grants(plan_with(data, grant(data), grant(data / "out", "/data/out", writable=True)), ())
    (data / "sly").symlink_to("/etc")
    for place in ("sly", "absent"):
        with pytest.raises(InvalidRequest, match="has no place"):
            check_grants(plan_with(data, grant(data), grant(data / "out", f"/data/{place}")), ())
