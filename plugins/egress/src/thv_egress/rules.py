"""The rules of a profile, compiled once into tables that are asked for each connection (pure)."""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Sequence
from typing import NamedTuple

from thv_core.spi import Match, Rule, canonical_host
from thv_egress.addresses import Address, literal, refusal

__all__ = ["Decision", "Rules", "canonical_target"]

_NUMERIC = re.compile(r"(?:.*\.)?(?:[0-9]+|0x[0-9a-f]*)\Z")


class Decision(NamedTuple):
    """Whether something may be reached: the ``rule`` as it is written in the profile, or else the ``reason``."""

    rule: str = ""
    reason: str = ""

    @property
    def allowed(self) -> bool:
        """Whether a rule allows it."""
        return bool(self.rule)


def canonical_target(host: str) -> str:
    """Return an address or a host name in its one form, or an empty string when it is neither.

    A name that ends in a number is none, because resolvers read ``0x7f.1`` and ``2130706433`` as addresses.
    """
    address = literal(host)
    if address is not None:
        return str(address)
    name = canonical_host(host) if host.isascii() else ""
    return "" if _NUMERIC.match(name) else name


class Rules:
    """Decides by host and port; hosts are given in their canonical form."""

    __slots__ = ("_addresses", "_any", "_exact", "_suffix")

    def __init__(self, rules: Sequence[Rule]) -> None:
        self._any: dict[int, str] = {}
        self._exact: dict[str, dict[int, str]] = {}
        self._suffix: dict[str, dict[int, str]] = {}
        self._addresses: list[tuple[ipaddress.IPv4Network | ipaddress.IPv6Network, frozenset[int], str]] = []
        for each in rules:
            if each.match is Match.ADDRESS:
                self._addresses.append((ipaddress.ip_network(each.host), frozenset(each.ports), each.text))
                continue
            table = self._table(each)
            for port in each.ports:
                table.setdefault(port, each.text)

    def _table(self, rule: Rule) -> dict[int, str]:
        if rule.match is Match.ANY:
            return self._any
        tables = self._exact if rule.match is Match.EXACT else self._suffix
        return tables.setdefault(rule.host, {})

    def decide(self, host: str, port: int) -> Decision:
        """Decide whether ``host`` may be reached on ``port``."""
        address = literal(host)
        if address is not None:
            return self._decide_address(address, port)
        ports: set[int] = set()
        for table in self._tables(host):
            if port in table:
                return Decision(rule=table[port])
            ports.update(table)
        if not ports:
            return Decision(reason="no rule of the profile names this host")
        listed = ", ".join(str(each) for each in sorted(ports)[:8])
        return Decision(reason=f"the profile allows this host on port {listed} only")

    def knows(self, name: str) -> bool:
        """Whether a rule names this host on any port."""
        return any(self._tables(name))

    def covering(self, address: Address, port: int) -> str:
        """Return the text of the rule that names an address itself, or an empty string."""
        return next(
            (text for network, ports, text in self._addresses if port in ports and address in network),
            "",
        )

    def _tables(self, name: str) -> list[dict[int, str]]:
        tables = [self._exact.get(name)]
        rest = name
        while rest:
            rest = rest.partition(".")[2]
            tables.append(self._suffix.get(rest))
        return [table for table in (*tables, self._any) if table]

    def _decide_address(self, address: Address, port: int) -> Decision:
        if covering := self.covering(address, port):
            return Decision(rule=covering)
        if port not in self._any:
            return Decision(reason="no rule of the profile names this address and port")
        if words := refusal(address):
            return Decision(reason=f"the address is {words}, and no rule of the profile names it")
        return Decision(rule=self._any[port])
