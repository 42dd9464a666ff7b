"""An HTTP server of the stateless era alone, as clients of the era of handshakes see it: one conversation for all.

It has no sessions to keep apart: those of the clients are the gateway's own, and each request says whose it is.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from thv_core.model.egress import CallInFlight
from thv_core.model.route import Route, RouteState
from thv_gateway.messages.versions import Era
from thv_gateway.pipes.conversation import Conversation
from thv_gateway.pipes.modern_conversation import ModernConversation
from thv_gateway.pipes.modern_for_legacy import Guise
from thv_gateway.pipes.private_talk import PrivateWire
from thv_gateway.pipes.talk import Talk
from thv_gateway.servers.check import Check
from thv_gateway.servers.handshake import Handshake
from thv_gateway.servers.upstream import Estate, Upstream

__all__ = ["GuisedLink"]

_SWEEP_SECONDS = 0.5
_ALONE = frozenset({Era.MODERN})
"""A server that knows the other era as well speaks for itself in it."""


@dataclass(frozen=True)
class _Open:
    wire: PrivateWire
    modern: ModernConversation
    guise: Guise

    @property
    def talks(self) -> Sequence[Talk]:
        """Return both conversations, that of the clients first."""
        return self.guise.conversation, self.modern


class GuisedLink:
    """See :class:`thv_gateway.pipes.endpoint.Piped`; the conversation is opened when somebody needs it.

    :param link: the incarnation; this is nothing without it, and has to be closed as well.
    :param wired: returns a wire to the server.
    :param tools_changed: called when the server says that its tools have changed.
    """

    def __init__(
        self,
        link: Upstream,
        route: Route,
        estate: Estate,
        wired: Callable[[], PrivateWire],
        tools_changed: Callable[[], None],
    ) -> None:
        self._link = link
        self._route = route
        self._estate = estate
        self._wired = wired
        self._tools_changed = tools_changed
        self._is_heard = False
        self._open: _Open | None = None
        self._sweeping: asyncio.TimerHandle | None = None

    @property
    def state(self) -> RouteState:
        """How far the incarnation is."""
        return self._link.state

    @property
    def reason(self) -> str:
        """Why it failed or is gone."""
        return self._link.reason

    @property
    def eras(self) -> frozenset[Era]:
        """The eras that it speaks."""
        return self._link.eras

    @property
    def tools(self) -> tuple[str, ...]:
        """The names of its tools."""
        return self._link.tools

    @property
    def checked(self) -> Check | None:
        """The last ping that it answered."""
        return None

    @property
    def notes(self) -> tuple[str, ...]:
        """Nothing of its own."""
        return ()

    @property
    def handshake(self) -> Handshake:
        """What the server said of itself."""
        return self._link.handshake

    @property
    def conversation(self) -> Conversation:
        """What is said with the server in its guise."""
        return self._opened().guise.conversation

    @property
    def at_work(self) -> bool:
        """Whether a call of a client is in flight."""
        return self._open is not None and any(talk.at_work for talk in self._open.talks)

    def in_flight(self) -> Sequence[CallInFlight]:
        """Return the first calls that were not answered."""
        return self._open.guise.conversation.calls.named() if self._open is not None else ()

    def end_streams(self) -> None:
        """End the streams of sessions; calls go on."""
        self._estate.sessions.close_streams()

    def take_over(self) -> None:
        """Hear the server from now on, and tell it what sessions asked of a former life."""
        self._is_heard = True
        if self._open is not None:
            self._hear(self._open.guise.conversation)

    def close(self, reason: str) -> None:
        """Let go of the server; calls in flight end with an error."""
        if self._sweeping is not None:
            self._sweeping.cancel()
        if self._open is not None:
            self._open.guise.close()
            for talk in self._open.talks:
                talk.fail(reason)
            self._open.wire.close()

    def _opened(self) -> _Open:
        if self._open is not None:
            return self._open
        wire, timeout = self._wired(), self._route.request_timeout
        prefix = f"{self._estate.prefix}-{self._route.incarnation.rpartition('.')[2]}"
        modern = ModernConversation(wire, self._estate, f"{prefix}m", timeout)
        opened = self._open = _Open(wire, modern, Guise.put_on(modern, self._estate, prefix, timeout))
        wire.take = modern.take
        wire.rest = lambda: max(talk.rest() for talk in opened.talks)
        modern.handshake = self.handshake
        modern.on_tools_changed = self._tools_changed
        if self.eras == _ALONE:
            opened.guise.learn(self.handshake)
        if self._is_heard:
            self._hear(opened.guise.conversation)
        self._sweep()
        return opened

    def _hear(self, conversation: Conversation) -> None:
        conversation.delivery.is_heard = True
        if self.eras == _ALONE:
            conversation.repeat()

    def _sweep(self) -> None:
        for talk in self._opened().talks:
            talk.cancel_overdue()
        seconds = min(_SWEEP_SECONDS, self._route.request_timeout / 4)
        self._sweeping = asyncio.get_running_loop().call_later(seconds, self._sweep)
