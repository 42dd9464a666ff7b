"""Conversations for clients of the stateless era at a server that knows sessions only: one for all who are the same."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator

from thv_core.spi.middleware import Reply
from thv_gateway.messages.assembly import quoted
from thv_gateway.messages.envelope import Envelope, own_info
from thv_gateway.messages.versions import LATEST
from thv_gateway.pipes.conversation import Conversation
from thv_gateway.pipes.private_talk import Party
from thv_gateway.pipes.private_talks import PrivateTalks, addressed
from thv_gateway.sessions.sessions import Sessions
from thv_gateway.stages.chain import Arrival

__all__ = ["PartyTalks"]


class PartyTalks:
    """See :class:`thv_gateway.servers.talks.Talks`: one conversation per principal and declared capabilities.

    :param passed: names of header fields of a client that are handed on to the server; who differs in them is another.
    """

    def __init__(self, talks: PrivateTalks, sessions: Sessions, passed: frozenset[bytes] = frozenset()) -> None:
        self._talks = talks
        self._sessions = sessions
        self._passed = passed

    async def of(self, arrival: Arrival) -> Conversation | Reply:
        """Return the conversation for whoever makes a request; a reply says why there is none."""
        message = arrival.message
        envelope = Envelope.of(message.params if message is not None else {})
        fields = tuple(each for each in arrival.headers if each[0] in self._passed)
        owner = self._sessions.owner_of(arrival.identity)
        known = hashlib.sha256(repr((owner, envelope.capabilities, fields)).encode()).hexdigest()
        params = {
            "protocolVersion": quoted(LATEST),
            "capabilities": envelope.capabilities,
            "clientInfo": envelope.info or own_info(),
        }
        talk = await self._talks.of(Party(f"modern {known}", params, fields=fields))
        if isinstance(talk, Reply):
            arrival.fault = "unavailable"
            return addressed(talk, message)
        return talk.conversation

    def __iter__(self) -> Iterator[Conversation]:
        """Return those that are open now."""
        return iter([talk.conversation for talk in self._talks])
