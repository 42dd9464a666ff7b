"""A profile in words."""

from __future__ import annotations

import pytest

from thv_core.errors import InvalidRequest
from thv_core.model.plan import ResourceLimits
from thv_core.model.profile import BUILTIN_PROFILES, Grant, Inbound, Limits, Network, Outbound, PermissionProfile
from thv_core.services.explaining import explanation, files, limited, reach

READ = Grant(source="/a", target="/a", writable=False)
WRITE = Grant(source="/b", target="/srv", writable=True)


def network(*hosts: str, ports: tuple[int, ...] = (), everything: bool = False, mode: str = "") -> Network:
    return Network(mode=mode, outbound=Outbound(allow_host=hosts, allow_port=ports, insecure_allow_all=everything))


def explained(profile: PermissionProfile, *grants: Grant, limits: tuple[str, ...] = ()) -> dict[str, str]:
    return dict(explanation(profile, grants, limits))


def test_the_profile_none_is_nothing() -> None:
    assert explanation(BUILTIN_PROFILES["none"], ()) == (
        ("can reach", "nothing"),
        ("cannot reach", "anything"),
        ("can read", "nothing of yours"),
        ("can write", "nothing of yours"),
        ("may use", "512 MiB, 256 processes, any share of the CPU, 1024 open files in each"),
    )


def test_the_profile_network_is_the_public_internet_and_not_what_is_near() -> None:
    found = explained(BUILTIN_PROFILES["network"])
    assert found["can reach"] == "any public address on ports 80 and 443"
    assert found["cannot reach"] == "this machine, your local network, cloud metadata, other servers"


REACHES = {
    "": network(),
    "closed": network("a.example", mode="none"),
    "a.example:80,443": network("a.example"),
    "a.example:443, *.b.example:5432": network("a.example:443", ".b.example:5432"),
    "*.b.example:80,443": network("*.b.example"),
    "a.example:1,2": network("a.example", ports=(2, 1)),
    "10.1.2.3:5432": network("10.1.2.3:5432"),
    "10.0.0.0/8:22": network("10.0.0.0/8:22"),
    "[fd00::1]:22": network("[fd00::1]:22"),
    "[fd00::/8]:22": network("[fd00::/8]:22"),
    "any public address on port 443": network(ports=(443,)),
    "any public address on ports 1, 2 and 3": network("*", ports=(3, 1, 2)),
    "any public address on ports 80 and 443, 10.1.2.3:22": network("10.1.2.3:22", everything=True),
}


@pytest.mark.parametrize("text", REACHES)
def test_what_may_be_reached_is_said_with_its_ports(text: str) -> None:
    assert reach(REACHES[text]) == text.replace("closed", "")


def test_of_many_entries_the_first_are_named() -> None:
    assert reach(network("a:1", "b:1", "c:1"), 2) == "a:1, b:1, and 1 more"
    assert reach(network("a:1", "b:1"), 2) == "a:1, b:1"


def test_an_entry_that_cannot_be_meant_is_no_explanation() -> None:
    with pytest.raises(InvalidRequest):
        explanation(PermissionProfile(network=network("a b")), ())


@pytest.mark.parametrize(
    ("given", "text"),
    [
        (network("a.example"), "anything else"),
        (network("10.1.2.3"), "anything else"),
        (
            network("10.1.2.3", everything=True),
            "this machine, your local network, cloud metadata, other servers, but for what is named",
        ),
    ],
)
def test_what_cannot_be_reached_depends_on_what_is_named(given: Network, text: str) -> None:
    assert explained(PermissionProfile(network=given))["cannot reach"] == text


def test_every_grant_is_named_and_what_is_writable_twice() -> None:
    found = explained(PermissionProfile(), READ, WRITE)
    assert (found["can read"], found["can write"]) == ("/a, /b (there /srv)", "/b (there /srv)")
    assert explained(PermissionProfile(), READ)["can write"] == "nothing of yours"


def test_sockets_are_a_way_out_when_something_is_granted() -> None:
    profile = PermissionProfile(allow_socket=True)
    found = explained(profile, READ)
    assert found["can reach"] == "whatever answers at the Unix sockets in what it can read"
    assert found["cannot reach"] == "anything else"
    both = PermissionProfile(allow_socket=True, network=network("a.example:1"))
    assert explained(both, READ)["can reach"].startswith("a.example:1; and whatever answers at the Unix sockets")
    assert explained(profile)["can reach"] == "nothing"
    assert explained(PermissionProfile(), READ)["can reach"] == "nothing"


def test_limits_folders_and_strictness_are_named() -> None:
    profile = PermissionProfile(
        limits=Limits(memory="1GiB", cpu=0.5, pids=16, files=64), tmpfs={"/scratch": "64MiB"}, require_limits=True
    )
    assert explained(profile)["may use"] == (
        "1024 MiB, 16 processes, 0.5 cores, 64 open files in each, 64 MiB in /scratch; "
        "it starts only where all of this is enforced"
    )


def test_other_names_that_a_server_answers_to_are_named() -> None:
    profile = PermissionProfile(network=Network(inbound=Inbound(allow_host=("localhost", "box"))))
    assert explained(profile)["answers to"] == "localhost, box"
    assert "answers to" not in explained(PermissionProfile())


def test_what_is_not_enforced_is_named_and_what_is_enforced_is_not() -> None:
    limits = ("memory 512 MiB (cgroup)", "256 processes (not enforced)", "cpu not limited", "files (not enforced)")
    assert explained(PermissionProfile(), limits=limits)["not enforced"] == "256 processes, files"
    assert "not enforced" not in explained(PermissionProfile(), limits=limits[:1])


def test_files_are_said_in_one_breath() -> None:
    assert files(()) == "no files of yours"
    assert files((READ,)) == "reads /a, writes nothing"
    assert files((READ, WRITE)) == "reads /a, /b, writes /b"


def test_one_core_is_one_core() -> None:
    assert limited(ResourceLimits(cpu=1)) == "512 MiB, 256 processes, 1 core"
    assert limited(ResourceLimits()) == "512 MiB, 256 processes"
