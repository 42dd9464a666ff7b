"""What a profile lets a server reach: its outbound lists as rules by host and port (pure).

An entry of ``allow_host`` is ``NAME``, ``.SUFFIX`` or ``*.SUFFIX`` (what lies below it, not itself), ``*`` (any name),
an address, or a network in CIDR form; each may end in ``:PORT``, an IPv6 address then in brackets. Entries without a
port get ``allow_port``, or 80 and 443 when that is empty. ``allow_port`` alone allows any host on those ports, and
``insecure_allow_all`` any host. A name never permits a private address: that takes an entry with the address.
"""

from __future__ import annotations

import ipaddress
import re
from enum import StrEnum
from typing import TYPE_CHECKING

from thv_core.errors import InvalidRequest
from thv_core.model.document import Document

if TYPE_CHECKING:
    from thv_core.model.profile import Network

__all__ = ["DEFAULT_PORTS", "MOST_RULES", "Match", "Rule", "canonical_host", "outbound_rules", "reached_ports", "rule"]

DEFAULT_PORTS = (80, 443)
MOST_RULES = 1000
MOST_PORTS = 128
"""Each port is a listener in every server's namespace, and a packet between processes holds 253 of them."""

_LABEL = re.compile(r"(?!-)[a-z0-9_-]{1,63}(?<!-)\Z")
_NUMBER = re.compile(r"[0-9]+|0x[0-9a-f]*")
_AMBIGUOUS = frozenset("\u00df\u1e9e\u03c2\u200c\u200d")
"""Characters that IDNA 2003 and IDNA 2008 map to different names: sharp s, final sigma, and the joiners."""

_HINT = "Write api.example.com, .example.com, *, 10.1.2.3, 10.0.0.0/8, each with or without :PORT."


class Match(StrEnum):
    """How a rule compares hosts."""

    ANY = "any"
    EXACT = "exact"
    SUFFIX = "suffix"
    ADDRESS = "address"


class Rule(Document, frozen=True, kw_only=True):
    """One thing that may be reached; ``text`` is the entry as written, for people and for the log.

    ``host`` is the canonical name, the suffix without its first dot, the network in CIDR form, or empty for any.
    """

    text: str
    match: Match
    host: str
    ports: tuple[int, ...]


def outbound_rules(network: Network) -> tuple[Rule, ...]:
    """Return the rules of a profile, none for the mode ``none``.

    :raises InvalidRequest: naming the first entry that cannot be meant.
    """
    if network.mode == "none":
        return ()
    if len(network.outbound.allow_host) > MOST_RULES:
        raise InvalidRequest(f"allow_host has more than {MOST_RULES} entries", hint="Use .suffix entries.")
    rules = _rules(network)
    if len(reached_ports(rules)) > MOST_PORTS:
        raise InvalidRequest(f"more than {MOST_PORTS} ports may be reached", hint="Leave out those that nobody needs.")
    return rules


def _rules(network: Network) -> tuple[Rule, ...]:
    outbound = network.outbound
    ports = tuple(sorted({_allowed_port(port) for port in outbound.allow_port})) or DEFAULT_PORTS
    listed = tuple(rule(text, ports) for text in outbound.allow_host)
    if outbound.insecure_allow_all:
        return (*listed, Rule(text="insecure_allow_all", match=Match.ANY, host="", ports=ports))
    if outbound.allow_port and not listed:
        return (Rule(text="allow_port", match=Match.ANY, host="", ports=ports),)
    return listed


def reached_ports(rules: tuple[Rule, ...]) -> tuple[int, ...]:
    """Return every port that any rule names, sorted."""
    return tuple(sorted({port for each in rules for port in each.ports}))


