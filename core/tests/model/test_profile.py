from __future__ import annotations

import pytest

from thv_core.errors import InvalidDocument, InvalidRequest
from thv_core.model.profile import BUILTIN_PROFILES, Grant, Network, Outbound, decode_profile, grant, volume


@pytest.mark.parametrize(
    ("mount", "source", "target"),
    [
        ("/data", "/data", "/data"),
        ("/data:/srv", "/data", "/srv"),
        ("/data/../etc/", "/etc", "/etc"),
        ("/with space:/srv", "/with space", "/srv"),
        ("/data:", "/data", "/data"),
        ("/", "/", "/"),
    ],
)
def test_a_mount_is_a_path_or_two(mount: str, source: str, target: str) -> None:
    assert grant(mount, writable=True) == Grant(source=source, target=target, writable=True)


@pytest.mark.parametrize(
    "mount",
    [
        "",
        "data",
        "./data",
        "~/data",
        "/a:b",
        "a:/b",
        "/a:/b:/c",
        "/a;rm",
        "/$HOME",
        "/a|b",
        "/a`b`",
        "/a&b",
        "/a\0",
        "/a\nb",
        ":/b",
    ],
)
def test_what_is_no_mount_is_refused(mount: str) -> None:
    with pytest.raises(InvalidRequest, match="is not"):
        grant(mount, writable=False)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("/a:/b", ("/a", "/b", True)),
        ("/a:/b:ro", ("/a", "/b", False)),
        ("/a:/b:rw", ("/a", "/b", True)),
        ("/a", ("/a", "/a", True)),
        ("/a:ro", ("/a", "/a", False)),
    ],
)
def test_a_volume_is_writable_unless_it_says_ro(text: str, expected: tuple[str, str, bool]) -> None:
    found = volume(text)
    assert (found.source, found.target, found.writable) == expected


@pytest.mark.parametrize("text", ["a:/b", "/a:/b:x", "/a:/b:ro:ro", "/a:/b:RO", ""])
def test_what_is_no_volume_is_refused(text: str) -> None:
    with pytest.raises(InvalidRequest):
        volume(text)


def test_a_profile_is_read() -> None:
    text = '{"name": "n", "read": ["/a"], "network": {"outbound": {"allow_host": ["x"], "allow_port": [443]}}}'
    profile = decode_profile(text, "p.json")
    assert profile.network.outbound == Outbound(allow_host=("x",), allow_port=(443,))
    assert profile.privileged is False


@pytest.mark.parametrize("key", ["read", "write"])
def test_a_mount_that_is_none_is_named_with_its_key(key: str) -> None:
    with pytest.raises(InvalidDocument, match=rf"p\.json: {key}: 'here' is not absolute"):
        decode_profile(f'{{"{key}": ["here"]}}', "p.json")


def test_an_unknown_key_of_a_profile_is_an_error() -> None:
    with pytest.raises(InvalidDocument, match=r"network\.outbound\.allow_hosts is not a known key") as caught:
        decode_profile('{"network": {"outbound": {"allow_hosts": []}}}', "p.json")
    assert caught.value.hint == "Did you mean allow_host?"


@pytest.mark.parametrize(
    ("network", "reaches"),
    [
        (Network(), False),
        (Network(mode="none"), False),
        (Network(mode="bridge"), False),
        (Network(mode="host"), True),
        (Network(outbound=Outbound(allow_host=("x",))), True),
        (Network(outbound=Outbound(insecure_allow_all=True)), True),
        (Network(outbound=Outbound(allow_port=(443,))), False),
    ],
)
def test_a_network_reaches_out_when_it_asks_to(network: Network, reaches: bool) -> None:
    assert network.reaches_out is reaches


def test_the_built_in_profiles_are_those_of_their_names() -> None:
    assert {name: profile.network.reaches_out for name, profile in BUILTIN_PROFILES.items()} == {
        "none": False,
        "network": True,
    }
    assert all(name == profile.name for name, profile in BUILTIN_PROFILES.items())
