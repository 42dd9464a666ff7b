"""Which addresses are public, and which are refused unless a profile names them (pure).

The tables are ours and not only :mod:`ipaddress`, whose opinion differs between releases of Python. Sources: the IANA
special-purpose registries (RFC 6890), RFC 6052 and RFC 8215 (NAT64), RFC 3056 (6to4), RFC 5214 (ISATAP). The ranges for
documentation (RFC 5737, RFC 3849) are not refused: no private network has them, and networks that play the internet do.
"""

from __future__ import annotations

import ipaddress

__all__ = ["Address", "literal", "refusal"]

Address = ipaddress.IPv4Address | ipaddress.IPv6Address

_PRIVATE = "private"

_REFUSED_4 = tuple(
    (ipaddress.IPv4Network(network), words)
    for network, words in (
        ("0.0.0.0/8", "unspecified"),
        ("10.0.0.0/8", _PRIVATE),
        ("100.64.0.0/10", "shared by a carrier"),
        ("127.0.0.0/8", "loopback"),
        ("168.63.129.16/32", "a metadata service"),
        ("169.254.169.254/32", "a metadata service"),
        ("169.254.0.0/16", "link-local"),
        ("172.16.0.0/12", _PRIVATE),
        ("192.0.0.0/24", "reserved"),
        ("192.88.99.0/24", "reserved"),
        ("192.168.0.0/16", _PRIVATE),
        ("198.18.0.0/15", "for benchmarks only"),
        ("224.0.0.0/4", "multicast"),
        ("255.255.255.255/32", "broadcast"),
        ("240.0.0.0/4", "reserved"),
    )
)
_REFUSED_6 = tuple(
    (ipaddress.IPv6Network(network), words)
    for network, words in (
        ("::/128", "unspecified"),
        ("::1/128", "loopback"),
        ("64:ff9b:1::/48", "a translated one of a local network"),
        ("2001::/23", "reserved"),
        ("fd00:ec2::254/128", "a metadata service"),
        ("fc00::/7", _PRIVATE),
        ("fe80::/10", "link-local"),
        ("fec0::/10", _PRIVATE),
        ("ff00::/8", "multicast"),
    )
)
_GLOBAL_6 = ipaddress.IPv6Network("2000::/3")

# Where an IPv4 address lies in an IPv6 address: the network, and how many bits follow the address.
_EMBEDDING = (
    (ipaddress.IPv6Network("::ffff:0:0/96"), 0),
    (ipaddress.IPv6Network("::ffff:0:0:0/96"), 0),
    (ipaddress.IPv6Network("::/96"), 0),
    (ipaddress.IPv6Network("64:ff9b::/96"), 0),
    (ipaddress.IPv6Network("2002::/16"), 80),
)
_ISATAP = (0x00005EFE, 0x02005EFE)
_NAT64 = ipaddress.IPv6Network("64:ff9b::/96")


def literal(host: str) -> Address | None:
    """Return the address that ``host`` writes, a mapped one as IPv4, or ``None``; one with a zone is none."""
    try:
        address = ipaddress.ip_address(host)
    except ValueError:
        return None
    if isinstance(address, ipaddress.IPv4Address):
        return address
    return None if address.scope_id else address.ipv4_mapped or address


def refusal(address: Address) -> str:
    """Say what an address is that no name may lead to, such as ``private``; empty for a public one."""
    if isinstance(address, ipaddress.IPv4Address):
        return _listed_4(address)
    listed = next((words for network, words in _REFUSED_6 if address in network), "")
    if listed:
        return listed
    embedded = _embedded(address)
    if embedded is not None and (words := _listed_4(embedded)):
        return f"a translated one, of {embedded}, which is {words}"
    return "" if address in _GLOBAL_6 or address in _NAT64 else "reserved"


def _listed_4(address: ipaddress.IPv4Address) -> str:
    return next((words for network, words in _REFUSED_4 if address in network), "")


def _embedded(address: ipaddress.IPv6Address) -> ipaddress.IPv4Address | None:
    for network, following in _EMBEDDING:
        if address in network:
            return ipaddress.IPv4Address(int(address) >> following & 0xFFFFFFFF)
    if int(address) >> 32 & 0xFFFFFFFF in _ISATAP:
        return ipaddress.IPv4Address(int(address) & 0xFFFFFFFF)
    return None
