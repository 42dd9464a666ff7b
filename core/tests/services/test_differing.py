"""What differs between two configurations, in lines."""

from __future__ import annotations

import pytest
from msgspec.structs import replace

from thv_core.model.profile import Limits, Network, Outbound, PermissionProfile
from thv_core.model.run_config import MiddlewareConfig, RunConfig
from thv_core.services.differing import differences

BASE = RunConfig(name="time", image="uvx://t@1", env_vars={"KEEP": "1", "OLD": "hunter1", "GONE": "hunter2"})


def profile(**more: object) -> dict[str, object]:
    return {"permission_profile": PermissionProfile(name="none", **more)}


@pytest.mark.parametrize(
    ("change", "lines"),
    [
        ({}, []),
        ({"image": "uvx://t@2"}, ["image: uvx://t@1 -> uvx://t@2"]),
        ({"port": 19001, "runtime": "sandbox"}, ["port: 19001", "runtime: sandbox"]),
        ({"cmd_args": ("-v", "a b")}, ["cmd_args: -v 'a b'"]),
        ({"volumes": ("/a:/b",)}, ["volumes: + /a:/b"]),
        ({"secrets": ("x,target=X",)}, ["secrets: + x,target=X"]),
        ({"container_labels": {"team": "search"}}, ["container_labels.team: search"]),
        (
            {"env_vars": {"KEEP": "1", "OLD": "hunter3", "NEW": "hunter4"}},
            ["env_vars.GONE: removed", "env_vars.NEW: set", "env_vars.OLD: changed"],
        ),
        ({"allow_scripts": True}, ["allow_scripts: false -> true"]),
        (
            profile(network=Network(outbound=Outbound(allow_host=("api.example.com",), allow_port=(443,)))),
            ["network.outbound.allow_host: + api.example.com", "network.outbound.allow_port: + 443"],
        ),
        (
            profile(limits=Limits(memory="1GiB", pids=4_000_000)),
            ["limits.memory: 512MiB -> 1GiB", "limits.pids: 256 -> 4000000"],
        ),
        (profile(limits=Limits(cpu=0.5), read=("/a:/a",)), ["read: + /a:/a", "limits.cpu: 0.5"]),
        (profile(tmpfs={"/t": "1MiB"}), ["tmpfs./t: 1MiB"]),
        ({"permission_profile": PermissionProfile(name="team")}, ["permission_profile.name: none -> team"]),
        (
            {"additional_middleware_configs": (MiddlewareConfig(type="x", parameters={"token": "hunter5"}),)},
            ["additional_middleware_configs: + x"],
        ),
    ],
)
def test_a_change_is_told_there_and_back(change: dict[str, object], lines: list[str]) -> None:
    changed = replace(BASE, **change)
    assert list(differences(BASE, changed)) == lines
    back = differences(changed, BASE)
    assert len(back) == len(lines)
    assert "hunter" not in " ".join([*lines, *back])


def test_what_is_taken_away_is_told() -> None:
    changed = replace(BASE, volumes=("/a:/a", "/b:/b"), cmd_args=("x",), container_labels={"a": "1", "b": "2"})
    after = replace(BASE, volumes=("/c:/c", "/b:/b"), container_labels={"b": "3"})
    assert differences(changed, after) == (
        "cmd_args: x -> nothing",
        "volumes: - /a:/a",
        "volumes: + /c:/c",
        "container_labels.a: removed",
        "container_labels.b: 2 -> 3",
    )


def test_another_order_is_a_difference_too() -> None:
    two = replace(BASE, volumes=("/a:/a", "/b:/b"))
    assert differences(two, replace(two, volumes=("/b:/b", "/a:/a"))) == ("volumes: in another order",)
    ordered = replace(BASE, cmd_args=("a", "b"))
    assert differences(ordered, replace(BASE, cmd_args=("b", "a"))) == ("cmd_args: a b -> b a",)


def test_other_parameters_of_one_middleware_are_told_without_their_values() -> None:
    one, other = (MiddlewareConfig(type="x", parameters={"token": each}) for each in ("hunter1", "hunter2"))
    lines = differences(
        replace(BASE, additional_middleware_configs=(one,)), replace(BASE, additional_middleware_configs=(other,))
    )
    assert lines == ("additional_middleware_configs: - x", "additional_middleware_configs: + x")
