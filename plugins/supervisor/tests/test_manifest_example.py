"""The manifest that the documentation shows is one, and says what the text about it says."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from thv_core.model.run_config import RunConfig
from thv_core.services.manifest import Manifest
from thv_supervisor.manifest_files import manifest_of

EXAMPLE = Path(__file__).parents[3] / "docs" / "examples" / "team.yaml"


@pytest.fixture
def team(tmp_path: Path) -> Manifest:
    (tmp_path / "notes").mkdir()
    shutil.copy(EXAMPLE, tmp_path)
    return manifest_of(["team.yaml"], tmp_path)


def test_it_names_a_group_and_three_workloads_one_of_them_by_its_image(team: Manifest) -> None:
    assert team.groups == ("search",)
    assert [config.name for config in team.workloads] == ["time", "fetch", "notes"]
    assert [config.group for config in team.workloads] == ["default", "search", "default"]


def test_it_opens_one_host_and_grants_the_folder_beside_it(team: Manifest, tmp_path: Path) -> None:
    time, fetch, notes = team.workloads
    assert fetch.permission_profile.network.outbound.allow_host == ("example.com",)
    assert notes.volumes == (f"{tmp_path.resolve()}/notes:/notes:ro",)
    assert notes.secret_references[0].from_shell
    assert time == RunConfig(name="time", image="uvx://mcp-server-time")
