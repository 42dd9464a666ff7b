"""A job reaches the hosts of its indexes, by name, and by address when the index is in a private network."""

from __future__ import annotations

import socket

import pytest

from thv_core.errors import SettingsError
from thv_core.spi import Network, Outbound, outbound_rules
from thv_packages.reach import authority, index_url, reach, without_credentials


@pytest.mark.parametrize(
    ("url", "host"),
    [
        ("https://public.example/simple", "public.example:443"),
        ("http://index.example", "index.example:80"),
        ("https://me:hunter2@index.example:8443/x", "index.example:8443"),
        ("http://[2001:db8::1]:3141/x", "[2001:db8::1]:3141"),
        ("/wheels", ""),
        ("file:///wheels", ""),
        ("https://", ""),
        ("https://host:99999/", ""),
    ],
)
def test_an_index_is_a_host_and_a_port(url, host):
    assert authority(url) == host


def test_credentials_can_be_taken_out_of_a_url():
    assert without_credentials("https://me:p@ss@index.example:1/x?y") == "https://index.example:1/x?y"
    assert without_credentials("/wheels") == "/wheels"


@pytest.fixture
def addresses(monkeypatch) -> dict[str, list[str]]:
    """Give names addresses without asking anybody."""
    known: dict[str, list[str]] = {}

    def getaddrinfo(host: str, port: int, **options: object) -> list[tuple[object, ...]]:
        if host not in known:
            raise socket.gaierror("unknown")
        return [(0, 0, 0, "", (address, port)) for address in known[host]]

    monkeypatch.setattr(socket, "getaddrinfo", getaddrinfo)
    return known


def test_a_public_index_is_reached_by_its_name_alone(addresses):
    addresses["public.example"] = ["151.101.0.223", "2a04:4e42::223"]

    assert reach(["https://public.example/simple"], ["files.example.com", "other.example:8443"]) == (
        "files.example.com:443",
        "other.example:8443",
        "public.example:443",
    )


def test_the_addresses_of_a_private_index_are_entries_and_that_of_metadata_never(addresses):
    addresses["index.example"] = ["10.1.2.3", "fd00::1", "169.254.169.254", "fe80::1%eth0"]

    entries = reach(["https://index.example:3141/simple"])

    assert entries == ("index.example:3141", "10.1.2.3:3141", "[fd00::1]:3141")
    assert len(outbound_rules(Network(outbound=Outbound(allow_host=entries)))) == 3


def test_what_an_index_says_is_reached_by_name_alone(addresses):
    addresses["files.example"] = ["10.1.2.3"]
    told = ["files.example:443", "10.9.8.7:5432", "[64:ff9b::a00:1]:80", "[::1]:80", "127.0.0.1:80"]

    assert reach(["https://public.example/simple"], (), told) == ("files.example:443", "public.example:443")


def test_a_name_that_cannot_be_one_has_no_addresses():
    assert reach([], [f"{'a' * 70}.example"]) == (f"{'a' * 70}.example:443",)


@pytest.mark.parametrize("url", [3, "", "index.example", "ftp://index.example", "https://me:hunter2@index.example"])
def test_a_setting_that_is_no_index_is_refused_without_its_password(url):
    with pytest.raises(SettingsError) as caught:
        index_url(url, "index")
    assert "index" in caught.value.message
    assert "hunter2" not in str(caught.value)
