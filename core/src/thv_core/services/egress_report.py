"""Sum up what servers reached, by workload, group or host. Pure."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from enum import StrEnum

import msgspec

from thv_core.model.document import Document
from thv_core.model.egress import EgressRecord, Verdict, Way

__all__ = ["By", "EgressSum", "sums"]


class By(StrEnum):
    """What records are summed up by."""

    WORKLOAD = "workload"
    GROUP = "group"
    HOST = "host"


class EgressSum(Document, frozen=True, kw_only=True):
    """What was reached in the name of one ``key``: a workload, a group, or a host.

    ``connections`` were made, ``denied`` and ``failed`` are attempts, look-ups among them. ``sent`` and ``received``
    are bytes as the servers see them. ``first_at`` and ``last_at`` are seconds since the epoch.
    """

    key: str
    connections: int = 0
    denied: int = 0
    failed: int = 0
    sent: int = 0
    received: int = 0
    first_at: float = 0.0
    last_at: float = 0.0


def sums(records: Iterable[EgressRecord], by: By, groups: Mapping[str, str]) -> list[EgressSum]:
    """Return one sum for each key, sorted by key; a look-up that was answered is no connection.

    :param groups: the group of each workload; one that is not in it was removed, and its group is ``""``.
    """
    key = _KEYS[by]
    found: dict[str, EgressSum] = {}
    for record in records:
        name = key(record, groups)
        found[name] = _with(found.get(name, EgressSum(key=name, first_at=record.at)), record)
    return [found[name] for name in sorted(found)]


def _with(total: EgressSum, record: EgressRecord) -> EgressSum:
    attempts = max(record.times, 1)
    connected = record.verdict is Verdict.ALLOWED and record.way is not Way.DNS
    return msgspec.structs.replace(
        total,
        connections=total.connections + (attempts if connected else 0),
        denied=total.denied + (attempts if record.verdict is Verdict.DENIED else 0),
        failed=total.failed + (attempts if record.verdict is Verdict.FAILED else 0),
        sent=total.sent + record.sent,
        received=total.received + record.received,
        first_at=min(total.first_at, record.at),
        last_at=max(total.last_at, record.at),
    )


_KEYS: dict[By, Callable[[EgressRecord, Mapping[str, str]], str]] = {
    By.WORKLOAD: lambda record, groups: record.workload,
    By.GROUP: lambda record, groups: groups.get(record.workload, ""),
    By.HOST: lambda record, groups: record.host,
}
