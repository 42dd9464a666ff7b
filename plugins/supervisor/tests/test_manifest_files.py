"""Manifests as files and folders: what is relative to them, and what is refused before anything is done."""

from __future__ import annotations

from pathlib import Path

import pytest

from thv_core.errors import InvalidDocument, InvalidRequest, ThvError
from thv_supervisor.manifest_files import manifest_of

TIME = "- image: uvx://mcp-server-time\n"
FETCH = "- name: fetch\n  image: uvx://mcp-server-fetch\n"


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    folder = tmp_path / "team"
    folder.mkdir()
    return folder


def names(*files: str, directory: Path) -> list[str]:
    return [config.name for config in manifest_of(files, directory).workloads]


def test_the_files_of_a_folder_are_read_in_the_order_of_their_names(folder: Path) -> None:
    (folder / "b.yaml").write_text(TIME)
    (folder / "a.yml").write_text(FETCH)
    (folder / "c.json").write_text('{"name": "third", "image": "uvx://third"}')
    (folder / "notes.txt").write_text("not a manifest")
    (folder / "deeper.yaml").mkdir()
    assert names("team", directory=folder.parent) == ["fetch", "time", "third"]


def test_several_files_and_folders_are_one_manifest(folder: Path) -> None:
    (folder / "a.yaml").write_text(TIME)
    (folder.parent / "b.yaml").write_text(FETCH)
    assert names("b.yaml", "team", directory=folder.parent) == ["fetch", "time"]


def test_two_files_with_one_workload_are_refused_and_both_are_named(folder: Path) -> None:
    (folder / "a.yaml").write_text(TIME)
    (folder / "b.yaml").write_text(FETCH + TIME)
    with pytest.raises(InvalidDocument) as refused:
        manifest_of(["team"], folder.parent)
    assert [str(line) for line in refused.value.evidence] == ["team/a.yaml, line 1", "team/b.yaml, line 3"]


def test_paths_are_relative_to_the_file_and_become_real(folder: Path) -> None:
    (folder / "real").mkdir()
    (folder / "link").symlink_to("real")
    (folder / "a.yaml").write_text(
        "image: uvx://x\nvolumes: ['./link:/data:ro', '/tmp:/t']\n"
        "permission_profile: {read: [link], write: ['link:/w']}\n"
    )
    (config,) = manifest_of(["team/a.yaml"], folder.parent).workloads
    real = folder.resolve() / "real"
    assert config.volumes == (f"{real}:/data:ro", f"{Path('/tmp').resolve()}:/t")
    assert config.permission_profile.read == (f"{real}:{folder / 'link'}",)
    assert config.permission_profile.write == (f"{real}:/w",)


def test_a_profile_that_is_a_file_lies_beside_the_manifest(folder: Path) -> None:
    (folder / "open.json").write_text('{"network": {"outbound": {"allow_host": ["example.com"]}}}')
    (folder / "a.yaml").write_text("image: uvx://x\npermission_profile_name_or_path: ./open.json\n")
    (config,) = manifest_of(["team/a.yaml"], folder.parent).workloads
    assert config.permission_profile.network.outbound.allow_host == ("example.com",)
    assert config.permission_profile_name_or_path == "./open.json"


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("image: uvx://x\nvolumes: [missing:/m]\n", "team/a.yaml, line 1"),
        ("image: uvx://x\npermission_profile_name_or_path: ./missing.json\n", "missing.json"),
        ("image: uvx://x\npermission_profile_name_or_path: nework\n", "nework"),
        ("image: uvx://x\nvolumes: [':/m']\n", "line 1"),
        ("image: uvx://x\nvolumes: ['~nobody-of-that-name/x:/m']\n", "no such home"),
        ('image: uvx://x\nvolumes: ["~\\0/x:/m"]\n', "line 1"),
        ('image: uvx://x\npermission_profile_name_or_path: "./a\\0b"\n', "cannot be read"),
    ],
)
def test_what_a_manifest_means_and_is_not_there_is_named_with_its_place(folder: Path, text: str, said: str) -> None:
    (folder / "a.yaml").write_text(text)
    with pytest.raises(ThvError) as refused:
        manifest_of(["team"], folder.parent)
    assert said in str(refused.value)


def test_a_folder_without_manifests_and_a_file_that_is_not_there_are_refused(folder: Path) -> None:
    for name in ("team", "team/none.yaml", "~nobody-of-that-name/x", "a" * 300, "/dev/zero"):
        with pytest.raises(InvalidRequest, match=name):
            manifest_of([name], folder.parent)
