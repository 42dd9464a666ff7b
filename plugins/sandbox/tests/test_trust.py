from __future__ import annotations

import os
from pathlib import Path

import pytest

from thv_core.errors import InvalidRequest
from thv_core.spi import Deployment, DeploymentPlan, PackageRoot
from thv_sandbox.trust import LARGEST, certificates


def plan_with(path: str) -> DeploymentPlan:
    root = PackageRoot(path="/usr", command=("serve",))
    deployment = Deployment(workload="notes", generation=1)
    return DeploymentPlan(deployment=deployment, command=("serve",), root=root, certificates=path)


def test_the_content_is_read_once_and_nothing_without_a_file(tmp_path: Path) -> None:
    (tmp_path / "bundle").write_bytes(b"certificates")
    assert certificates(plan_with(str(tmp_path / "bundle"))) == b"certificates"
    assert certificates(plan_with("")) == b""


def test_what_is_no_usable_file_is_named(tmp_path: Path) -> None:
    (tmp_path / "empty").write_bytes(b"")
    (tmp_path / "huge").write_bytes(b"x" * (LARGEST + 1))
    (tmp_path / "folder").mkdir()
    os.mkfifo(tmp_path / "fifo")
    wrong = {"empty": "empty", "huge": "more than 8 MiB", "folder": "cannot be read", "fifo": "empty", "no": "cannot"}
    for name, word in wrong.items():
        with pytest.raises(InvalidRequest, match=f"{tmp_path / name} .*{word}") as caught:
            certificates(plan_with(str(tmp_path / name)))
        assert "ca_certificate_path" in caught.value.hint
