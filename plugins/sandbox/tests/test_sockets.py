from __future__ import annotations

import os
import socket
from collections.abc import Iterator
from pathlib import Path

import msgspec
import pytest

from thv_core.errors import InvalidRequest
from thv_core.spi import Deployment, DeploymentPlan, Grant, PackageRoot
from thv_sandbox.sockets import check_sockets


@pytest.fixture
def data(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    (tmp_path / "data" / "deep" / "deeper").mkdir(parents=True)
    (tmp_path / "data" / "note").write_text("")
    os.mkfifo(tmp_path / "data" / "fifo")
    (tmp_path / "data" / "circle").symlink_to(tmp_path / "data")
    # The path of a socket is short.
    monkeypatch.chdir(tmp_path / "data" / "deep" / "deeper")
    return tmp_path / "data"


def plan_with(source: Path, **changes: object) -> DeploymentPlan:
    plan = DeploymentPlan(
        deployment=Deployment(workload="notes", generation=1),
        command=("serve",),
        root=PackageRoot(path="/usr", command=("serve",)),
        grants=(Grant(source=str(source), target="/data", writable=False),),
    )
    return msgspec.structs.replace(plan, **changes)


def test_files_fifos_and_links_are_no_sockets(data: Path) -> None:
    check_sockets(plan_with(data))


def test_a_socket_is_found_however_deep_and_named(data: Path) -> None:
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind("way-out")
        for source in (data, data / "deep" / "deeper" / "way-out"):
            with pytest.raises(InvalidRequest, match="/deep/deeper/way-out") as caught:
                check_sockets(plan_with(source))
            assert "--allow-socket" in caught.value.hint
            check_sockets(plan_with(source, allow_socket=True))


def test_what_is_behind_a_link_is_not_granted_and_not_searched(data: Path) -> None:
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind("way-out")
        (data / "other").mkdir()
        (data / "other" / "link").symlink_to(data / "deep")
        check_sockets(plan_with(data / "other"))


def test_a_grant_that_is_too_large_to_search_is_refused(data: Path) -> None:
    for bound in ({"most": 3}, {"seconds": -1.0}):
        with pytest.raises(InvalidRequest, match="too many files"):
            check_sockets(plan_with(data), **bound)


def test_a_folder_that_can_be_passed_but_not_listed_is_refused(data: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    scandir = os.scandir

    def refusing(path: str) -> object:
        if path.endswith("deeper"):
            raise PermissionError(13, "Permission denied", path)
        return scandir(path)

    monkeypatch.setattr(os, "scandir", refusing)
    for mode, owner, refused in ((0o300, 0, True), (0o000, 0, True), (0o000, 1, False)):
        monkeypatch.setattr(os, "access", lambda path, wanted, mode=mode: bool(mode))
        monkeypatch.setattr(os, "getuid", lambda owner=owner: (data / "deep" / "deeper").stat().st_uid + owner)
        if refused:
            with pytest.raises(InvalidRequest, match="deep/deeper, in a grant, cannot be searched"):
                check_sockets(plan_with(data))
        else:
            check_sockets(plan_with(data))
