from __future__ import annotations

import ipaddress
import itertools

import pytest

from thv_core.errors import InvalidRequest
from thv_core.model.profile import Network, Outbound
from thv_core.model.reach import (
    DEFAULT_PORTS,
    MOST_PORTS,
    MOST_RULES,
    Match,
    Rule,
    canonical_host,
    outbound_rules,
    reached_ports,
    rule,
)

PORTS = (7, 9)


def rules(*allow_host: str, allow_port: tuple[int, ...] = (), everything: bool = False, mode: str = "") -> list[Rule]:
    outbound = Outbound(allow_host=allow_host, allow_port=allow_port, insecure_allow_all=everything)
    return list(outbound_rules(Network(mode=mode, outbound=outbound)))


# Entries -------------------------------------------------------------------------------------------------------------

HOSTS = {
    "api.example.com": (Match.EXACT, "api.example.com"),
    "API.Example.COM": (Match.EXACT, "api.example.com"),
    "api.example.com.": (Match.EXACT, "api.example.com"),
    "localhost": (Match.EXACT, "localhost"),
    "_dmarc.example.com": (Match.EXACT, "_dmarc.example.com"),
    "bücher.example": (Match.EXACT, "xn--bcher-kva.example"),
    "BÜCHER.example": (Match.EXACT, "xn--bcher-kva.example"),
    "xn--bcher-kva.example": (Match.EXACT, "xn--bcher-kva.example"),
    "例え。テスト": (Match.EXACT, "xn--r8jz45g.xn--zckzah"),
    ".example.com": (Match.SUFFIX, "example.com"),
    "*.example.com": (Match.SUFFIX, "example.com"),
    "*.BÜCHER.example": (Match.SUFFIX, "xn--bcher-kva.example"),
    ".com": (Match.SUFFIX, "com"),
    "*": (Match.ANY, ""),
    "10.1.2.3": (Match.ADDRESS, "10.1.2.3/32"),
    "10.0.0.0/8": (Match.ADDRESS, "10.0.0.0/8"),
    "0.0.0.0/0": (Match.ADDRESS, "0.0.0.0/0"),
    "::1": (Match.ADDRESS, "::1/128"),
    "[::1]": (Match.ADDRESS, "::1/128"),
    "fd00::/8": (Match.ADDRESS, "fd00::/8"),
    "[fd00::/8]": (Match.ADDRESS, "fd00::/8"),
    "FD00:0:0::/48": (Match.ADDRESS, "fd00::/48"),
    "::ffff:10.1.2.3": (Match.ADDRESS, "10.1.2.3/32"),
    "::ffff:10.0.0.0/104": (Match.ADDRESS, "10.0.0.0/8"),
    "::/0": (Match.ADDRESS, "::/0"),
}


@pytest.mark.parametrize("text", HOSTS)
def test_an_entry_without_a_port_gets_the_ports_of_the_profile(text: str) -> None:
    match, host = HOSTS[text]
    assert rule(text, PORTS) == Rule(text=text, match=match, host=host, ports=PORTS)


@pytest.mark.parametrize(
    ("text", "port"),
    [
        (f"{host}:{port}", port)
        for host, port in itertools.product(HOSTS, (1, 443, 65535))
        if ":" not in host or host.startswith("[")
    ],
)
def test_an_entry_with_a_port_has_that_one_alone(text: str, port: int) -> None:
    match, host = HOSTS[text.rpartition(":")[0]]
    assert rule(text, PORTS) == Rule(text=text, match=match, host=host, ports=(port,))


def test_an_address_without_brackets_has_no_port() -> None:
    assert rule("fd00::443", PORTS).host == "fd00::443/128"
    assert rule("fd00::443", PORTS).ports == PORTS


REFUSED = {
    "nothing": "",
    "a blank": " ",
    "blanks around": " example.com",
    "a dot": ".",
    "a wildcard and a dot": "*.",
    "two dots": "a..b",
    "a dot too many in front": "..example.com",
    "a wildcard within": "api.*.com",
    "a wildcard in a label": "*api.example.com",
    "two wildcards": "*.*.com",
    "a wildcard at the end": "example.*",
    "a dash in front": "-a.example",
    "a dash behind": "a-.example",
    "a long label": f"{'a' * 64}.example",
    "a long name": ".".join(["a" * 50] * 6),
    "two entries": "example.com,example.org",
    "two ports": "example.com:80,443",
    "a path": "example.com/x",
    "a URL": "https://example.com",
    "a URL with a port": "http://example.com:80",
    "a user": "me@example.com",
    "a query": "example.com?x",
    "a newline": "example.com\n",
    "a zero byte": "example.com\0",
    "a port without a host": ":443",
    "a colon too many": "example.com:",
    "port zero": "example.com:0",
    "a port beyond all": "example.com:65536",
    "a long port": "example.com:0000443",
    "a port in other digits": "example.com:\u0664\u0664",
    "a signed port": "example.com:+443",
    "a named port": "example.com:https",
    "a range of ports": "example.com:80-90",
    "an address of three numbers": "10.1.2",
    "an address that is one number": "2130706433",
    "a number too large": "10.1.2.256",
    "octal": "010.1.2.3",
    "hexadecimal": "0x7f.0.0.1",
    "a hexadecimal number": "0x7f000001",
    "a name that ends in a number": "example.1",
    "an address in other digits": "\uff11\uff12\uff17.0.0.1",
    "a suffix that is an address": "*.10.1.2.3",
    "bits beyond the prefix": "10.1.2.3/8",
    "bits beyond the prefix of IPv6": "fd00::1/8",
    "a long prefix": "10.0.0.0/33",
    "no prefix": "10.0.0.0/",
    "an interface": "fe80::1%eth0",
    "an interface that looks like a prefix": "fe80::%3",
    "brackets around a name": "[example.com]",
    "brackets without end": "[::1",
    "something behind brackets": "[::1]443",
    "brackets and a colon": "[::1]:",
    "IPv6 with too many parts": "1:2:3:4:5:6:7:8:9",
    "a name that IDNA versions read differently": "straße.example",
    "a joiner": "a\u200db.example",
    "what IDNA forbids": "a\u2028b.example",
}


