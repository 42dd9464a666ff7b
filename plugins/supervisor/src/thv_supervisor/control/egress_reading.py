"""Read what servers reached, as lines of JSON with the group of each workload, or summed up."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Generator, Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import chain

import msgspec

from thv_core.errors import ThvError
from thv_core.model.egress import EgressRecord, Verdict
from thv_core.services.egress_report import By, EgressSum, sums
from thv_core.spi.egress import Egress
from thv_core.state.store import StateStore
from thv_supervisor.control.ground import Ground

__all__ = ["Wanted", "egress_lines", "egress_sums"]

PAUSE = 0.1
"""Seconds between two looks at a log that has nothing new."""

OPEN_LIMIT = 30.0
READ_LIMIT = 120.0


@dataclass(frozen=True)
class Wanted:
    """Which records: of one workload or of all, only denied ones, only the last ``tail``, and those to come."""

    workload: str = ""
    denied: bool = False
    tail: int | None = None
    follow: bool = False


async def egress_lines(wanted: Wanted, ground: Ground) -> Generator[bytes]:
    """Return records as lines of JSON, oldest first; each has the ``group`` of its workload, empty when it is gone.

    :raises NotFound: when the workload is unknown and has left no record.
    """
    name = ground.kernel.configuration.egress

    def opened() -> Generator[bytes]:
        egress = ground.kernel.drivers.get(Egress, name)
        batches = iter(egress.records(workload=wanted.workload, follow=wanted.follow))
        # The first batch is read here, where a mistake is still an error that can be answered.
        first = next(batches, ())
        if wanted.workload and not first:
            ground.store.get(wanted.workload)
        return _told(chain([first], batches), wanted, _Groups(ground.store))

    return await ground.calls.run(f"egress {name} records", OPEN_LIMIT, opened)


async def egress_sums(by: By, workload: str, ground: Ground) -> list[EgressSum]:
    """Return one sum for each key of all that was recorded."""
    name = ground.kernel.configuration.egress
    groups = {each.name: each.config.group for each in ground.store.all()}

    def summed() -> list[EgressSum]:
        batches = ground.kernel.drivers.get(Egress, name).records(workload=workload)
        return sums(chain.from_iterable(batches), by, groups)

    return await ground.calls.run(f"egress {name} records", READ_LIMIT, summed)


class _Groups:
    """The group of each life of a workload, looked up once."""

    def __init__(self, store: StateStore) -> None:
        self._store = store
        self._known: dict[str, str] = {}

    def of(self, record: EgressRecord) -> str:
        if record.incarnation not in self._known:
            groups = {each.name: each.config.group for each in self._store.all()}
            self._known[record.incarnation] = groups.get(record.workload, "")
        return self._known[record.incarnation]


def _told(batches: Iterable[Sequence[EgressRecord]], wanted: Wanted, groups: _Groups) -> Generator[bytes]:
    try:
        for records in _chosen(batches, wanted):
            lines = [{**msgspec.to_builtins(each), "group": groups.of(each)} for each in records]
            yield msgspec.json.Encoder().encode_lines(lines)
    except ThvError as error:
        yield msgspec.json.Encoder().encode_lines([{"error": error.document()}])


def _chosen(batches: Iterable[Sequence[EgressRecord]], wanted: Wanted) -> Iterator[Sequence[EgressRecord]]:
    """Yield the wanted records of each batch; those of the past together, when only the last are wanted."""
    past: deque[EgressRecord] | None = None if wanted.tail is None else deque(maxlen=wanted.tail)
    for batch in batches:
        chosen = [each for each in batch if not wanted.denied or each.verdict is Verdict.DENIED]
        if past is None:
            yield chosen
        else:
            past.extend(chosen)
        if batch:
            continue
        if past is not None:
            yield list(past)
            past = None
        time.sleep(PAUSE)
    if past is not None:
        yield list(past)
