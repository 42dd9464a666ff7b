"""Which addresses a name may lead to."""

import ipaddress

import pytest

from thv_egress.addresses import literal, refusal

REFUSED = {
    "0.0.0.0": "unspecified",
    "0.1.2.3": "unspecified",
    "10.1.2.3": "private",
    "100.64.0.1": "carrier",
    "100.100.100.200": "carrier",
    "127.0.0.1": "loopback",
    "127.9.9.9": "loopback",
    "168.63.129.16": "metadata",
    "169.254.169.254": "metadata",
    "169.254.170.2": "link-local",
    "172.16.0.1": "private",
    "172.31.255.255": "private",
    "192.0.0.192": "reserved",
    "192.88.99.1": "reserved",
    "192.168.1.1": "private",
    "198.18.0.1": "benchmarks",
    "198.19.255.255": "benchmarks",
    "224.0.0.1": "multicast",
    "239.255.255.250": "multicast",
    "240.0.0.1": "reserved",
    "255.255.255.255": "broadcast",
    "::": "unspecified",
    "::1": "loopback",
    "::10.0.0.1": "private",
    "::ffff:0:10.0.0.1": "private",
    "fe80::1": "link-local",
    "fec0::1": "private",
    "fc00::1": "private",
    "fd12::1": "private",
    "fd00:ec2::254": "metadata",
    "ff02::1": "multicast",
    "64:ff9b::7f00:1": "loopback",
    "64:ff9b::a9fe:a9fe": "metadata",
    "64:ff9b:1::808:808": "local network",
    "2002:7f00:1::": "loopback",
    "2002:a9fe:a9fe::1": "metadata",
    "2001::1": "reserved",
    "2001:0:4136:e378:8000:63bf:3fff:fdd2": "reserved",
    "2606:4700::5efe:192.168.0.1": "private",
    "2606:4700::200:5efe:127.0.0.1": "loopback",
    "4000::1": "reserved",
    "100::1": "reserved",
    "5f00::1": "reserved",
}
PUBLIC = [
    "192.0.2.1",
    "198.51.100.1",
    "203.0.113.1",
    "2001:db8::1",
    "3fff::1",
    "1.1.1.1",
    "8.8.8.8",
    "11.254.0.1",
    "100.63.255.255",
    "100.128.0.1",
    "172.15.0.1",
    "172.32.0.1",
    "192.0.1.1",
    "198.17.0.1",
    "198.20.0.1",
    "223.255.255.255",
    "2606:4700:4700::1111",
    "2a00:1450:4001:80b::200e",
    "64:ff9b::808:808",
    "2002:808:808::1",
]


@pytest.mark.parametrize(("address", "words"), REFUSED.items())
def test_an_address_that_is_not_public_is_refused_and_says_what_it_is(address, words):
    assert words in refusal(ipaddress.ip_address(address))


@pytest.mark.parametrize("address", PUBLIC)
def test_a_public_address_is_not_refused(address):
    assert refusal(ipaddress.ip_address(address)) == ""


def test_a_mapped_address_is_the_one_that_it_maps():
    assert literal("::ffff:127.0.0.1") == ipaddress.ip_address("127.0.0.1")
    assert literal("::ffff:a9fe:a9fe") == ipaddress.ip_address("169.254.169.254")


@pytest.mark.parametrize(
    "host", ["example.test", "fe80::1%eth0", "1.2.3", "0177.0.0.1", "127.1", "", "1.2.3.4.", "\u0661.1.1.1"]
)
def test_what_resolvers_might_read_as_an_address_is_no_literal(host):
    assert literal(host) is None