@pytest.mark.parametrize("case", REFUSED)
def test_what_cannot_be_meant_is_refused_with_the_ways_to_write_it(case: str) -> None:
    with pytest.raises(InvalidRequest) as caught:
        rule(REFUSED[case], PORTS)
    assert caught.value.hint.startswith("Write ")


def test_an_address_within_a_network_is_refused_with_the_network() -> None:
    with pytest.raises(InvalidRequest, match=r"'10\.1\.2\.3/8' is an address within a network") as caught:
        rule("10.1.2.3/8:443", PORTS)
    assert caught.value.hint == "Write 10.0.0.0/8 for the whole of it."


@pytest.mark.parametrize("text", [text for text, (match, _) in HOSTS.items() if match is Match.ADDRESS])
def test_the_host_of_an_address_rule_is_a_network_that_reads_back(text: str) -> None:
    host = rule(text, PORTS).host
    assert str(ipaddress.ip_network(host)) == host


# Names ---------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("text", [text for text, (match, _) in HOSTS.items() if match is Match.EXACT])
def test_a_canonical_name_stays_as_it_is(text: str) -> None:
    name = canonical_host(text)
    assert name == HOSTS[text][1]
    assert canonical_host(name) == name


NO_NAMES = ("", ".", "a..b", "*.a", "a b", "1.2.3.4", "::1", "[::1]", "a:80", "0x1", "a.0x", "a.7.", "ß.example", "a\n")


@pytest.mark.parametrize("host", NO_NAMES)
def test_what_is_no_name_is_none(host: str) -> None:
    assert canonical_host(host) == ""


def test_the_longest_name_is_one() -> None:
    longest = ".".join(["a" * 63, "b" * 63, "c" * 63, "d" * 61])
    assert len(longest) == 253
    assert canonical_host(longest) == longest
    assert canonical_host(f"{longest}e") == ""


# Profiles ------------------------------------------------------------------------------------------------------------


def test_a_profile_that_lists_nothing_reaches_nothing() -> None:
    assert rules() == []
    assert reached_ports(()) == ()


def test_hosts_without_ports_are_reached_on_the_usual_ones() -> None:
    assert [(each.host, each.ports) for each in rules("a.example", ".b.example:5432")] == [
        ("a.example", DEFAULT_PORTS),
        ("b.example", (5432,)),
    ]


def test_the_ports_of_a_profile_replace_the_usual_ones() -> None:
    found = rules("a.example", "b.example:5432", allow_port=(8443, 443, 8443))
    assert [each.ports for each in found] == [(443, 8443), (5432,)]
    assert reached_ports(tuple(found)) == (443, 5432, 8443)


def test_ports_alone_allow_any_host_on_them() -> None:
    assert rules(allow_port=(443,)) == [Rule(text="allow_port", match=Match.ANY, host="", ports=(443,))]


def test_everything_is_any_host_on_the_ports_beside_what_is_listed() -> None:
    assert rules(everything=True) == [Rule(text="insecure_allow_all", match=Match.ANY, host="", ports=DEFAULT_PORTS)]
    found = rules("10.0.0.0/8:22", allow_port=(443,), everything=True)
    assert [(each.match, each.ports) for each in found] == [(Match.ADDRESS, (22,)), (Match.ANY, (443,))]


def test_the_mode_none_closes_whatever_is_listed() -> None:
    assert rules("a.example", allow_port=(443,), everything=True, mode="none") == []
    assert len(rules("a.example", mode="bridge")) == 1


@pytest.mark.parametrize("port", [0, -1, 65536, 10**9])
def test_a_port_that_is_none_is_refused(port: int) -> None:
    with pytest.raises(InvalidRequest, match=f"{port} in allow_port is not a port"):
        rules(allow_port=(port,))


def test_the_number_of_entries_is_bounded() -> None:
    assert len(rules(*(f"h{number}.example" for number in range(MOST_RULES)))) == MOST_RULES
    with pytest.raises(InvalidRequest, match="more than 1000 entries"):
        rules(*(f"h{number}.example" for number in range(MOST_RULES + 1)))


def test_the_number_of_ports_is_bounded_because_each_is_a_listener() -> None:
    assert len(reached_ports(tuple(rules(allow_port=tuple(range(1, MOST_PORTS + 1)))))) == MOST_PORTS
    with pytest.raises(InvalidRequest, match="more than 128 ports"):
        rules(*(f"h.example:{port}" for port in range(1, MOST_PORTS + 2)))
