"""A lock is accepted only when every package comes from a registry and is bound to its content."""

from __future__ import annotations

import json

import pytest

from thv_core.errors import PreparationFailed
from thv_packages.npm.lock import Lock, checked_lock

HOSTS = {"npm.example:443"}
GOOD = {"resolved": "https://npm.example/a/-/a-1.0.0.tgz", "integrity": "sha1-x sha512-y"}


def lock(**packages: object) -> bytes:
    return json.dumps({"lockfileVersion": 3, "packages": {"": {}, **packages}}).encode()


def test_packages_and_those_with_scripts_are_told():
    scripted = {**GOOD, "hasInstallScript": True}

    found = checked_lock(lock(**{"node_modules/a": GOOD, "node_modules/a/node_modules/@s/b": scripted}), "x", HOSTS)

    assert found == Lock(("node_modules/a", "node_modules/a/node_modules/@s/b"), ("@s/b",))
    assert found.named == "@s/b"


def test_what_came_within_another_package_is_vouched_for_by_it():
    assert checked_lock(lock(**{"node_modules/a": {"version": "1.0.0", "inBundle": True}}), "x", HOSTS).paths


def test_many_names_are_shortened():
    named = Lock((), tuple(f"p{number}" for number in range(10))).named
    assert named == "p0, p1, p2, p3, p4, p5, p6, p7 and 2 more"


@pytest.mark.parametrize(
    ("change", "why"),
    [
        ({"resolved": "git+ssh://git@host/x.git#1"}, "does not come from a registry"),
        ({"resolved": "file:../x"}, "does not come from a registry"),
        ({"resolved": ""}, "does not come from a registry"),
        ({"link": True}, "does not come from a registry"),
        ({"resolved": "https://evil.example/a.tgz"}, "another host"),
        ({"resolved": "https://npm.example@evil.example/a.tgz"}, "another host"),
        ({"resolved": "https://npm.example:8443/a.tgz"}, "another host"),
        ({"integrity": ""}, "no strong hash"),
        ({"integrity": "sha1-x md5-y"}, "no strong hash"),
    ],
)
def test_what_cannot_be_vouched_for_is_refused(change, why):
    with pytest.raises(PreparationFailed, match=f"server needs a, .*{why}"):
        checked_lock(lock(**{"node_modules/a": GOOD | change}), "server", HOSTS)


@pytest.mark.parametrize("text", [b"", b"[]", b'{"lockfileVersion": 1, "dependencies": {}}', b'{"packages": 3}'])
def test_what_is_no_lock_is_refused(text):
    with pytest.raises(PreparationFailed, match="no usable lock"):
        checked_lock(text, "server", HOSTS)
