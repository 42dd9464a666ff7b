"""Manifests: what is read of them, and what they change."""

from __future__ import annotations

import json

import msgspec
import pytest
from msgspec.structs import replace

from thv_core.errors import InvalidDocument, InvalidRequest, NotFound
from thv_core.model.profile import BUILTIN_PROFILES, PermissionProfile
from thv_core.model.run_config import RunConfig
from thv_core.services.manifest import Change, ChangeKind, Manifest, changes, decode_manifest, merged

TEAM = """\
groups: [search, billing]
workloads:
  - image: uvx://mcp-server-time
    group: search
    env_vars: {TZ: UTC}
  - name: memory
    image: npx://@scope/server-memory@1.0.0
    transport: streamable-http
    port: 19005
    permission_profile_name_or_path: network
    cmd_args:
"""


def read(text: str) -> Manifest:
    return decode_manifest(text, "team.yaml")


def refusal(text: str) -> InvalidDocument:
    with pytest.raises(InvalidDocument) as caught:
        read(text)
    return caught.value


# Reading -------------------------------------------------------------------------------------------------------------


def test_a_manifest_has_groups_and_workloads_in_order() -> None:
    found = read(TEAM)
    assert found.groups == ("search", "billing")
    assert found.workloads == (
        RunConfig(name="time", image="uvx://mcp-server-time", group="search", env_vars={"TZ": "UTC"}),
        RunConfig(
            name="memory",
            image="npx://@scope/server-memory@1.0.0",
            transport="streamable-http",
            port=19005,
            target_port=8080,
            permission_profile_name_or_path="network",
            permission_profile=BUILTIN_PROFILES["network"],
        ),
    )
    assert found.places == {"time": "team.yaml, line 3", "memory": "team.yaml, line 6"}


TIME = RunConfig(name="time", image="uvx://mcp-server-time@1")


@pytest.mark.parametrize(
    "text",
    [
        "image: uvx://mcp-server-time@1",
        "- image: uvx://mcp-server-time@1",
        "workloads:\n- image: uvx://mcp-server-time@1",
        "---\n# nothing\n---\nimage: uvx://mcp-server-time@1\n---\n",
        '{"image": "uvx://mcp-server-time@1", "name": "time"}',
        '{\n\t"workloads": [{"image": "uvx://mcp-server-time@1"}],\n\t"groups": null}',
        msgspec.json.encode(TIME).decode(),
    ],
)
def test_one_workload_may_be_written_in_several_forms(text: str) -> None:
    assert read(text).workloads == (TIME,)


@pytest.mark.parametrize("text", ["", "# nothing\n", "---\n", "workloads:\ngroups:\n", "[]", "{}"])
def test_a_manifest_may_want_nothing(text: str) -> None:
    assert read(text) == Manifest()


def test_documents_that_follow_each_other_are_one_manifest() -> None:
    found = read("groups: [a]\n---\nimage: uvx://x@1\n---\n- image: uvx://y@1\n---\ngroups: [b, a]\n")
    assert (found.groups, [each.name for each in found.workloads]) == (("a", "b"), ["x", "y"])
    assert found.places == {"x": "team.yaml, line 3", "y": "team.yaml, line 5"}


@pytest.mark.parametrize(
    ("text", "message", "hint"),
    [
        ("workloads:\n- imgae: uvx://x\n", "imgae is not a known key (line 2)", "Did you mean image?"),
        ("wrkloads: []", "wrkloads is not a known key (line 1)", "Did you mean workloads?"),
        ("workloads: 3", "workloads must be a list", ""),
        ("workloads:\n- image: uvx://x\n- 4", "workloads[1] must be a mapping", ""),
        ("- image: uvx://x\n- 4", "a workload must be a mapping of keys to values (line 2)", ""),
        ("text", "is no manifest (line 1)", "Write  workloads:"),
        ("- name: x\n  image: x", "'x' does not say where the server comes from (line 2)", "Write uvx://"),
        ("- name: x", "image is missing (line 1)", ""),
        ("- image: uvx://x\n  env_vars:\n    A: 1", "every value of env_vars must be text", ""),
        ("- image: uvx://x\n  port: '1'", "port must be a whole number, not text (line 2)", ""),
        ("- image: uvx://x\n- image: uvx://y\n  transport: pigeon", "transport 'pigeon' is not one of", ""),
        ("- image: uvx://x\n  permission_profile_name_or_path: team", "no permission profile 'team' (line 2)", ""),
        (
            "image: uvx://x\npermission_profile:\n  network:\n    outbound:\n      alow_host: [x]",
            "permission_profile.network.outbound.alow_host is not a known key (line 5)",
            "Did you mean allow_host?",
        ),
        ("image: uvx://x\ngroup: BAD", "'BAD' cannot name a group", ""),
        ("groups:\n- a\n- BAD", "'BAD' cannot name a group (line 3)", ""),
        ("image: uvx://x\nimage: uvx://y", "image is there twice (line 2)", ""),
        ("- image: uvx://x\n  secrets: [plain]", "is not a secret reference", ""),
    ],
)
def test_what_is_wrong_is_named_with_its_line(text: str, message: str, hint: str) -> None:
    error = refusal(text)
    assert error.message.startswith("team.yaml")
    assert message in error.message
    assert error.hint.startswith(hint)


