"""Whose a message may be that a server on a shared pipe says of its own accord, as far as its calls tell."""

from __future__ import annotations

from collections.abc import Callable, Collection
from dataclasses import dataclass

from thv_gateway.pipes.call import Call
from thv_gateway.sessions.sessions import Session

__all__ = ["LINGER_SECONDS", "WORK", "Owners"]

LINGER_SECONDS = 10.0
"""So long a server may go on to speak of a call for which nobody waits any more; it may not have learnt of that."""

WORK = frozenset({"tools/call", "prompts/get", "resources/read"})
"""The methods during which servers ask."""

_IDLE = "ping"
"""While it answers this, a server has no reason to ask anybody anything."""

_SEVERAL = 2


@dataclass(slots=True)
class _GivenUp:
    """A call for whose answer nobody waits, while the server may go on to work on it.

    Beside other sessions of its principal its session is an owner until ``own_until``, beside those of another one
    until ``foreign_until``.
    """

    session: Session
    own_until: float
    foreign_until: float


class Owners:
    """The sessions for which a server may be at work: exactly one where it is clear who is meant.

    Among the sessions of one principal these are those with calls in flight. ``ping`` and lists do not make a session
    an owner beside others, nor does a call that waits for its client; one that was given up, and may not be over for
    the server, does. Between principals nothing is taken for granted: as long as the server may be at work for another
    one in any way, the sessions of that one are owners as well.

    :param timeout: seconds for which a server may be at work on a call.
    :param clock: returns seconds, monotonically.
    """

    def __init__(self, timeout: float, clock: Callable[[], float]) -> None:
        self._timeout = max(timeout, LINGER_SECONDS)
        self._clock = clock
        self._given_up: dict[bytes, _GivenUp] = {}
        self._principals: set[str] = set()

    def serve(self, session: Session) -> None:
        """Take note that a call is for this session."""
        if len(self._principals) < _SEVERAL:
            self._principals.add(session.owner)

    def give_up(self, call: Call) -> None:
        """Take note that nobody waits for the answer to a call."""
        if call.session is not None and call.method != _IDLE:
            now = self._clock()
            own_until = now + LINGER_SECONDS if call.method in WORK and not call.settled else now
            self._given_up[call.key] = _GivenUp(call.session, own_until, now + self._timeout)

    def settle(self, key: bytes) -> None:
        """Take note that the server has read that a call was given up; it may go on with it all the same."""
        given_up = self._given_up.get(key)
        if given_up is not None:
            given_up.own_until = self._clock()

    def forget(self, key: bytes) -> None:
        """Take note that a call is over for the server."""
        self._given_up.pop(key, None)

    def have_been_others(self, owner: str) -> bool:
        """Tell whether any call was for another principal."""
        return not self._principals <= {owner}

    def among(self, calls: Collection[Call]) -> list[Session]:
        """Return the owners, given the calls in flight."""
        everyone = [call for call in calls if call.session is not None and not call.settled]
        everyone = [call for call in everyone if not call.parked] or everyone
        working = [call for call in everyone if call.method in WORK] or everyone
        found = {id(call.session): call.session for call in working if call.session is not None}
        now = self._clock()
        found |= {id(each.session): each.session for each in self._given_up.values() if each.own_until > now}
        return list((found | self._strangers(calls, found.values())).values())

    def _strangers(self, calls: Collection[Call], sessions: Collection[Session]) -> dict[int, Session]:
        """Return the sessions of principals other than those of ``sessions`` for whom the server may be at work."""
        if not sessions or len(self._principals) < _SEVERAL:
            return {}
        now, known = self._clock(), {session.owner for session in sessions}
        self._given_up = {key: each for key, each in self._given_up.items() if each.foreign_until > now}
        busy = [call.session for call in calls if call.session is not None and call.method != _IDLE]
        busy += [each.session for each in self._given_up.values()]
        return {id(session): session for session in busy if session.owner not in known}
