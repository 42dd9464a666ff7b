"""``thv export``, and that what it writes is run again as it was."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import click
import msgspec
import pytest

from thv_core.errors import InvalidRequest
from thv_core.model.document import encode_document
from thv_core.model.profile import PermissionProfile
from thv_core.model.run_config import RunConfig, decode_run_config
from thv_core.services.manifest import decode_manifest
from thv_supervisor.commands.export import export
from thv_supervisor.commands.run import run

PREFIX = "/api/v1beta"
TIME = RunConfig(
    name="time",
    image="uvx://mcp-server-time@2026.10.19",
    port=19001,
    runtime="sandbox",
    cmd_args=("--zone", "Ünited/\u2028 100%"),
    secrets=("token,target=TOKEN",),
    permission_profile=PermissionProfile(name="none"),
)


@pytest.fixture
def bytes_of_time(control: Any) -> bytes:
    content = encode_document(TIME)
    control.text = [content[:10], content[10:]]
    return content


def test_the_bytes_of_the_configuration_are_written_to_a_private_file(
    invoke: Any, console: Any, control: Any, bytes_of_time: bytes, tmp_path: Path
) -> None:
    invoke(export, "time", "backup/time.json")
    written = tmp_path / "backup" / "time.json"
    assert written.read_bytes() == bytes_of_time
    assert (written.stat().st_mode & 0o777, written.parent.stat().st_mode & 0o777) == (0o600, 0o750)
    assert console.messages == ["Successfully exported run configuration for 'time' to 'backup/time.json'"]
    assert console.lines == []
    assert control.paths() == ["GET /time/export"]


def test_what_is_exported_and_run_again_asks_for_the_same_bytes(
    invoke: Any, console: Any, control: Any, bytes_of_time: bytes
) -> None:
    invoke(export, "time", "time.json")
    invoke(run, "--from-config", "time.json")
    ((_, _, body),) = [call for call in control.calls if call[0] == "POST"]
    assert encode_document(decode_run_config(json.dumps(body["run_config"]), "request")) == bytes_of_time


def test_a_home_that_is_not_there_is_said(invoke: Any, control: Any, bytes_of_time: bytes) -> None:
    with pytest.raises(InvalidRequest, match="no such home"):
        invoke(export, "time", "~nobody-of-that-name/x.json")


@pytest.mark.parametrize("path", [(), ("-",)])
def test_without_a_path_it_goes_to_standard_output(
    invoke: Any, console: Any, control: Any, bytes_of_time: bytes, path: tuple[str, ...]
) -> None:
    invoke(export, "time", *path)
    assert console.lines == [bytes_of_time.decode()]
    assert console.messages == []


def test_one_workload_as_yaml_is_a_manifest(invoke: Any, console: Any, control: Any, bytes_of_time: bytes) -> None:
    invoke(export, "time", "--format", "yaml")
    (text,) = console.lines
    assert decode_manifest(text, "time.yaml").workloads == (TIME,)


@pytest.fixture
def two(control: Any) -> None:
    other = msgspec.structs.replace(TIME, name="other", group="search", port=19002)
    control.answers = {
        ("GET", f"{PREFIX}/workloads?all=true"): {
            "workloads": [{"name": each, "status": "running"} for each in ("time", "other")]
        },
        ("GET", f"{PREFIX}/groups"): {"groups": [{"name": "default"}, {"name": "search"}]},
        ("GET", f"{PREFIX}/workloads/time/export"): msgspec.to_builtins(TIME),
        ("GET", f"{PREFIX}/workloads/other/export"): msgspec.to_builtins(other),
    }


@pytest.mark.usefixtures("two")
def test_all_workloads_and_groups_are_one_manifest(invoke: Any, console: Any, tmp_path: Path) -> None:
    invoke(export, "--all", "all.yaml")
    manifest = decode_manifest((tmp_path / "all.yaml").read_text(), "all.yaml")
    assert [config.name for config in manifest.workloads] == ["time", "other"]
    assert manifest.workloads[0] == TIME
    assert manifest.groups == ("search",)
    assert console.messages == ["Successfully exported 2 workloads to 'all.yaml'"]


@pytest.mark.usefixtures("two")
def test_all_of_them_as_json_is_the_same_manifest(invoke: Any, console: Any) -> None:
    invoke(export, "--all", "--format", "json")
    (text,) = console.lines
    assert json.loads(text)["groups"] == ["search"]
    assert decode_manifest(text, "all.json").workloads[0] == TIME


@pytest.mark.parametrize("words", [(), ("--all", "time", "path")])
def test_neither_a_name_nor_all_and_both_are_a_wrong_use(invoke: Any, control: Any, words: tuple[str, ...]) -> None:
    assert invoke(export, *words).exit_code == click.UsageError.exit_code
    assert control.calls == []