def test_a_profile_may_be_named_for_whoever_can_read_it() -> None:
    team = PermissionProfile(name="team", read=("/data",))
    text = "- image: uvx://x\n  permission_profile_name_or_path: ./team.json\n"

    def named(name: str) -> PermissionProfile:
        if name != "./team.json":
            raise InvalidRequest("there is none")
        return team

    (config,) = decode_manifest(text, "team.yaml", named).workloads
    assert (config.permission_profile, config.permission_profile_name_or_path) == (team, "./team.json")
    with pytest.raises(InvalidDocument, match=r"team\.yaml: there is none \(line 2\)"):
        decode_manifest(text.replace("./team", "./other"), "team.yaml", named)
    written = decode_manifest(f"{text}  permission_profile: {{name: mine}}\n", "team.yaml").workloads[0]
    assert written.permission_profile == PermissionProfile(name="mine")


def test_paths_are_made_absolute_by_whoever_knows_where_the_file_lies() -> None:
    def resolved(config: RunConfig) -> RunConfig:
        if config.volumes == ("~:/x",):
            raise InvalidRequest("there is no such home")
        return replace(config, volumes=tuple(f"/srv/{text}" for text in config.volumes))

    text = "- image: uvx://x\n  volumes: ['data:/data']\n"
    assert decode_manifest(text, "f", resolved=resolved).workloads[0].volumes == ("/srv/data:/data",)
    assert "not absolute" in refusal(text).message
    with pytest.raises(InvalidDocument, match=r"f: there is no such home \(line 1\)"):
        decode_manifest(text.replace("data:/data", "~:/x"), "f", resolved=resolved)


def test_one_name_or_one_port_twice_is_an_error_that_names_both_places() -> None:
    named = refusal("- image: uvx://x\n- name: x\n  image: uvx://y\n")
    assert named.evidence == ("team.yaml, line 1", "team.yaml, line 2")
    ported = refusal("- image: uvx://x\n  port: 5000\n- image: uvx://y\n  port: 5000\n")
    assert ported.evidence == ("team.yaml, line 1", "team.yaml, line 3")
    assert "x and y ask for port 5000" in ported.message
    with pytest.raises(InvalidDocument) as caught:
        merged(decode_manifest("image: uvx://x", origin) for origin in ("a.yaml", "b.yaml"))
    assert caught.value.evidence == ("a.yaml, line 1", "b.yaml, line 1")


def test_a_port_that_is_left_open_may_be_left_open_twice() -> None:
    assert len(read("- image: uvx://x\n- image: uvx://y\n").workloads) == 2


# Comparing -----------------------------------------------------------------------------------------------------------

WANTED = read(TEAM)
CURRENT = {
    "time": RunConfig(
        name="time",
        image="uvx://mcp-server-time@2",
        group="search",
        env_vars={"TZ": "UTC"},
        port=19001,
        runtime="sandbox",
    ),
    "memory": replace(WANTED.workloads[1], runtime="sandbox"),
    "other": RunConfig(name="other", image="uvx://other@1", group="search"),
    "billed": RunConfig(name="billed", image="uvx://billed@1", group="billing"),
    "strange": RunConfig(name="strange", image="uvx://strange@1", group="elsewhere"),
}


def kinds(found: list[Change]) -> dict[str, ChangeKind]:
    return {each.name: each.kind for each in found}


