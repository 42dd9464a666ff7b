"""How a translator comes by the conversation in which it speaks with a server for a client."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Protocol

from thv_core.spi.middleware import Reply
from thv_gateway.pipes.conversation import Conversation
from thv_gateway.stages.chain import Arrival

__all__ = ["SharedTalk", "Talking", "Talks"]


class Talks(Protocol):
    """The conversations with one incarnation in one era."""

    async def of(self, arrival: Arrival) -> Conversation | Reply:
        """Return the conversation for whoever makes a request; a reply says why there is none.

        It is opened when there is none yet, which takes as long as a handshake, and it may serve others as well who
        are the same principal and can do the same.
        """
        ...

    def __iter__(self) -> Iterator[Conversation]:
        """Return those that are open now."""
        ...


class Talking(Protocol):
    """What has one conversation with its server, whoever asks."""

    @property
    def conversation(self) -> Conversation:
        """The conversation."""
        ...


class SharedTalk:
    """The one conversation over pipes, for everyone."""

    def __init__(self, link: Talking) -> None:
        self._link = link

    async def of(self, arrival: Arrival) -> Conversation | Reply:
        """Return it."""
        return self._link.conversation

    def __iter__(self) -> Iterator[Conversation]:
        """Return it alone."""
        return iter((self._link.conversation,))
