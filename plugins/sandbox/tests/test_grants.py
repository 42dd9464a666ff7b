from __future__ import annotations

from pathlib import Path

import msgspec
import pytest

from thv_core.errors import InvalidRequest, StartFailed
from thv_core.spi import Deployment, DeploymentPlan, Grant, PackageRoot
from thv_sandbox.grants import resolved_grants


@pytest.fixture
def state(tmp_path: Path) -> Path:
    folder = tmp_path / "own" / "state"
    folder.mkdir(parents=True)
    return folder


@pytest.fixture
def data(tmp_path: Path) -> Path:
    for folder in ("data/out", "package", "own/package"):
        (tmp_path / folder).mkdir(parents=True, exist_ok=True)
    return tmp_path / "data"


def plan_with(data: Path, *grants: Grant) -> DeploymentPlan:
    root = PackageRoot(path=str(data.parent / "package"), command=("serve",))
    return DeploymentPlan(
        deployment=Deployment(workload="notes", generation=1), command=("serve",), root=root, grants=grants
    )


def grant(source: Path, target: str = "/data", writable: bool = False) -> Grant:
    return Grant(source=str(source), target=target, writable=writable)


def test_a_link_is_resolved_to_what_it_points_to(state: Path, data: Path) -> None:
    (data.parent / "link").symlink_to(data)
    (resolved,) = resolved_grants(plan_with(data, grant(data.parent / "link")), state)
    assert resolved == grant(data)


def test_a_missing_source_is_named(state: Path, data: Path) -> None:
    with pytest.raises(StartFailed, match="/nowhere"):
        resolved_grants(plan_with(data, grant(data / "nowhere")), state)


def test_a_link_in_a_circle_is_named(state: Path, data: Path) -> None:
    (data / "circle").symlink_to(data / "circle")
    with pytest.raises(StartFailed, match="/circle"):
        resolved_grants(plan_with(data, grant(data / "circle")), state)


def test_a_missing_package_is_named(state: Path, data: Path) -> None:
    (data.parent / "package").rmdir()
    with pytest.raises(StartFailed, match="/package"):
        resolved_grants(plan_with(data), state)


@pytest.mark.parametrize("source", ["own", "own/state", ".", "link"])
def test_our_own_state_is_never_granted(state: Path, data: Path, source: str) -> None:
    (data.parent / "link").symlink_to(state)
    with pytest.raises(InvalidRequest, match="own state"):
        resolved_grants(plan_with(data, grant(data.parent / source)), state)


@pytest.mark.parametrize("source", ["/proc", "/proc/sys/kernel", "/sys", "/dev/null"])
def test_the_kernel_s_own_files_are_never_granted(state: Path, data: Path, source: str) -> None:
    with pytest.raises(InvalidRequest, match="kernel's own files"):
        resolved_grants(plan_with(data, grant(Path(source))), state)


def test_a_server_may_not_write_its_own_package(state: Path, data: Path) -> None:
    package = data.parent / "package"
    assert resolved_grants(plan_with(data, grant(package)), state)
    for source in (package, Path("/usr/lib")):
        plan = plan_with(data, grant(source, writable=True))
        root = PackageRoot(path=plan.root.path, command=("serve",), view=("/usr",))
        with pytest.raises(InvalidRequest, match="its own package"):
            resolved_grants(msgspec.structs.replace(plan, root=root), state)


def test_a_grant_inside_another_needs_a_real_folder_as_its_place(state: Path, data: Path) -> None:
    inner = grant(data / "out", "/data/out", writable=True)
    assert len(resolved_grants(plan_with(data, grant(data), inner), state)) == 2
    (data / "sly").symlink_to("/etc")
    for place in ("sly", "absent"):
        with pytest.raises(InvalidRequest, match="has no place"):
            resolved_grants(plan_with(data, grant(data), grant(data / "out", f"/data/{place}")), state)