def test_what_is_applied_is_unchanged_afterwards() -> None:
    first = changes(WANTED, {}, [])
    assert kinds(first) == {"time": ChangeKind.NEW, "memory": ChangeKind.NEW}
    # Admission chooses the port and the runtime, and pins the image.
    applied = {
        each.name: replace(
            each.config, port=each.config.port or 19001, runtime="sandbox", image=pinned(each.config.image)
        )
        for each in first
        if each.config is not None
    }
    second = changes(WANTED, applied, ["search", "billing"], True)
    assert [(each.kind, each.lines) for each in second] == [(ChangeKind.UNCHANGED, ())] * 2
    assert [each.config for each in second] == list(applied.values())


def pinned(image: str) -> str:
    return image if image.endswith("@1.0.0") else f"{image}@2"


def test_what_there_is_already_is_unchanged_and_nothing_else_is_touched_without_pruning() -> None:
    found = changes(WANTED, CURRENT, ["search"])
    assert kinds(found) == {"time": ChangeKind.UNCHANGED, "memory": ChangeKind.UNCHANGED}


def test_pruning_removes_what_is_in_a_group_that_the_manifest_names_or_uses() -> None:
    found = changes(WANTED, CURRENT, ["search"], True)
    removed = [each for each in found if each.kind is ChangeKind.REMOVED]
    assert [(each.name, each.config, each.lines) for each in removed] == [
        ("billed", None, ("image: uvx://billed@1",)),
        ("other", None, ("image: uvx://other@1",)),
    ]
    assert [each.name for each in found] == ["time", "memory", "billed", "other"]
    used = changes(read("- image: uvx://x@1\n  group: elsewhere"), CURRENT, ["elsewhere"], True)
    assert kinds(used) == {"x": ChangeKind.NEW, "strange": ChangeKind.REMOVED}


@pytest.mark.parametrize(
    ("image", "kind", "becomes"),
    [
        ("uvx://mcp-server-time", ChangeKind.UNCHANGED, "uvx://mcp-server-time@2"),
        ("uvx://MCP_Server.time@latest", ChangeKind.UNCHANGED, "uvx://mcp-server-time@2"),
        ("uvx://mcp-server-time@2", ChangeKind.UNCHANGED, "uvx://mcp-server-time@2"),
        ("uvx://mcp-server-time@3", ChangeKind.CHANGED, "uvx://mcp-server-time@3"),
        ("uvx://another-time", ChangeKind.CHANGED, "uvx://another-time"),
        ("npx://mcp-server-time", ChangeKind.CHANGED, "npx://mcp-server-time"),
    ],
)
def test_a_version_that_is_left_out_stays_and_one_that_is_written_counts(
    image: str, kind: ChangeKind, becomes: str
) -> None:
    wanted = read(f"name: time\nimage: {image}\ngroup: search\nenv_vars: {{TZ: UTC}}")
    (found,) = changes(wanted, CURRENT, ["search"])
    assert found.config is not None
    assert (found.kind, found.config.image) == (kind, becomes)
    assert found.lines == (() if kind is ChangeKind.UNCHANGED else (f"image: uvx://mcp-server-time@2 -> {becomes}",))


def test_a_port_and_a_runtime_that_are_written_count() -> None:
    wanted = replace(WANTED.workloads[0], port=19009, runtime="docker")
    (found,) = changes(Manifest(workloads=(wanted,)), CURRENT, ["search"])
    assert found.lines == ("port: 19001 -> 19009", "runtime: sandbox -> docker")


def test_no_value_of_a_variable_is_shown() -> None:
    wanted = read("name: time\nimage: uvx://mcp-server-time\ngroup: search\nenv_vars: {TZ: hunter2, NEW: hunter3}")
    (changed,) = changes(wanted, CURRENT, ["search"])
    (new,) = changes(wanted, {}, ["search"])
    assert changed.lines == ("env_vars.NEW: set", "env_vars.TZ: changed")
    assert "hunter" not in json.dumps([changed.lines, new.lines])


def test_a_group_that_does_not_exist_is_named_with_the_nearest_and_where() -> None:
    with pytest.raises(NotFound, match="group 'serach' does not exist") as caught:
        changes(read("\nimage: uvx://x@1\ngroup: serach"), {}, ["search"])
    assert caught.value.evidence == ("x is in it (team.yaml, line 2)",)
    assert caught.value.hint.startswith("Did you mean search?")
    assert kinds(changes(read("groups: [new]\nworkloads:\n- image: uvx://x@1\n  group: new"), {}, [])) == {
        "x": ChangeKind.NEW
    }
