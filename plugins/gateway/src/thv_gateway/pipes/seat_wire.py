"""A wire over the pipes of a seat: the process of a server that is there for one session."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable

from thv_core.model.message import Message
from thv_core.model.route import Seat
from thv_gateway.messages.assembly import assemble
from thv_gateway.messages.parsing import parse_line
from thv_gateway.pipes.noise import Noise
from thv_gateway.pipes.pipe import Locked, Pipe, ServerAbsent
from thv_gateway.pipes.private_talk import Party
from thv_gateway.pipes.seats import Seats
from thv_gateway.process.proxylog import ProxyLog
from thv_gateway.wires.way import Take, at_once, nobody

__all__ = ["SeatWire", "seated"]

_FIRST_PAUSE = 0.01
_LONGEST_PAUSE = 0.25


class SeatWire:
    """See :class:`thv_gateway.pipes.private_talk.PrivateWire`.

    :param name: of the workload, for sentences.
    :raises Locked: when another process reads the pipes; also ``ServerAbsent``.
    """

    def __init__(self, seat: Seat, name: str, log: ProxyLog, *, known: bool) -> None:
        self.take: Take = nobody
        self.rest: Callable[[], float] = at_once
        self.on_end: Callable[[str], None] = nobody
        self.incarnation = seat.incarnation
        self._name = name
        self._log = log
        self._noise = Noise(asyncio.get_running_loop().time)
        self._pipe = Pipe(self._line, self._ended, self._resting)
        self._pipe.open(seat.stdin, seat.stdout, seat.lock)
        if known:
            # Ends a line that a killed predecessor left half written; what it half read is skipped as noise.
            self._pipe.write(b"")

    @property
    def congested(self) -> bool:
        """Whether a new call has to be refused."""
        return self._pipe.congested

    def send(self, message: Message) -> None:
        """Send one message."""
        self._pipe.write(assemble(message))

    async def leave(self) -> None:
        """Close: control ends the process once nobody wants its seat any more."""
        self.close()

    def close(self) -> None:
        """Let go of the process without disturbing it."""
        self._pipe.close()

    def _line(self, line: bytes) -> None:
        message = parse_line(line)
        if message is None:
            self._noise.note(line)
            if line.strip():
                self._log.write("noise", f"{len(line)} bytes on the standard output of a seat that are not MCP")
        elif not self.take(message, b""):
            self._noise.in_vain(line)

    def _resting(self) -> float:
        return max(self._noise.rest(), self.rest())

    def _ended(self, word: str) -> None:
        self.on_end(f"{self._name} ended" if word == "closed" else f"{self._name} wrote a line that is too long")


async def seated(party: Party, seats: Seats, name: str, log: ProxyLog, known: Callable[[str], bool]) -> SeatWire:
    """Want the seat of a party, and return a wire to it as soon as there is one; who calls bounds the time.

    :param known: tells whether the process of an incarnation was initialised before.
    """
    seats.want(party.name)
    pause = _FIRST_PAUSE
    while True:
        seat = seats.find(party.name)
        if seat is None:
            await seats.news()
            continue
        with contextlib.suppress(Locked, ServerAbsent):
            return SeatWire(seat, name, log, known=known(seat.incarnation))
        await asyncio.sleep(pause)
        pause = min(pause * 2, _LONGEST_PAUSE)
