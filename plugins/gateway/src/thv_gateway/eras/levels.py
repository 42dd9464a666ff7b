"""How much a server logs while clients of the modern era ask for it request by request.

The era of handshakes knows one level, for everyone or for a session: it is the most verbose of those that are wanted,
and whoever wants less is told less.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections import Counter

from thv_gateway.eras.ladder import VERBOSITY
from thv_gateway.messages.assembly import quoted
from thv_gateway.pipes.conversation import Conversation
from thv_gateway.pipes.pipe import ServerAbsent
from thv_gateway.sessions.memory import Recollection

__all__ = ["Levels"]

_PATIENCE_SECONDS = 2.0
"""So long a call waits for the server to take note of its level."""


class Levels:
    """The levels that the requests in flight ask for, by conversation."""

    def __init__(self, recollection: Recollection) -> None:
        self._recollection = recollection
        self._wanted: dict[Conversation, Counter[str]] = {}

    async def want(self, talk: Conversation, level: str) -> None:
        """Ask for a level, and return when the server has taken note of it."""
        if level not in VERBOSITY or not talk.handshake.offers("logging"):
            return
        before = self._level(talk)
        self._wanted.setdefault(talk, Counter())[level] += 1
        after = self._level(talk)
        if after != before:
            with contextlib.suppress(TimeoutError, ServerAbsent):
                async with asyncio.timeout(_PATIENCE_SECONDS):
                    await talk.ask("logging/setLevel", {"level": quoted(after)})

    def leave(self, talk: Conversation, level: str) -> None:
        """Ask for a level no more."""
        wanted = self._wanted.get(talk)
        if wanted is None or not wanted[level]:
            return
        before = self._level(talk)
        wanted[level] -= 1
        if not wanted[level]:
            del wanted[level]
        if not wanted:
            del self._wanted[talk]
        after = self._level(talk)
        # There is no level for silence: when nobody wants any, nobody is told any.
        if after and after != before:
            talk.mention("logging/setLevel", {"level": quoted(after)})

    def _level(self, talk: Conversation) -> str:
        """Return the most verbose of the levels that are wanted; empty for none."""
        wanted = set(self._wanted.get(talk, ()))
        if talk.delivery.only is None:
            wanted.add(self._recollection.most_verbose())
        return next((level for level in VERBOSITY if level in wanted), "")
