"""The decision about a host and port."""

import ipaddress

import pytest

from thv_core.spi import Network, Outbound, outbound_rules
from thv_egress.rules import Rules, canonical_target


def rules(*allow_host, **outbound):
    return Rules(outbound_rules(Network(outbound=Outbound(allow_host=allow_host, **outbound))))


ALLOWED = [
    (("api.test",), "api.test", 443, "api.test"),
    (("api.test",), "api.test", 80, "api.test"),
    (("api.test:5432",), "api.test", 5432, "api.test:5432"),
    ((".api.test",), "a.api.test", 443, ".api.test"),
    (("*.api.test:1",), "a.b.api.test", 1, "*.api.test:1"),
    (("*",), "anything.test", 443, "*"),
    (("*",), "1.1.1.1", 443, "*"),
    (("*",), "2606:4700:4700::1111", 443, "*"),
    (("10.1.2.3:5432",), "10.1.2.3", 5432, "10.1.2.3:5432"),
    (("10.0.0.0/8",), "10.255.0.1", 80, "10.0.0.0/8"),
    (("[fd00::/8]:22",), "fd12::1", 22, "[fd00::/8]:22"),
    (("10.0.0.0/8",), "::ffff:10.0.0.1", 80, "10.0.0.0/8"),
    (("api.test:1", "*:2"), "api.test", 2, "*:2"),
    (("api.test", ".test", "*"), "api.test", 443, "api.test"),
]
DENIED = [
    ((), "api.test", 443),
    (("api.test",), "api.test", 22),
    (("api.test",), "a.api.test", 443),
    (("api.test",), "xapi.test", 443),
    ((".api.test",), "api.test", 443),
    ((".api.test",), "xapi.test", 443),
    (("api.test",), "1.1.1.1", 443),
    (("*",), "127.0.0.1", 443),
    (("*",), "169.254.169.254", 80),
    (("*",), "::1", 443),
    (("*",), "::ffff:127.0.0.1", 443),
    (("*",), "64:ff9b::7f00:1", 443),
    (("*",), "10.0.0.1", 443),
    (("10.0.0.0/8:5432",), "10.0.0.1", 80),
    (("10.0.0.0/8",), "11.0.0.1", 80),
    (("10.0.0.0/8",), "db.test", 80),
]


@pytest.mark.parametrize(("allow", "host", "port", "rule"), ALLOWED)
def test_what_a_rule_names_is_allowed_by_it(allow, host, port, rule):
    decision = rules(*allow).decide(host, port)
    assert decision.allowed
    assert (decision.rule, decision.reason) == (rule, "")


@pytest.mark.parametrize(("allow", "host", "port"), DENIED)
def test_what_no_rule_names_is_denied_with_a_reason(allow, host, port):
    decision = rules(*allow).decide(host, port)
    assert not decision.allowed
    assert decision.reason
    assert not decision.rule


def test_everything_public_is_allowed_by_its_flag():
    everything = rules(insecure_allow_all=True)
    assert everything.decide("example.test", 443).rule == "insecure_allow_all"
    assert not everything.decide("example.test", 25).allowed
    assert not everything.decide("192.168.1.1", 443).allowed


def test_a_name_is_known_when_a_rule_names_it_on_any_port():
    some = rules("api.test:1", ".sub.test", "10.0.0.0/8")
    assert some.knows("api.test")
    assert some.knows("a.sub.test")
    assert not some.knows("sub.test")
    assert not some.knows("test")
    assert rules("*:9").knows("anything")


def test_only_a_rule_with_the_address_covers_an_address():
    some = rules("*", "10.0.0.0/8:22")
    assert some.covering(ipaddress.ip_address("10.0.0.1"), 22) == "10.0.0.0/8:22"
    assert some.covering(ipaddress.ip_address("10.0.0.1"), 23) == ""
    assert some.covering(ipaddress.ip_address("1.1.1.1"), 443) == ""


@pytest.mark.parametrize(
    ("host", "canonical"),
    [
        ("Example.TEST", "example.test"),
        ("example.test.", "example.test"),
        ("10.1.2.3", "10.1.2.3"),
        ("::FFFF:10.1.2.3", "10.1.2.3"),
        ("2606:4700:0:0::1", "2606:4700::1"),
        ("xn--bcher-kva.test", "xn--bcher-kva.test"),
    ],
)
def test_a_target_has_one_form(host, canonical):
    assert canonical_target(host) == canonical


@pytest.mark.parametrize(
    "host",
    [
        *("", ".", "..", "a..b", "-a.test", "a b", "a/b", "a@b", "2130706433", "0x7f000001", "0x7f.1", "127.1", "a.0x"),
        *("1.2.3.4.5", "fe80::1%eth0", "b\u00fccher.test", "a\0b", "a" * 64, "a." * 200, "[::1]", "example.test:80"),
    ],
)
def test_what_is_neither_an_address_nor_a_name_is_no_target(host):
    assert canonical_target(host) == ""
