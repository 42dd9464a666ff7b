from __future__ import annotations

import threading
from pathlib import Path

import pytest

from thv_core.errors import TimedOut
from thv_core.spi import Deployment
from thv_sandbox.instances import DeploymentFiles, Instance, Instances
from thv_sandbox.processes import ProcessIdentity

INSTANCE = Instance(
    deployment=Deployment(workload="notes", generation=2),
    boot="a boot",
    server=ProcessIdentity(pid=7, start=70),
    monitor=ProcessIdentity(pid=6, start=60),
    started_at=1.5,
)


@pytest.fixture
def files(tmp_path: Path) -> DeploymentFiles:
    found = Instances(tmp_path).files(INSTANCE.deployment)
    found.create()
    return found


def test_an_instance_is_read_as_it_was_written(files: DeploymentFiles) -> None:
    assert files.read() is None
    files.write(INSTANCE)
    assert files.read() == INSTANCE
    files.instance.write_bytes(b'{"deployment":')
    assert files.read() is None


def test_deployments_are_found_by_their_folders(tmp_path: Path, files: DeploymentFiles) -> None:
    others = [Deployment(workload="a.2", generation=1), Deployment(workload="notes", generation=10)]
    for other in others:
        Instances(tmp_path).files(other).create()
    (tmp_path / "notes" / "no number").mkdir()
    (tmp_path / "-strange" / "1").mkdir(parents=True)
    (tmp_path / "file").touch()
    assert list(Instances(tmp_path).deployments()) == [others[0], INSTANCE.deployment, others[1]]


def test_what_bubblewrap_reported_is_read_line_by_line(files: DeploymentFiles) -> None:
    assert (files.child_pid(), files.exit_code()) == (0, None)
    files.status.write_text('{ "child-pid": 12, "net-namespace": 4026532183 }\n{ "exit-')
    assert (files.child_pid(), files.exit_code()) == (12, None)
    files.status.write_text('{ "child-pid": 12 }\n{ "exit-code": 0 }\n')
    assert files.exit_code() == 0


def test_a_deleted_deployment_is_gone_and_deleting_again_is_no_error(files: DeploymentFiles) -> None:
    files.write(INSTANCE)
    files.delete()
    files.delete()
    assert not files.directory.exists()


def test_a_lock_keeps_others_out_and_leaves_nothing(tmp_path: Path) -> None:
    instances = Instances(tmp_path)
    with instances.locked("notes", 1):
        with pytest.raises(TimedOut, match="notes"), instances.locked("notes", 0.02):
            pass
        with instances.locked("other", 0):
            pass
    assert list(tmp_path.iterdir()) == []


def test_a_lock_that_is_deleted_while_others_wait_still_excludes(tmp_path: Path) -> None:
    inside, most = [0], [0]

    def work() -> None:
        for _ in range(25):
            with Instances(tmp_path).locked("notes", 30):
                inside[0] += 1
                most[0] = max(most[0], inside[0])
                inside[0] -= 1

    threads = [threading.Thread(target=work) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert most == [1]
    assert inside == [0]


def test_tidying_deletes_empty_folders_only(tmp_path: Path, files: DeploymentFiles) -> None:
    (tmp_path / "empty").mkdir()
    (tmp_path / "locked").mkdir()
    (tmp_path / "locked" / "lock").touch()
    instances = Instances(tmp_path)
    with instances.locked("busy", 1):
        instances.tidy()
        assert sorted(path.name for path in tmp_path.iterdir()) == ["busy", "notes"]
    assert files.directory.exists()


def test_the_lock_of_all_is_waited_for_but_not_for_ever(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("thv_sandbox.instances.ALONE_SECONDS", 0.02)
    with Instances(tmp_path).alone(), pytest.raises(TimedOut), Instances(tmp_path).alone():
        pass
    with Instances(tmp_path).alone():
        pass
