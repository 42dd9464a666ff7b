"""What ``thv profile`` says of a profile, a file or a workload."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import msgspec
import pytest
from click.testing import CliRunner

from thv_core.errors import InvalidDocument, InvalidRequest, NotFound
from thv_core.model.profile import PermissionProfile, decode_profile
from thv_supervisor.commands import profile as module
from thv_supervisor.commands.profile import profile

TEAM = '{"name": "team", "read": ["/data"], "network": {"outbound": {"allow_host": ["a.example"]}}}'


@pytest.fixture
def team(console: Any) -> Path:
    file = console.directory / "team.json"
    file.write_text(TEAM)
    return file


# show ----------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["none", "network"])
def test_a_profile_of_thv_is_shown_whole(invoke: Any, control: Any, console: Any, name: str) -> None:
    invoke(profile, "show", name)
    (shown,) = console.documents
    assert set(shown) == {each.encode_name for each in msgspec.structs.fields(PermissionProfile)}
    assert shown["name"] == name
    assert control.calls == []


@pytest.mark.usefixtures("team")
def test_a_file_is_shown_with_its_defaults_and_reads_back_as_the_same_profile(invoke: Any, console: Any) -> None:
    invoke(profile, "show", "team.json")
    (shown,) = console.documents
    assert shown["limits"]["memory"] == "512MiB"
    assert decode_profile(json.dumps(shown), "shown") == decode_profile(TEAM, "team")


def test_of_a_name_that_is_nothing_the_nearest_profile_is_named(invoke: Any, control: Any) -> None:
    control.answers["GET", "/api/v1beta/workloads/networ/export"] = NotFound("no workload", hint="thv list")
    for command in ("show", "explain"):
        with pytest.raises(NotFound, match="there is no profile, file or workload networ") as caught:
            invoke(profile, command, "networ")
        assert caught.value.hint == "Did you mean network?"


def test_the_profile_of_a_workload_is_shown_with_what_was_added_to_it(invoke: Any, control: Any, console: Any) -> None:
    config = {"name": "web", "image": "uvx://a@1", "permission_profile": json.loads(TEAM)}
    control.answers["GET", "/api/v1beta/workloads/web/export"] = config
    invoke(profile, "show", "web")
    (shown,) = console.documents
    assert decode_profile(json.dumps(shown), "shown") == decode_profile(TEAM, "team")
    assert control.paths() == ["GET /web/export"]


@pytest.mark.parametrize("command", ["show", "explain"])
def test_a_profile_that_no_server_can_have_is_not_explained(invoke: Any, team: Path, command: str) -> None:
    team.write_text('{"privileged": true}')
    with pytest.raises(InvalidDocument, match=r"team\.json: privileged") as caught:
        invoke(profile, command, "team.json")
    assert "Remove" in caught.value.hint


# explain -------------------------------------------------------------------------------------------------------------


def test_a_profile_is_explained_in_words(invoke: Any, control: Any, console: Any) -> None:
    invoke(profile, "explain", "network")
    assert console.lines == [
        "A server with this profile",
        "  can reach      any public address on ports 80 and 443",
        "  cannot reach   this machine, your local network, cloud metadata, other servers",
        "  can read       nothing of yours",
        "  can write      nothing of yours",
        "  may use        512 MiB, 256 processes, any share of the CPU, 1024 open files in each",
    ]
    assert control.calls == []


@pytest.mark.parametrize("spelled", ["team.json", "./team.json", "{}"])
def test_a_file_is_explained_from_the_callers_directory(
    invoke: Any, control: Any, console: Any, team: Path, spelled: str
) -> None:
    invoke(profile, "explain", spelled.format(team), "--format", "json")
    (told,) = console.documents
    assert (told["can reach"], told["cannot reach"]) == ("a.example:80,443", "anything else")
    assert (told["can read"], told["can write"]) == ("/data", "nothing of yours")
    assert control.calls == []


def test_a_mistake_in_a_file_is_named_with_its_key(invoke: Any, control: Any, team: Path) -> None:
    team.write_text('{"network": {"outbound": {"allow_hosts": []}}}')
    with pytest.raises(
        InvalidDocument, match=r"team\.json: network\.outbound\.allow_hosts is not a known key"
    ) as caught:
        invoke(profile, "explain", "team.json")
    assert caught.value.hint == "Did you mean allow_host?"


@pytest.mark.parametrize("name", ["gone.json", "./gone"])
def test_a_file_that_is_not_there_is_no_workload(invoke: Any, control: Any, name: str) -> None:
    with pytest.raises(InvalidRequest, match="cannot be read"):
        invoke(profile, "explain", name)
    assert control.calls == []


@pytest.mark.parametrize("name", ["web", "web.v2"])
def test_a_workload_is_explained_with_its_volumes_and_what_is_not_enforced(
    invoke: Any, control: Any, console: Any, name: str
) -> None:
    path = f"/api/v1beta/workloads/{name}"
    config = {"name": name, "image": "uvx://a@1", "volumes": ["/v:/w"], "permission_profile": json.loads(TEAM)}
    control.answers["GET", f"{path}/export"] = config
    control.answers["GET", f"{path}/status"] = {"limits": ["memory 512 MiB (cgroup)", "256 processes (not enforced)"]}
    invoke(profile, "explain", name)
    assert console.lines[0] == name
    assert "  can read       /data, /v (there /w)" in console.lines
    assert "  can write      /v (there /w)" in console.lines
    assert console.lines[-1] == "  not enforced   256 processes"


def test_what_is_neither_profile_nor_file_nor_workload_is_said(invoke: Any, control: Any) -> None:
    control.answers["GET", "/api/v1beta/workloads/wbe/export"] = NotFound("no workload", hint="Did you mean web?")
    with pytest.raises(NotFound, match="there is no profile, file or workload wbe") as caught:
        invoke(profile, "explain", "wbe")
    assert caught.value.hint == "Did you mean web?"


def test_a_file_without_an_ending_is_explained_by_its_path_only(invoke: Any, control: Any, console: Any) -> None:
    (console.directory / "team").write_text(TEAM)
    control.answers["GET", "/api/v1beta/workloads/team/export"] = NotFound("no workload")
    with pytest.raises(NotFound):
        invoke(profile, "explain", "team")
    invoke(profile, "explain", "./team")
    assert console.lines[0] == "A server with this profile"


# Completion ----------------------------------------------------------------------------------------------------------


def completed(command: str, incomplete: str) -> list[str]:
    parameter = profile.commands[command].params[0]
    with CliRunner().isolation():
        return [each.value for each in parameter.shell_complete(None, incomplete)]


def test_profiles_and_workloads_are_completed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "workload_names", lambda context, parameter, incomplete: ["notes"])
    for command in ("show", "explain"):
        assert completed(command, "n") == ["network", "none", "notes"]
