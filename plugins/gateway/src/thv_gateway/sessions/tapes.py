"""What streams have said already, kept for clients whose connection breaks (MCP 2025-03-26, resumability).

An event's id names its stream and its place there: ``STREAM.NUMBER``. A client that asks for more after an event gets
what came after it on that stream, and nothing of any other one. The name of the stream of a call ends with ``c``.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable
from secrets import token_hex
from typing import Protocol

__all__ = ["MAX_EVENTS", "MAX_KEPT", "MAX_SIZE", "MAX_TAPES", "Tape", "Tapes", "is_of_call"]

MAX_EVENTS = 512
"""So many events of one stream are kept, the last ones."""

MAX_SIZE = 1024 * 1024
"""So many bytes of them; a longer event is kept as long as it is the last one."""

MAX_TAPES = 64
"""So many streams of one session are kept."""

MAX_KEPT = 64 * 1024 * 1024
"""So many bytes of all sessions of a workload together."""

_LONGEST_NUMBER = 18
_OF_CALL = b"c"


class Owner(Protocol):
    """A session, as far as streams are its."""

    tapes: dict[bytes, Tape] | None


class Tape:
    """What one stream has said; ``is_over`` tells that it will say no more.

    ``reader`` is the connection by which a client has resumed it, the last one of several; ``cut`` ends the connection
    on which it began, and ``left`` is called when a reader goes away before the end.

    :param name: unlike that of any other stream, without a full stop.
    """

    def __init__(self, name: bytes, owner: Owner, grown: Callable[[int], None]) -> None:
        self.name = name
        self.owner = owner
        self.is_over = False
        self.size = 0
        self.reader: object = None
        self.cut: Callable[[], None] = _nothing
        self.left: Callable[[], None] = _nothing
        self._grown = grown
        self._events: deque[tuple[int, bytes]] = deque()
        self._count = 0
        self._is_erased = False
        self._news = asyncio.Event()

    def record(self, lines: bytes) -> bytes:
        """Keep an event, given as its lines; return it as it is sent, with its id."""
        self._count += 1
        event = b"id: %s.%d\r\n%s" % (self.name, self._count, lines)
        if self._is_erased:
            return event
        self._events.append((self._count, event))
        self._resize(len(event))
        while len(self._events) > 1 and (len(self._events) > MAX_EVENTS or self.size > MAX_SIZE):
            self._resize(-len(self._events.popleft()[1]))
        self.stir()
        return event

    def after(self, number: int) -> list[tuple[int, bytes]]:
        """Return the events that came after one, as far as they are kept, with their numbers."""
        if number >= self._count:
            return []
        return [event for event in self._events if event[0] > number]

    def has_lost(self, number: int) -> bool:
        """Tell whether something that came after an event is kept no more."""
        return number < (self._events[0][0] - 1 if self._events else self._count)

    async def news(self, number: int) -> None:
        """Return as soon as there is an event after this one, or anything else to take note of."""
        if number >= self._count and not self.is_over:
            self._news.clear()
            await self._news.wait()

    def take_over(self, reader: object) -> None:
        """Note by whom the stream is read from now on; whoever did so until now stops."""
        self.reader = reader
        self.cut()
        self.stir()

    def end(self) -> None:
        """Take note that nothing more is to come."""
        self.is_over = True
        self.cut = self.left = _nothing
        self.stir()

    def erase(self) -> None:
        """Forget every event, and keep none any more."""
        self._is_erased = True
        self._events.clear()
        self._resize(-self.size)
        self.end()

    def stir(self) -> None:
        """Let those look who wait for news."""
        self._news.set()

    def _resize(self, size: int) -> None:
        self.size += size
        self._grown(size)


class Tapes:
    """The tapes of all sessions of a workload, those that began first go first when there are too many."""

    def __init__(self) -> None:
        self._prefix = token_hex(4).encode()
        self._count = 0
        self._kept: dict[bytes, Tape] = {}
        self._size = 0

    def __len__(self) -> int:
        return len(self._kept)

    def begin(self, owner: Owner, *, of_call: bool = False) -> Tape:
        """Begin the tape of one stream of a session, its own or that of a call."""
        mine = owner.tapes = owner.tapes if owner.tapes is not None else {}
        while len(mine) >= MAX_TAPES:
            self.drop(next((tape for tape in mine.values() if tape.is_over), next(iter(mine.values()))))
        self._count += 1
        name = b"%s-%d%s" % (self._prefix, self._count, _OF_CALL if of_call else b"")
        tape = mine[name] = self._kept[name] = Tape(name, owner, self._grown)
        return tape

    def find(self, owner: Owner, event: bytes) -> tuple[Tape, int] | None:
        """Return the tape of a session on which an event is, and its number there."""
        name, _, number = event.rpartition(b".")
        tape = (owner.tapes or {}).get(name)
        if tape is None or not number.isdigit() or len(number) > _LONGEST_NUMBER:
            return None
        return tape, int(number)

    def drop(self, tape: Tape) -> None:
        """Forget a tape."""
        if self._kept.pop(tape.name, None) is not None and tape.owner.tapes is not None:
            tape.owner.tapes.pop(tape.name, None)
        tape.erase()

    def forget(self, owner: Owner) -> None:
        """Forget the tapes of a session that is over."""
        for tape in list((owner.tapes or {}).values()):
            self.drop(tape)
        owner.tapes = None

    def _grown(self, size: int) -> None:
        self._size += size
        while self._size > MAX_KEPT and len(self._kept) > 1:
            self.drop(next(iter(self._kept.values())))


def is_of_call(event: bytes) -> bool:
    """Tell whether an event was on the stream of a call, of this gateway or a former one."""
    return event.rpartition(b".")[0].endswith(_OF_CALL)


def _nothing() -> None:
    """Do nothing."""
