"""Answer ``subscriptions/listen`` (MCP 2026-07-28): a stream of the gateway's own, fed by what a server tells.

The first message acknowledges what is heard: what the server declared that it tells. A server of the era of handshakes
is asked for the resources by ``resources/subscribe``, once for all who want to hear of one.
"""

from __future__ import annotations

import asyncio
import contextlib
from functools import partial

import msgspec

from thv_core.model.message import Kind, Message
from thv_core.model.route import RouteState
from thv_core.spi.middleware import Reply
from thv_gateway.eras.listens import Filter, Listen, Listens, nobody, stamped
from thv_gateway.eras.rounds import PING, SILENCE_SECONDS
from thv_gateway.messages.answers import INTERNAL_ERROR, INVALID_PARAMS, failure, refusal
from thv_gateway.messages.assembly import quoted, with_members
from thv_gateway.messages.envelope import SUBSCRIPTION_ID
from thv_gateway.messages.parsing import members
from thv_gateway.pipes.conversation import Conversation
from thv_gateway.pipes.subscriptions import MAX_URI
from thv_gateway.servers.handshake import UNREADABLE, Handshake
from thv_gateway.servers.talks import Talks
from thv_gateway.servers.upstream import Flow, Upstream
from thv_gateway.stages.chain import Arrival, Chain
from thv_gateway.web.peer import Gone
from thv_gateway.web.reception import RETRY
from thv_gateway.web.streams import EVENT_HEADERS, as_event

__all__ = ["Listening"]

MAX_RESOURCES = 1000
"""So many resources one stream is about."""

MAX_NAMES = 256 * 1024
"""So many characters their URIs have together."""

FEED_ATTEMPTS = 600
"""So often a stream looks for a server that is started anew; then it ends, and its client opens it again."""

_PAUSE_SECONDS = 0.1

_LISTS = {
    "toolsListChanged": ("tools", "notifications/tools/list_changed"),
    "promptsListChanged": ("prompts", "notifications/prompts/list_changed"),
    "resourcesListChanged": ("resources", "notifications/resources/list_changed"),
}
_RESOURCES = "resourceSubscriptions"
_TOOLS_CHANGED = Message(kind=Kind.NOTIFICATION, method="notifications/tools/list_changed")

_TOO_MANY = f"One stream is about {MAX_RESOURCES} resources at most, whose URIs have {MAX_NAMES} characters together"

_uris = msgspec.json.Decoder(list[str])


class Listening:
    """Opens streams, and feeds all that there are from one incarnation of the server."""

    def __init__(self, link: Upstream, talks: Talks, listens: Listens) -> None:
        self._link = link
        self._talks = talks
        self._listens = listens
        self._feeding: dict[Listen, asyncio.Task[None]] = {}

    async def listen(self, arrival: Arrival, message: Message) -> Reply | Flow:
        """Open a stream for a request."""
        talk = await self._talks.of(arrival)
        if isinstance(talk, Reply):
            return talk
        wanted = _wanted(message, talk.handshake)
        if wanted is None:
            return refusal(400, INVALID_PARAMS, "notifications must be a filter of notifications", message.id)
        if len(wanted.resources) > MAX_RESOURCES or sum(map(len, wanted.resources)) > MAX_NAMES:
            return refusal(400, INVALID_PARAMS, _TOO_MANY, message.id)
        if self._listens.full or talk.subscriptions.full:
            return refusal(503, INTERNAL_ERROR, "Too many subscriptions", message.id, RETRY)
        listen = Listen(message.id, wanted, arrival)
        self._listens.add(listen)
        listen.feed = partial(self._feed, listen, self._link.tools)
        self._attach(listen, talk)
        return _ListenStream(self, listen)

    def take_over(self, tools: tuple[str, ...]) -> None:
        """Feed every stream from this incarnation from now on; ``tools`` are those that they know of."""
        for listen in self._listens:
            listen.feed = partial(self._feed, listen, tools)
            listen.feed()

    def end(self, listen: Listen) -> None:
        """Forget a stream, and whatever nobody else wants to hear."""
        self._listens.remove(listen)
        listen.feed = nobody
        listen.release()
        task = self._feeding.pop(listen, None)
        if task is not None:
            task.cancel()

    def _feed(self, listen: Listen, tools: tuple[str, ...]) -> None:
        if listen not in self._feeding:
            task = asyncio.get_running_loop().create_task(self._fed(listen, tools))
            self._feeding[listen] = task
            task.add_done_callback(lambda _: self._feeding.pop(listen, None))

    async def _fed(self, listen: Listen, tools: tuple[str, ...]) -> None:
        """Attach a stream as soon as there is a conversation for it; without one it ends, and is opened again."""
        for _ in range(FEED_ATTEMPTS):
            talk = await self._talks.of(listen.arrival)
            if not isinstance(talk, Reply):
                self._attach(listen, talk)
                if self._link.state is not RouteState.STARTING:
                    break
            await asyncio.sleep(_PAUSE_SECONDS)
        else:
            listen.mailbox.close()
        if self._link.tools != tools:
            listen.put(_TOOLS_CHANGED)

    def _attach(self, listen: Listen, talk: Conversation) -> None:
        """Feed a stream from a conversation; one that is not ready asks by itself for what is held once it is."""
        if listen in talk.delivery.listeners:
            return
        listen.release()
        listen.release = lambda: _released(listen, talk)
        talk.delivery.listeners[listen] = None
        fresh = [uri for uri in sorted(listen.filter.resources) if talk.subscriptions.hold(uri)]
        for uri in fresh if self._link.state is RouteState.READY else ():
            talk.mention("resources/subscribe", {"uri": quoted(uri)})


