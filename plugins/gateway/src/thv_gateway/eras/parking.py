"""Calls that wait until their client has answered what the server asks (MCP 2026-07-28, multi round-trip requests).

``requestState`` is what a client gives back: opaque, signed with the key of the gateway, good for one retry of the same
request by the same principal, and for no longer than a call may take.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from thv_gateway.sessions.sessions import Sessions

if TYPE_CHECKING:
    from thv_gateway.eras.work import Work

__all__ = ["MAX_PARKED", "Binding", "Parking"]

MAX_PARKED = 256
"""So many calls of one incarnation wait at once."""

_LONGEST = 1024

Binding = tuple[str, str, str]
"""The principal, the method, and the tool, prompt or resource of a request: a retry has the same."""


@dataclass(slots=True)
class _Place:
    work: Work
    binding: Binding
    expiry: asyncio.TimerHandle = field(repr=False)


class Parking:
    """The parked calls of one incarnation.

    :param seconds: how long a call waits; after that it is given up.
    """

    def __init__(self, sessions: Sessions, seconds: float) -> None:
        self._sessions = sessions
        self._seconds = seconds
        self._places: dict[str, _Place] = {}

    def __len__(self) -> int:
        return len(self._places)

    @property
    def full(self) -> bool:
        """Whether no further call can wait."""
        return len(self._places) >= MAX_PARKED

    def park(self, work: Work, binding: Binding, expired: Callable[[], None]) -> str:
        """Let a call wait, and return its ``requestState``; ``expired`` is called when nobody came for it."""
        nonce = self._sessions.nonce()

        def expire() -> None:
            if self._places.pop(nonce, None) is not None:
                expired()

        expiry = asyncio.get_running_loop().call_later(self._seconds, expire)
        self._places[nonce] = _Place(work, binding, expiry)
        return self._sessions.seal(nonce)

    def has(self, state: str) -> bool:
        """Tell whether a call waits here under this ``requestState``."""
        return self._nonce(state) in self._places

    def find(self, state: str, binding: Binding) -> Work | None:
        """Return the call that waits under a state; ``None`` for a foreign, forged or expired one."""
        place = self._places.get(self._nonce(state))
        return place.work if place is not None and place.binding == binding else None

    def leave(self, state: str) -> None:
        """Let the call of a state wait no longer: it goes on."""
        place = self._places.pop(self._nonce(state), None)
        if place is not None:
            place.expiry.cancel()

    def clear(self) -> list[Work]:
        """Let no call wait any more, and return those that did."""
        places, self._places = list(self._places.values()), {}
        for place in places:
            place.expiry.cancel()
        return [place.work for place in places]

    def _nonce(self, state: str) -> str:
        return self._sessions.unseal(state) if len(state) <= _LONGEST else ""
