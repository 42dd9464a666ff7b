"""Passages: allowed connections on their way out, from the dial to the record, and a watch that they move."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Callable

from thv_core.spi import Verdict
from thv_egress import sockets
from thv_egress.dialing import Dialer, Reached, Unreachable
from thv_egress.ledger import Attempt, Ledger
from thv_egress.relaying import Allowance, Relay

__all__ = ["CLOSED", "CROWDED", "Passage", "Passages"]

SWEEPS = 4
"""How often a connection is looked at before it counts as idle: it is cut within a quarter more than its time."""

CROWDED = "the server has too many connections"
CLOSED = "the outlet was closed"
IDLE = "nothing was sent or received for too long"
SPENT = "the limit of bytes is reached"
UNRECORDED = "connections cannot be recorded at the moment"


def _nothing(reason: str) -> None:
    del reason


class Passage:
    """One allowed connection, recorded once when it ends, however it ends.

    ``moved`` returns the bytes that were sent and received; ``cut`` aborts it, whoever moves the bytes.
    """

    __slots__ = ("_attempt", "_passages", "_quiet", "_rule", "_seen", "cut", "moved", "reached")

    def __init__(self, passages: Passages, attempt: Attempt, rule: str) -> None:
        self._passages, self._attempt, self._rule = passages, attempt, rule
        self._seen, self._quiet = (0, 0), 0
        self.reached: Reached | None = None
        self.moved: Callable[[], tuple[int, int]] = lambda: (0, 0)
        self.cut: Callable[[str], None] = _nothing

    def spend(self, size: int) -> bool:
        """Count bytes that are about to flow; ``False`` when they are too many."""
        return self._passages.allowance.spend(size)

    def end(self, reason: str = "") -> None:
        """Record that the connection ended, with what kept it from ending in good order."""
        self._finish(Verdict.ALLOWED, reason, "")

    def fail(self, error: Unreachable) -> None:
        """Record that the connection was not made."""
        self._finish(error.verdict, error.reason, error.address)

    def abort(self, reason: str) -> None:
        """Cut and record a connection that has not ended, or record that it was not made."""
        if self._finish(Verdict.ALLOWED if self.reached else Verdict.FAILED, reason, ""):
            self.cut(reason)

    def sweep(self) -> None:
        """Abort the connection when nothing has moved for :data:`SWEEPS` sweeps."""
        moved = self.moved()
        self._quiet = self._quiet + 1 if moved == self._seen else 0
        self._seen = moved
        if self.reached is not None and self._quiet > SWEEPS:
            self.abort(IDLE)

    def _finish(self, verdict: Verdict, reason: str, address: str) -> bool:
        if not self._passages.forget(self):
            return False
        sent, received = self.moved()
        reached = self.reached
        self._passages.ledger.add(
            self._attempt,
            verdict,
            rule=self._rule if verdict is not Verdict.DENIED else "",
            reason=reason,
            address=reached.address if reached else address,
            via=reached.via if reached else "",
            sent=sent,
            received=received,
        )
        return True


class Passages:
    """The passages of one outlet."""

    __slots__ = ("_buffer", "_dialer", "_idle", "_open", "_timer", "allowance", "ledger")

    def __init__(self, ledger: Ledger, dialer: Dialer, allowance: Allowance, buffer: memoryview, idle: float) -> None:
        self.ledger, self.allowance = ledger, allowance
        self._dialer, self._buffer, self._idle = dialer, buffer, idle
        self._open: dict[Passage, None] = {}
        self._timer: asyncio.TimerHandle | None = None

    async def reach(self, attempt: Attempt, rule: str, *, tunnelled: bool = True) -> Passage:
        """Connect to what a rule allows.

        :raises Unreachable: when it is not connected after all, which is recorded then.
        """
        passage = Passage(self, attempt, rule)
        self._open[passage] = None
        self._watch()
        try:
            self._check()
            reached = await self._dialer.reach(attempt.host, attempt.port, tunnelled=tunnelled)
        except Unreachable as error:
            passage.fail(error)
            raise
        except BaseException:
            passage.abort(CLOSED)
            raise
        passage.reached = reached
        passage.cut = lambda reason: sockets.reset(reached.socket)
        return passage

    async def relay(self, passage: Passage, near: socket.socket, early: bytes = b"") -> None:
        """Relay between a server and what a passage reached, until the end; ``early`` was read from the server."""
        reached = passage.reached
        # It may have been aborted in the moment between.
        if reached is None or passage not in self._open:
            return
        relay = Relay(near, reached.socket, self.allowance, self._buffer)
        passage.moved = lambda: (relay.sent, relay.received)
        passage.cut = relay.cut
        try:
            passage.end(await relay.run(early, reached.early))
        finally:
            passage.abort(CLOSED)

    def forget(self, passage: Passage) -> bool:
        """Take a passage off the list; ``False`` when it was taken off before."""
        if passage not in self._open:
            return False
        del self._open[passage]
        return True

    def close(self) -> None:
        """Abort and record every passage."""
        if self._timer is not None:
            self._timer.cancel()
        for passage in list(self._open):
            passage.abort(CLOSED)

    def _check(self) -> None:
        if not self.ledger.usable:
            raise Unreachable(Verdict.FAILED, UNRECORDED)
        if self.allowance.spent:
            raise Unreachable(Verdict.DENIED, SPENT)

    def _watch(self) -> None:
        if self._timer is None:
            self._timer = asyncio.get_running_loop().call_later(self._idle / SWEEPS, self._sweep)

    def _sweep(self) -> None:
        self._timer = None
        for passage in list(self._open):
            passage.sweep()
        if self._open:
            self._watch()