class _ListenStream:
    """The stream of one request; see :class:`thv_gateway.servers.upstream.Flow`."""

    def __init__(self, listening: Listening, listen: Listen) -> None:
        self._listening = listening
        self._listen = listen

    async def flow(self, arrival: Arrival, chain: Chain) -> None:
        """Send what was asked for until the client goes away, or the gateway does."""
        peer, listen = arrival.peer, self._listen
        forget = peer.on_gone(listen.mailbox.close)
        try:
            peer.begin(200, EVENT_HEADERS)
            message: Message | None = _acknowledged(listen)
            while message is not None or not listen.mailbox.closed:
                told = await chain.outward(arrival, message) if message is not None else None
                if message is None or told is not None:
                    await peer.write(as_event(told) if told is not None else PING)
                message = await self._next()
            await peer.write(as_event(_ended(listen)))
            peer.finish()
        except Gone:
            return
        finally:
            forget()
            self._listening.end(listen)

    async def _next(self) -> Message | None:
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(SILENCE_SECONDS):
                return await self._listen.mailbox.take()
        return None


def _released(listen: Listen, talk: Conversation) -> None:
    del talk.delivery.listeners[listen]
    listen.release = nobody
    for uri in listen.filter.resources:
        if talk.subscriptions.let_go(uri):
            talk.mention("resources/unsubscribe", {"uri": quoted(uri)})


def _wanted(message: Message, handshake: Handshake) -> Filter | None:
    """Return what a request listens for; ``None`` when it does not say so."""
    asked = message.params.get("notifications", b"")
    try:
        wanted = _filter(members(asked), handshake) if asked[:1] == b"{" else None
    except (*UNREADABLE, msgspec.ValidationError):
        return None
    return None if wanted is None or any(len(uri) > MAX_URI for uri in wanted.resources) else wanted


def _filter(asked: dict[str, bytes], handshake: Handshake) -> Filter:
    """Return what of a filter the server tells of.

    :raises msgspec.ValidationError: when it is no filter.
    """
    told = handshake.capabilities
    lists = [
        method
        for name, (capability, method) in _LISTS.items()
        if asked.get(name) == b"true" and _declares(told, capability, "listChanged")
    ]
    uris = _uris.decode(asked[_RESOURCES]) if asked.get(_RESOURCES, b"null") != b"null" else []
    return Filter(frozenset(lists), frozenset(uris) if _declares(told, "resources", "subscribe") else frozenset())


def _declares(capabilities: dict[str, bytes], name: str, part: str) -> bool:
    return members(capabilities.get(name, b"")).get(part) == b"true"


def _acknowledged(listen: Listen) -> Message:
    heard = {name: b"true" for name, (_, method) in _LISTS.items() if method in listen.filter.lists}
    if listen.filter.resources:
        heard[_RESOURCES] = msgspec.json.encode(sorted(listen.filter.resources))
    params = {"notifications": with_members(heard)}
    told = Message(kind=Kind.NOTIFICATION, method="notifications/subscriptions/acknowledged", params=params)
    return stamped(told, listen.identifier)


def _ended(listen: Listen) -> Message:
    if listen.mailbox.overflowed:
        return failure(listen.identifier, INTERNAL_ERROR, "The client reads too slowly")
    meta = with_members({SUBSCRIPTION_ID: listen.identifier})
    result = with_members({"resultType": b'"complete"', "_meta": meta})
    return Message(kind=Kind.RESPONSE, id=listen.identifier, result=result)
