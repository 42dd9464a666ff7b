"""Calls in flight on one shared pipe: ids and progress tokens of our own, and the way back to the client's.

Ids carry a prefix drawn per process, so that an answer meant for a killed predecessor is recognised and dropped.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping
from itertools import islice

from thv_core.model.egress import CallInFlight
from thv_core.model.message import Kind, Message
from thv_gateway.messages.answers import CANCELLED, INTERNAL_ERROR, failure
from thv_gateway.messages.assembly import with_members
from thv_gateway.messages.parsing import members
from thv_gateway.pipes.call import Call
from thv_gateway.pipes.mailbox import Mailbox
from thv_gateway.pipes.owners import WORK, Owners
from thv_gateway.pipes.pressure import Pressure
from thv_gateway.relays.flights import MOST_NAMED, short
from thv_gateway.sessions.sessions import Session

__all__ = ["MAX_CALLS", "Calls"]

MAX_CALLS = 1024
MAX_LATE = 1024
CANCEL_SECONDS = 1.0


class Calls:
    """The calls in flight to one incarnation, at most :data:`MAX_CALLS`, and what ends them.

    :param prefix: distinguishes this process from its predecessors.
    :param timeout: seconds of silence after which a client's call is overdue.
    :param clock: returns seconds, monotonically.
    """

    def __init__(self, prefix: str, timeout: float, clock: Callable[[], float]) -> None:
        self._prefix = prefix.encode()
        self._timeout = timeout
        self._clock = clock
        self._count = 0
        self._open: dict[bytes, Call] = {}
        self._late: dict[bytes, None] = {}
        self._owners = Owners(timeout, clock)
        self._settling: dict[bytes, bytes] = {}
        self.pressure = Pressure()

    def __len__(self) -> int:
        return len(self._open)

    def __iter__(self) -> Iterator[Call]:
        return iter(self._open.values())

    @property
    def full(self) -> bool:
        """Whether a new call has to be refused."""
        return len(self._open) >= MAX_CALLS

    def fresh_id(self) -> bytes:
        """Return a raw id that this server has not seen."""
        self._count += 1
        return b'"%s.%d"' % (self._prefix, self._count)

    def begin(self, message: Message, session: Session | None, key: bytes = b"") -> tuple[Call, Message]:
        """Register a call and return it with the message for the server: our id and our progress token in it.

        A call without a session is the gateway's own and never overdue.
        """
        call = Call(key or self.fresh_id(), message, session, Mailbox(self.pressure))
        params = message.params
        if "_meta" in params:
            params = _with_own_token(params, call)
        self._open[call.key] = call
        if session is not None:
            session.calls += 1
            call.deadline = self._clock() + self._timeout
            self._owners.serve(session)
        return call, Message(
            kind=Kind.REQUEST, id=call.key, method=message.method, params=params, has_params=message.has_params
        )

    def end(self, call: Call) -> None:
        """Forget a call; what the server still says of it is dropped."""
        if not self._close(call):
            return
        self.disregard(call.key)
        self._owners.give_up(call)

    def disregard(self, key: bytes) -> None:
        """Note that nobody waits for an answer that the server may still give, which is no fault of it."""
        while len(self._late) >= MAX_LATE:
            oldest = next(iter(self._late))
            del self._late[oldest]
            self._owners.forget(oldest)
            self._settling.pop(oldest, None)
        self._late[key] = None

    def settle_with(self, key: bytes, call: Call) -> None:
        """Let a call be over for the server as soon as it answers the request ``key``, which it was sent later."""
        self._settling[key] = call.key

    def is_late(self, key: bytes) -> bool:
        """Tell whether one of our ids is that of a call for whose answer nobody waits any more."""
        return key in self._late

    def find(self, key: bytes) -> Call | None:
        """Return the call of one of our ids or progress tokens."""
        return self._open.get(key)

    def answered(self, message: Message) -> Call | None:
        """Hand a response of the server to its call, and return that; ``None`` when it answers none."""
        call = self._open.get(message.id)
        self._owners.forget(message.id)
        self._settle(self._settling.pop(message.id, b""))
        if call is None:
            return None
        self._close(call)
        call.mailbox.put(Message(kind=Kind.RESPONSE, id=call.identifier, result=message.result, error=message.error))
        return call

    def fail(self, call: Call, status: int, code: int, text: str, fault: str) -> None:
        """End a call with an error of the gateway."""
        self.end(call)
        call.status = status
        call.fault = fault
        call.mailbox.put(failure(call.identifier, code, text))

    def fail_all(self, status: int, text: str, fault: str) -> None:
        """End every call in flight with an error of the gateway."""
        for call in list(self._open.values()):
            self.fail(call, status, INTERNAL_ERROR, text, fault)

    def of_client(self, session: Session, identifier: bytes) -> Call | None:
        """Return the call that a client knows by its own raw id."""
        return next((call for call in self if call.session is session and call.identifier == identifier), None)

    def stir(self, call: Call) -> None:
        """Note a sign of life: the silence of the server begins anew."""
        if not call.cancelled:
            call.deadline = self._clock() + self._timeout

    def stir_all(self) -> None:
        """Note that the server could not give any sign of life."""
        for call in self:
            if call.session is not None:
                self.stir(call)

    def nudge(self) -> None:
        """Let go on those who wait for a first message for too long."""
        now = self._clock()
        for call in self:
            if call.impatient <= now:
                call.impatient = math.inf
                call.mailbox.nudge()

    def cancel(self, call: Call) -> None:
        """Give the server a moment to answer a cancelled call; :meth:`overdue` ends it afterwards."""
        call.cancelled = True
        call.deadline = self._clock() + CANCEL_SECONDS

    def overdue(self) -> list[Call]:
        """End the calls whose deadline has passed; return those that the server has to be told about."""
        now = self._clock()
        late = [call for call in self if call.deadline <= now]
        for call in late:
            if call.cancelled:
                self.fail(call, 200, CANCELLED, "Request cancelled", "cancelled")
            else:
                self.fail(call, 504, INTERNAL_ERROR, "The server did not answer in time", "timeout")
        return [call for call in late if not call.cancelled]

    def _close(self, call: Call) -> bool:
        if self._open.pop(call.key, None) is None:
            return False
        if call.session is not None:
            call.session.calls -= 1
        return True

    def _settle(self, key: bytes) -> None:
        call = self._open.get(key)
        if call is not None:
            call.settled = True
        self._owners.settle(key)

    def owners(self) -> list[Session]:
        """Return the sessions that may be meant by what the server says of its own accord; see :class:`Owners`."""
        return self._owners.among(self._open.values())

    def has_served_another(self, owner: str) -> bool:
        """Tell whether any call was for another principal."""
        return self._owners.have_been_others(owner)

    def named(self) -> list[CallInFlight]:
        """Return the first calls of clients, for the record of what the server reaches meanwhile."""
        calls = ((call, call.session) for call in self if call.session is not None)
        return [
            CallInFlight(method=call.method, name=call.name, session=short(session.id), user=call.user)
            for call, session in islice(calls, MOST_NAMED)
        ]

    def latest(self, session: Session) -> Call | None:
        """Return the session's youngest call, on whose stream a message of the server travels."""
        mine = [call for call in self if call.session is session]
        working = [call for call in mine if call.method in WORK]
        return next(reversed(working or mine), None)


def _with_own_token(params: Mapping[str, bytes], call: Call) -> Mapping[str, bytes]:
    meta = members(params["_meta"])
    call.token = meta.get("progressToken", b"")
    if not call.token:
        return params
    return {**params, "_meta": with_members({**meta, "progressToken": call.key})}
