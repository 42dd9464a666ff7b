"""The record of one outlet: who did it, what it was answering meanwhile, and how floods stay readable.

A server that is denied in a loop must not push everything else out of a record of bounded size. Equal look-ups within
:data:`WINDOW` become one record that counts them, and so do equal connections after the first :data:`TOLD_EACH`.
"""

from __future__ import annotations

import asyncio
import time
from dataclasses import dataclass, field

import msgspec

from thv_core.spi import CallInFlight, EgressRecord, Outlet, Verdict, Way
from thv_egress.recording import Recorder

__all__ = ["Attempt", "Ledger"]

WINDOW = 10.0
"""Seconds in which equal denials are counted instead of told again."""

SETTLE = 0.5
"""Seconds until a denied look-up is told, because resolvers ask for both kinds of address at once."""

TOLD_EACH = 20
MOST_KINDS = 512
"""How many different denials a window tells before the rest is counted together."""

OTHERS = "*"

_Kind = tuple[Way, Verdict, str, int, str, tuple[CallInFlight, ...]]


@dataclass(frozen=True)
class Attempt:
    """One attempt to reach something, at its begin."""

    way: Way
    host: str
    port: int = 0
    calls: tuple[CallInFlight, ...] = ()
    at: float = field(default_factory=time.time)
    started: float = field(default_factory=time.monotonic)


class Ledger:
    """Writes down what one incarnation attempted."""

    __slots__ = ("_outlet", "_recorder", "_timers", "_told", "_waiting")

    def __init__(self, outlet: Outlet, recorder: Recorder) -> None:
        self._outlet, self._recorder = outlet, recorder
        self._told: dict[_Kind, int] = {}
        self._waiting: dict[_Kind, tuple[EgressRecord, int]] = {}
        self._timers: list[asyncio.TimerHandle] = []

    @property
    def workload(self) -> str:
        """The name of the workload."""
        return self._outlet.workload

    @property
    def usable(self) -> bool:
        """Whether the record can be written; nothing new may begin while it cannot."""
        return not self._recorder.failing

    def attempt(self, way: Way, host: str, port: int = 0) -> Attempt:
        """Note that something is attempted, with the calls that are in flight now."""
        return Attempt(way=way, host=host, port=port, calls=tuple(self._outlet.calls()))

    def deny(self, attempt: Attempt, reason: str) -> None:
        """Record that an attempt was not allowed."""
        self.add(attempt, Verdict.DENIED, reason=reason)

    def add(self, attempt: Attempt, verdict: Verdict, **details: str | int) -> None:
        """Record how an attempt ended; ``details`` are further fields of the record."""
        record = EgressRecord(
            at=attempt.at,
            workload=self._outlet.workload,
            incarnation=self._outlet.incarnation,
            way=attempt.way,
            verdict=verdict,
            host=attempt.host,
            port=attempt.port,
            seconds=round(time.monotonic() - attempt.started, 6),
            calls=attempt.calls,
        )
        record = msgspec.structs.replace(record, **details)
        if verdict is Verdict.ALLOWED:
            self._recorder.write(record)
        else:
            self._tell(record)

    def close(self) -> None:
        """Write what was counted, at once."""
        self._end_window()
        self._recorder.flush()

    def _tell(self, record: EgressRecord) -> None:
        kind = (record.way, record.verdict, record.host, record.port, record.reason, record.calls)
        if kind not in self._told and len(self._told) >= MOST_KINDS:
            record = msgspec.structs.replace(record, host=OTHERS, port=0, reason="too many different ones", calls=())
            kind = (record.way, record.verdict, OTHERS, 0, record.reason, ())
        if not self._timers:
            self._timers.append(asyncio.get_running_loop().call_later(WINDOW, self._end_window))
        told = self._told.get(kind, 0)
        self._told[kind] = told + 1
        if record.way is not Way.DNS and told < TOLD_EACH:
            self._recorder.write(record)
            return
        first, times = self._waiting.get(kind, (record, 0))
        self._waiting[kind] = first, times + 1
        if not told:
            self._timers.append(asyncio.get_running_loop().call_later(SETTLE, self._write_first, kind))

    def _write_first(self, kind: _Kind) -> None:
        waiting = self._waiting.pop(kind, None)
        if waiting is not None:
            self._write(*waiting)

    def _end_window(self) -> None:
        for timer in self._timers:
            timer.cancel()
        self._timers.clear()
        self._told.clear()
        for waiting in self._waiting.values():
            self._write(*waiting)
        self._waiting.clear()

    def _write(self, first: EgressRecord, times: int) -> None:
        self._recorder.write(msgspec.structs.replace(first, times=times))