def rule(text: str, ports: tuple[int, ...]) -> Rule:
    """Parse one entry of ``allow_host``; ``ports`` are those of an entry that names none.

    :raises InvalidRequest: when it cannot be meant.
    """
    host, port = _split(text)
    chosen = (_port(port, text),) if port else ports
    if host == "*":
        return Rule(text=text, match=Match.ANY, host="", ports=chosen)
    if network := _network(host):
        return Rule(text=text, match=Match.ADDRESS, host=network, ports=chosen)
    suffix = host.removeprefix("*") if host.startswith("*.") else host
    if suffix.startswith("."):
        return Rule(text=text, match=Match.SUFFIX, host=_name(suffix[1:], text), ports=chosen)
    return Rule(text=text, match=Match.EXACT, host=_name(host, text), ports=chosen)


def canonical_host(host: str) -> str:
    """Return a host name in lower case, as A-labels (RFC 3490) and without its final dot, or an empty string.

    What ends in a number is an address, in one of its spellings, and no name (RFC 1123, 2.1); nor is a name whose
    A-labels depend on the version of IDNA.
    """
    name = host.removesuffix(".").lower()
    if not name.isascii():
        if _AMBIGUOUS.intersection(name):
            return ""
        try:
            name = name.encode("idna").decode("ascii")
        except UnicodeError:
            return ""
    labels = name.split(".")
    possible = len(name) <= 253 and all(_LABEL.match(label) for label in labels)
    return name if possible and not _NUMBER.fullmatch(labels[-1]) else ""


def _split(text: str) -> tuple[str, str]:
    if "," in text:
        raise InvalidRequest(f"{text!r} is more than one entry", hint="Write each by itself: HOST:80 and HOST:443.")
    if "://" in text:
        raise InvalidRequest(f"{text!r} is a URL, and rules are by host", hint=_HINT)
    if text.startswith("["):
        host, closed, rest = text[1:].partition("]")
        if closed and ":" in host and (not rest or rest.startswith(":")):
            return host, _written_port(rest[1:], text) if rest else ""
        raise InvalidRequest(f"{text!r} does not say what may be reached", hint=_HINT)
    if text.count(":") > 1:
        return text, ""
    host, colon, port = text.partition(":")
    return host, _written_port(port, text) if colon else ""


def _written_port(port: str, text: str) -> str:
    if not port:
        raise InvalidRequest(f"{text!r} ends in a colon", hint=_HINT)
    return port


def _network(host: str) -> str:
    if "%" in host:
        raise InvalidRequest(f"{host!r} names an interface, and a server has none", hint=_HINT)
    try:
        network = ipaddress.ip_network(host, strict=False)
    except ValueError:
        if re.fullmatch(r"[0-9.]+(?:/.*)?|.*[:/].*", host):
            raise InvalidRequest(f"{host!r} is neither an address nor a network", hint=_HINT) from None
        return ""
    if ipaddress.ip_address(host.partition("/")[0]) != network.network_address:
        raise InvalidRequest(f"{host!r} is an address within a network", hint=f"Write {network} for the whole of it.")
    return str(_unmapped(network))


def _unmapped(network: ipaddress.IPv4Network | ipaddress.IPv6Network) -> ipaddress.IPv4Network | ipaddress.IPv6Network:
    """Return the IPv4 network that one mapped into IPv6 stands for (RFC 4291, 2.5.5.2), or the network itself."""
    if isinstance(network, ipaddress.IPv6Network) and network.prefixlen >= 96:
        mapped = network.network_address.ipv4_mapped
        if mapped is not None:
            return ipaddress.IPv4Network((mapped, network.prefixlen - 96))
    return network


def _name(name: str, text: str) -> str:
    found = canonical_host(name)
    if not found:
        raise InvalidRequest(f"{text!r} does not say what may be reached", hint=_HINT)
    return found


def _allowed_port(port: int) -> int:
    if not 1 <= port <= 65535:
        raise InvalidRequest(f"{port} in allow_port is not a port from 1 to 65535", hint="Leave it out for 80 and 443.")
    return port


def _port(port: str, text: str) -> int:
    number = int(port) if port.isascii() and port.isdigit() and len(port) <= 5 else 0
    if not 1 <= number <= 65535:
        raise InvalidRequest(f"the port in {text!r} is not one from 1 to 65535", hint=_HINT)
    return number
