"""An egress for tests: the rules, the records and the promises of a real one, and names from a table.

It resolves nothing, so that a test says where a name leads, and it knows no parent proxy.
"""

from __future__ import annotations

import ipaddress
import time
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Self

import msgspec

from thv_core.errors import SettingsError
from thv_core.model.run_config import PROXY_PORT
from thv_core.spi import (
    Egress,
    EgressRecord,
    Match,
    Network,
    OpenOutlet,
    Outlet,
    OutletPlan,
    Rule,
    Surroundings,
    outbound_rules,
    reached_ports,
)
from thv_testkit.fake_outlet import FakeOutlet, Ways

__all__ = ["FakeEgress", "SocketlessEgress"]

_POOL = "11.254.0.0/16"


class FakeEgress(Egress):
    """Connects what the rules allow, below a folder of its own; ``names`` says to which address a name leads."""

    def __init__(self, folder: Path, names: Mapping[str, str] | None = None) -> None:
        self._folder = folder
        self._folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        self.names = dict(names or {})

    @classmethod
    def from_settings(cls, settings: Mapping[str, object], surroundings: Surroundings) -> Self:
        """Construct it below ``surroundings.state``; it has no settings."""
        if settings:
            raise SettingsError(f"{min(settings)} is not a setting of the fake egress", hint="It has none.")
        return cls(surroundings.state / "fake-egress")

    def plan(self, network: Network) -> OutletPlan:
        """Return the sockets for every port that the rules name."""
        rules = outbound_rules(network)
        if not rules:
            return OutletPlan()
        return OutletPlan(pool=_POOL, ports=reached_ports(rules), proxy=PROXY_PORT, dns=53)

    def open(self, outlet: Outlet) -> OpenOutlet:
        """Serve an outlet on the running event loop."""
        try:
            ways = _ByRules(outbound_rules(outlet.network), self.names, self._folder, outlet)
        except BaseException:
            for _, each in outlet.sockets:
                each.close()
            raise
        return FakeOutlet(outlet, ways)

    def records(self, *, workload: str = "", follow: bool = False) -> Iterator[Sequence[EgressRecord]]:
        """Yield what was recorded, all of it in one batch."""
        offset = 0
        while True:
            lines = _journal(self._folder)[offset:].splitlines(keepends=True)
            whole = [line for line in lines if line.endswith(b"\n")]
            offset += sum(map(len, whole))
            found = [msgspec.json.decode(line, type=EgressRecord) for line in whole]
            yield [each for each in found if workload in ("", each.workload)]
            if not follow:
                return
            time.sleep(0.02)


class SocketlessEgress(FakeEgress):
    """The egress for servers of the fake runtime, whose namespace is the host's: it plans no sockets there."""

    def plan(self, network: Network) -> OutletPlan:
        """Check the rules as any egress does, and ask for nothing."""
        super().plan(network)
        return OutletPlan()


class _ByRules(Ways):
    """The decisions for one incarnation, the addresses of its names, and its records."""

    def __init__(self, rules: tuple[Rule, ...], names: Mapping[str, str], folder: Path, outlet: Outlet) -> None:
        self._rules, self._names, self._folder, self._outlet = rules, names, folder, outlet
        self._given = folder / f"{outlet.incarnation}.names"
        self._pool = ipaddress.ip_network(outlet.plan.pool or _POOL)

    def rule_of(self, host: str, port: int = 0) -> Rule | None:
        fitting = (each for each in self._rules if _fits(each, host) and (not port or port in each.ports))
        return next(fitting, None)

    def address_of(self, host: str) -> str:
        return host if _address(host) else self._names.get(host, "")

    def given_to(self, name: str) -> str:
        given = self._read()
        if name not in given:
            given[name] = str(self._pool[len(given) + 2])
            draft = self._given.with_suffix(".draft")
            draft.write_bytes(msgspec.json.encode(given))
            draft.replace(self._given)
        return given[name]

    def name_at(self, address: str) -> str:
        return next((name for name, given in self._read().items() if given == address), address)

    def record(self, record: EgressRecord) -> None:
        with (self._folder / "records").open("ab") as journal:
            journal.write(msgspec.json.encode(record) + b"\n")

    def _read(self) -> dict[str, str]:
        try:
            return msgspec.json.decode(self._given.read_bytes(), type=dict[str, str])
        except FileNotFoundError:
            return {}


def _journal(folder: Path) -> bytes:
    try:
        return (folder / "records").read_bytes()
    except FileNotFoundError:
        return b""


def _address(host: str) -> ipaddress.IPv4Address | ipaddress.IPv6Address | None:
    try:
        return ipaddress.ip_address(host)
    except ValueError:
        return None


def _fits(rule: Rule, host: str) -> bool:
    address = _address(host)
    if rule.match is Match.ADDRESS:
        return address is not None and address in ipaddress.ip_network(rule.host)
    if rule.match is Match.ANY:
        return address is None or address.is_global
    if rule.match is Match.SUFFIX:
        return host.endswith(f".{rule.host}")
    return host == rule.host
