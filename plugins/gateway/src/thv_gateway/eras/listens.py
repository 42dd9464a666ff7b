"""Who listens without a session (MCP 2026-07-28, ``subscriptions/listen``), across the lives of a server."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field

import msgspec

from thv_core.model.message import Message
from thv_gateway.messages.assembly import with_members
from thv_gateway.messages.envelope import SUBSCRIPTION_ID
from thv_gateway.messages.parsing import members, text_of
from thv_gateway.pipes.mailbox import Mailbox
from thv_gateway.stages.chain import Arrival

__all__ = ["MAX_LISTENS", "Filter", "Listen", "Listens", "nobody", "stamped"]

MAX_LISTENS = 1024
"""So many listen to one workload at once; each occupies a connection."""


def nobody() -> None:
    """Let go of nothing."""


@dataclass(frozen=True, slots=True)
class Filter:
    """What one listens for: the ``lists`` that change, by method, and the ``resources``, by URI."""

    lists: frozenset[str] = frozenset()
    resources: frozenset[str] = frozenset()

    def admits(self, message: Message) -> bool:
        """Tell whether a notification was asked for."""
        if message.method == "notifications/resources/updated":
            return text_of(message.params.get("uri", b"")) in self.resources
        return message.method in self.lists


@dataclass(eq=False, slots=True)
class Listen:
    """One stream: ``identifier`` is the raw id of the request that opened it.

    ``release`` lets go of the conversation that feeds it, ``feed`` looks for another one. ``arrival`` is the request.
    """

    identifier: bytes
    filter: Filter
    arrival: Arrival
    mailbox: Mailbox = field(default_factory=Mailbox)
    release: Callable[[], None] = nobody
    feed: Callable[[], None] = nobody

    def put(self, message: Message) -> bool:
        """Take a notification if it was asked for."""
        return self.filter.admits(message) and self.mailbox.put(stamped(message, self.identifier))

    def lost(self) -> None:
        """Look for another conversation with the server."""
        self.feed()


class Listens:
    """The open streams of one workload, at most :data:`MAX_LISTENS`."""

    def __init__(self) -> None:
        self._open: dict[Listen, None] = {}

    def __iter__(self) -> Iterator[Listen]:
        return iter(list(self._open))

    @property
    def full(self) -> bool:
        """Whether no further stream can be opened."""
        return len(self._open) >= MAX_LISTENS

    def add(self, listen: Listen) -> None:
        """Take note of a stream."""
        self._open[listen] = None

    def remove(self, listen: Listen) -> None:
        """Forget a stream."""
        self._open.pop(listen, None)

    def end(self) -> None:
        """End every stream gracefully; the clients open them again."""
        for listen in self:
            listen.mailbox.close()


def stamped(message: Message, identifier: bytes) -> Message:
    """Return a notification that names the request by which it was asked for."""
    meta: Mapping[str, bytes] = {**members(message.params.get("_meta", b"")), SUBSCRIPTION_ID: identifier}
    return msgspec.structs.replace(message, params={**message.params, "_meta": with_members(meta)}, has_params=True)
