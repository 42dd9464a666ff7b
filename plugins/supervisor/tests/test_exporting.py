"""Configurations as files."""

from __future__ import annotations

import stat
from pathlib import Path

import msgspec
import pytest

from thv_core.errors import InvalidRequest
from thv_core.model.profile import Limits, Network, Outbound, PermissionProfile
from thv_core.model.run_config import RunConfig
from thv_core.services.manifest import ChangeKind, changes, decode_manifest
from thv_supervisor.exporting import as_yaml, manifest_document, save

CONFIGS = [
    RunConfig(name="time", image="uvx://mcp-server-time@2026.10.19", port=19001, runtime="sandbox"),
    RunConfig(
        name="odd",
        image="npx://@scope/x@1.0",
        port=19002,
        runtime="sandbox",
        group="a team",
        cmd_args=("yes", "1e3", "null", "2026-01-01", "~", "", "a: b", "- c", "#d", "é\u2028", " spaced ", "%", "0o7"),
        env_vars={"ON": "off", "LINES": "one\ntwo\n", "TAB": "\t"},
        secrets=("env:T,target=T",),
        volumes=("/data:/data:ro",),
        container_labels={"team": "true"},
        permission_profile_name_or_path="./team.json",
        permission_profile=PermissionProfile(
            name="team",
            network=Network(outbound=Outbound(allow_host=("example.com",), allow_port=(443,))),
            limits=Limits(memory="1GiB", cpu=0.5),
            tmpfs={"/tmp/x": "64MiB"},
        ),
    ),
]


def test_all_workloads_as_a_manifest_are_found_unchanged() -> None:
    text = as_yaml(manifest_document(CONFIGS, ["default", "a team"]), "a comment").decode()
    manifest = decode_manifest(text, "all.yaml")
    found = changes(manifest, {config.name: config for config in CONFIGS}, ["default", "a team"], prune=True)
    assert manifest.groups == ("a team",)
    assert [(change.name, change.kind, change.lines) for change in found] == [
        ("time", ChangeKind.UNCHANGED, ()),
        ("odd", ChangeKind.UNCHANGED, ()),
    ]
    assert list(manifest.workloads) == CONFIGS


def test_yaml_is_written_for_people() -> None:
    text = as_yaml(manifest_document(CONFIGS[:1], ["default"]), "a comment").decode()
    assert text.splitlines()[:5] == [
        "# a comment",
        "groups: []",
        "workloads:",
        "- name: time",
        "  image: uvx://mcp-server-time@2026.10.19",
    ]


def test_a_file_is_private_its_new_folders_are_the_groups_too_and_old_ones_stay(tmp_path: Path) -> None:
    tmp_path.chmod(0o700)
    target = tmp_path / "a" / "b" / "x.json"
    save(b"{}", target, "x.json")
    modes = [stat.S_IMODE(each.stat().st_mode) for each in (target, target.parent, target.parent.parent, tmp_path)]
    assert modes == [0o600, 0o750, 0o750, 0o700]
    target.chmod(0o644)
    save(b"[]", target, "x.json")
    assert (target.read_bytes(), stat.S_IMODE(target.stat().st_mode)) == (b"[]", 0o600)
    assert [each.name for each in target.parent.iterdir()] == ["x.json"]


def test_what_is_no_file_is_never_replaced(tmp_path: Path) -> None:
    for target in (Path("/dev/null"), tmp_path):
        with pytest.raises(InvalidRequest, match="is no file"):
            save(b"{}", target, str(target))
    assert Path("/dev/null").is_char_device()


def test_a_folder_that_cannot_be_made_is_an_error_with_its_reason(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(InvalidRequest, match="cannot be written: Not a directory"):
        save(b"{}", tmp_path / "file" / "below" / "x", "x")


@pytest.mark.parametrize("name", ["a" * 300 + "/x", "a\0b"])
def test_a_path_that_cannot_be_is_an_error_with_its_reason(tmp_path: Path, name: str) -> None:
    with pytest.raises(InvalidRequest, match=r"^the file cannot be written: "):
        save(b"{}", tmp_path / name, "the file")


def test_the_manifest_holds_every_field_that_is_not_its_default() -> None:
    (document, _) = manifest_document(CONFIGS, [])["workloads"]  # type: ignore[misc]  # a list
    assert msgspec.convert(document, RunConfig) == CONFIGS[0]
