"""One subscription at a server of the stateless era that serves everyone: begun anew when what is wanted changes.

Source: MCP 2026-07-28, ``subscriptions/listen``. The former one is ended when the new one was acknowledged, and only
the newest that was acknowledged is heard, so that nothing is missed and nothing told twice.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable
from dataclasses import dataclass

import msgspec
from msgspec.structs import replace

from thv_core.model.message import Kind, Message
from thv_gateway.messages.answers import INVALID_PARAMS, METHOD_NOT_FOUND, failure
from thv_gateway.messages.assembly import with_members
from thv_gateway.messages.envelope import unreserved
from thv_gateway.messages.parsing import members
from thv_gateway.pipes.call import Call
from thv_gateway.pipes.modern_conversation import LISTEN, Ear, ModernConversation

__all__ = ["ACKNOWLEDGE_SECONDS", "Listening"]

ACKNOWLEDGE_SECONDS = 10.0
FIRST_PAUSE = 0.5
LONGEST_PAUSE = 60.0

_ACKNOWLEDGED = "notifications/subscriptions/acknowledged"
_URIS = "resourceSubscriptions"

_UNTOLD = failure(b"", INVALID_PARAMS, "The server tells no updates of it").error
_NOT_BEGUN = failure(b"", INVALID_PARAMS, "The server did not begin the subscription").error

_texts = msgspec.json.Decoder(list[str])

Settled = Callable[[bytes], None]
"""Called with the raw error why a resource cannot be subscribed to, or with nothing."""


@dataclass(frozen=True, slots=True)
class _Filter:
    kinds: frozenset[str] = frozenset()
    uris: frozenset[str] = frozenset()

    def params(self) -> dict[str, bytes]:
        chosen = dict.fromkeys(sorted(self.kinds), b"true")
        uris = {_URIS: msgspec.json.encode(sorted(self.uris))} if self.uris else {}
        return {"notifications": with_members(chosen | uris)}


_NOTHING = _Filter()


class Listening:
    """What all who share one conversation want to be told, as one subscription.

    :param told: called with each notification, without the name of the subscription.
    """

    def __init__(self, talk: ModernConversation, told: Callable[[Message], None]) -> None:
        self._talk = talk
        self._told = told
        self._loop = asyncio.get_running_loop()
        self._wanted = self._held = self._sought = _NOTHING
        self._current: Call | None = None
        self._coming: Call | None = None
        self._waiting: list[tuple[str, Settled]] = []
        self._refused = b""
        self._pause = FIRST_PAUSE
        self._due: asyncio.Handle | None = None

    def want(self, kinds: Iterable[str]) -> None:
        """Ask for these kinds of changes, as the filter names them."""
        self._wanted = _Filter(frozenset(kinds), self._wanted.uris)
        self._soon()

    def add(self, uri: str, settled: Settled) -> None:
        """Ask for the updates of a resource; ``settled`` is called once it is known whether the server tells them."""
        if self._refused or uri in self._held.uris:
            settled(self._refused)
            return
        self._waiting.append((uri, settled))
        self._wanted = _Filter(self._wanted.kinds, self._wanted.uris | {uri})
        self._soon()

    def remove(self, uri: str) -> None:
        """Ask for the updates of a resource no more."""
        self._wanted = _Filter(self._wanted.kinds, self._wanted.uris - {uri})
        self._soon()

    def close(self) -> None:
        """Listen to nothing any more, without a word to the server."""
        self._later(None)
        for call in (self._current, self._coming):
            if call is not None:
                self._talk.calls.end(call)
        self._current = self._coming = None
        self._waiting.clear()

    def _soon(self) -> None:
        if self._coming is None:
            self._later(self._loop.call_soon(self._arrange))

    def _later(self, handle: asyncio.Handle | None) -> None:
        if self._due is not None:
            self._due.cancel()
        self._due = handle

    def _arrange(self) -> None:
        wanted = self._wanted
        if wanted == self._held or self._refused:
            return
        if wanted == _NOTHING:
            self._switch(None, _NOTHING)
            return
        request = Message(kind=Kind.REQUEST, id=b"0", method=LISTEN, params=wanted.params(), has_params=True)
        call, outgoing = self._talk.begin(request, None)
        call.mailbox = Ear(lambda message: self._heard(call, message))
        self._coming, self._sought = call, wanted
        self._later(self._loop.call_later(ACKNOWLEDGE_SECONDS, self._overdue))
        self._talk.send(outgoing)

    def _switch(self, call: Call | None, held: _Filter) -> None:
        former, self._current, self._held = self._current, call, held
        if former is not None:
            self._talk.calls.end(former)
            self._talk.tell_cancelled(former)

    def _heard(self, call: Call, message: Message) -> None:
        if message.kind is Kind.RESPONSE:
            self._ended(call, message)
        elif call is self._coming and message.method == _ACKNOWLEDGED:
            self._acknowledged(call, message)
        elif call is self._current and message.method != _ACKNOWLEDGED:
            self._pause = FIRST_PAUSE
            self._told(_unnamed(message))

    def _acknowledged(self, call: Call, message: Message) -> None:
        self._coming = None
        self._later(None)
        granted = _granted(message, self._sought)
        # What was not granted is not asked for again at once; it is with the next change.
        self._switch(call, self._sought)
        refused = self._sought.uris - granted
        self._wanted = _Filter(self._wanted.kinds, self._wanted.uris - refused)
        self._held = _Filter(self._held.kinds, self._held.uris - refused)
        self._settle(self._sought.uris, _UNTOLD, granted)
        self._soon()

    def _settle(self, asked: frozenset[str], error: bytes, granted: frozenset[str] = frozenset()) -> None:
        ready = [each for each in self._waiting if each[0] in asked]
        self._waiting = [each for each in self._waiting if each[0] not in asked]
        for uri, settled in ready:
            settled(b"" if uri in granted else error)

    def _ended(self, call: Call, message: Message) -> None:
        """Take note that a subscription ended, or did not begin; it is tried again later and later."""
        if call is self._coming:
            self._coming = None
            error = message.error or _NOT_BEGUN
            self._wanted = _Filter(self._wanted.kinds, self._wanted.uris - {uri for uri, _ in self._waiting})
            if members(error).get("code") == b"%d" % METHOD_NOT_FOUND:
                self._refused = error
            self._settle(frozenset(uri for uri, _ in self._waiting), error)
        elif call is self._current:
            self._current, self._held = None, _NOTHING
        if self._coming is None:
            self._later(self._loop.call_later(self._pause, self._arrange))
            self._pause = min(self._pause * 2, LONGEST_PAUSE)

    def _overdue(self) -> None:
        call = self._coming
        if call is not None:
            self._talk.calls.end(call)
            self._talk.tell_cancelled(call)
            self._ended(call, Message(kind=Kind.RESPONSE))


def _granted(message: Message, sought: _Filter) -> frozenset[str]:
    """Return the resources of which updates will be told: all, where the acknowledgement does not say."""
    told = members(message.params.get("notifications", b""))
    if not told:
        return sought.uris
    try:
        return sought.uris & frozenset(_texts.decode(told.get(_URIS, b"[]")))
    except msgspec.DecodeError:
        return frozenset()


def _unnamed(message: Message) -> Message:
    params = {name: raw for name, raw in message.params.items() if name != "_meta"}
    kept = unreserved(members(message.params.get("_meta", b"")))
    params |= {"_meta": with_members(kept)} if kept else {}
    return replace(message, params=params, has_params=bool(params))
