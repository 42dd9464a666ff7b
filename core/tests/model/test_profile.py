from __future__ import annotations

import pytest

from thv_core.errors import InvalidDocument, InvalidRequest
from thv_core.model.document import encode_document
from thv_core.model.profile import (
    BUILTIN_PROFILES,
    Grant,
    Inbound,
    Limits,
    Network,
    Outbound,
    PermissionProfile,
    checked_profile,
    decode_profile,
    grant,
    volume,
)


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
        (Network(mode="none", outbound=Outbound(allow_host=("x",))), False),
        (Network(outbound=Outbound(allow_host=("x",))), True),
        (Network(outbound=Outbound(insecure_allow_all=True)), True),
        (Network(outbound=Outbound(allow_port=(443,))), True),
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


# The superset --------------------------------------------------------------------------------------------------------

WHOLE = PermissionProfile(
    name="whole",
    read=("/a", "/b:/c"),
    write=("/d",),
    network=Network(
        mode="bridge",
        outbound=Outbound(
            insecure_allow_all=True, allow_host=("api.example.com", "10.0.0.0/8:5432"), allow_port=(443,)
        ),
        inbound=Inbound(allow_host=("localhost", "127.0.0.1", ".docker.internal")),
    ),
    limits=Limits(memory="1.5GiB", cpu=0.5, pids=64, files=256),
    require_limits=True,
    tmpfs={"/scratch": "64MiB"},
    allow_socket=True,
)


@pytest.mark.parametrize("profile", [WHOLE, *BUILTIN_PROFILES.values()], ids=lambda profile: profile.name)
def test_a_profile_comes_back_as_it_was_written(profile: PermissionProfile) -> None:
    assert decode_profile(encode_document(profile), "p.json") == profile
    assert checked_profile(profile) is profile


def test_a_profile_that_says_nothing_has_safe_limits() -> None:
    profile = decode_profile("{}", "p.json")
    assert profile.limits == Limits(memory="512MiB", cpu=0.0, pids=256, files=1024)
    assert (profile.require_limits, profile.tmpfs, profile.allow_socket) == (False, {}, False)


@pytest.mark.parametrize(
    ("text", "path", "meant"),
    [
        ('{"limit": {}}', "limit", "limits"),
        ('{"limits": {"memry": "1GiB"}}', "limits.memry", "memory"),
        ('{"limits": {"pid": 20}}', "limits.pid", "pids"),
        ('{"tempfs": {}}', "tempfs", "tmpfs"),
        ('{"require_limit": true}', "require_limit", "require_limits"),
        ('{"allow_sockets": true}', "allow_sockets", "allow_socket"),
        ('{"network": {"inbound": {"allow_hosts": []}}}', "network.inbound.allow_hosts", "allow_host"),
    ],
)
def test_an_unknown_key_of_the_superset_is_named_with_the_nearest(text: str, path: str, meant: str) -> None:
    with pytest.raises(InvalidDocument, match=rf"p\.json: {path} is not a known key \(line 1\)") as caught:
        decode_profile(text, "p.json")
    assert caught.value.hint == f"Did you mean {meant}?"


@pytest.mark.parametrize(
    ("limits", "sentence"),
    [
        ('{"memory": 512}', "limits.memory must be text, not a whole number"),
        ('{"memory": "much"}', "limits.memory: 'much' is not an amount of memory"),
        ('{"memory": "512"}', "limits.memory: no server runs in 512"),
        ('{"cpu": "2"}', "limits.cpu must be a number, not text"),
        ('{"cpu": -1}', "limits.cpu must be at least 0"),
        ('{"pids": 1.5}', "limits.pids must be a whole number, not a fraction"),
        ('{"pids": 8}', "limits.pids must be at least 16"),
        ('{"files": true}', "limits.files must be a whole number, not a truth value"),
        ('{"files": 10000000}', "limits.files must be at most 1048576"),
        ("[]", "limits must be a mapping of keys to values, not a list"),
    ],
)
def test_a_limit_that_cannot_be_meant_is_named_with_the_file_and_its_key(limits: str, sentence: str) -> None:
    with pytest.raises(InvalidDocument) as caught:
        decode_profile(f'{{"limits": {limits}}}', "p.json")
    assert caught.value.message.startswith(f"p.json: {sentence}")
    assert caught.value.hint


REFUSED = {
    "an entry that is a URL": ('{"network": {"outbound": {"allow_host": ["https://x"]}}}', "network.outbound: "),
    "a port beyond all": (
        '{"network": {"outbound": {"allow_port": [70000]}}}',
        "network.outbound: 70000 in allow_port",
    ),
    "a mode that nobody offers": ('{"network": {"mode": "host"}}', "network.mode: 'host' is not offered"),
    "a network of an engine": ('{"network": {"mode": "my-net"}}', "network.mode: 'my-net' is not offered"),
    "a host with a port": ('{"network": {"inbound": {"allow_host": ["x:80"]}}}', "network.inbound.allow_host: 'x:80'"),
    "a relative memory folder": ('{"tmpfs": {"tmp": "1MiB"}}', "tmpfs: 'tmp' is not absolute"),
    "a memory folder of two paths": ('{"tmpfs": {"/a:/b": "1MiB"}}', "tmpfs: '/a:/b' is not a folder"),
    "a memory folder without size": ('{"tmpfs": {"/a": ""}}', "tmpfs: '' is not an amount of memory"),
}


@pytest.mark.parametrize("case", REFUSED)
def test_what_a_profile_cannot_mean_is_named_with_the_file_and_its_key(case: str) -> None:
    text, words = REFUSED[case]
    with pytest.raises(InvalidDocument) as caught:
        decode_profile(text, "p.json")
    assert caught.value.message.startswith(f"p.json: {words}")
    assert caught.value.hint


def test_a_size_that_is_no_text_is_named_with_its_mapping_and_line() -> None:
    with pytest.raises(InvalidDocument) as caught:
        decode_profile('{\n "tmpfs": {"/a": 1}\n}', "p.json")
    assert caught.value.message == "p.json: every value of tmpfs must be text, not a whole number (line 2)"


@pytest.mark.parametrize("host", ["localhost", "host.docker.internal", "127.0.0.1", "::1", "[::1]", "Example.COM"])
def test_a_server_may_answer_to_names_and_addresses(host: str) -> None:
    profile = PermissionProfile(network=Network(inbound=Inbound(allow_host=(host,))))
    assert checked_profile(profile) is profile
