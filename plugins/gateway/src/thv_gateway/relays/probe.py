"""Interview an HTTP server: the eras that it speaks, what it says of itself, and its tools."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Callable
from urllib.parse import urlsplit

import msgspec

from thv_core.model.message import Kind, Message
from thv_gateway.client.connection import Broken, Connection, Head
from thv_gateway.client.http_client import HttpClient, is_redirection
from thv_gateway.client.pool import Busy
from thv_gateway.messages.assembly import assemble
from thv_gateway.messages.envelope import Envelope, enveloped
from thv_gateway.messages.events import EventReader, TooLong
from thv_gateway.messages.parsing import members, parse_line, text_of
from thv_gateway.messages.versions import MODERN_VERSIONS, Era
from thv_gateway.pipes.noise import printable
from thv_gateway.relays.heads import POST_HEAD, mirroring
from thv_gateway.servers.handshake import (
    Handshake,
    Refused,
    discover_request,
    discovery_of,
    handshake_of,
    initialize_request,
)
from thv_gateway.servers.tools import list_tools

__all__ = ["Interview", "Unauthorized", "is_events"]

MAX_ANSWER = 32 * 1024 * 1024
DISCOVER_SECONDS = 5.0
"""So long a server that was initialised has to say whether it knows the stateless era as well."""

_LEAVE_SECONDS = 2.0
_INITIALIZED = Message(kind=Kind.NOTIFICATION, method="notifications/initialized")
_MODERN = ((b"mcp-protocol-version", MODERN_VERSIONS[-1].encode()),)


class Unauthorized(Refused):
    """A server lets in only whom it knows, and the gateway is nobody to it."""


def _nobody() -> None:
    """Tell nobody."""


class Interview:
    """One session with a server, ended when the interview is over; without a session where the server knows none.

    :param answered: called with each answer of the server, as soon as it begins.
    :param fields: header fields that each request carries.
    """

    def __init__(
        self,
        client: HttpClient,
        answered: Callable[[], None] = _nobody,
        fields: tuple[tuple[bytes, bytes], ...] = (),
    ) -> None:
        self.connection: Connection | None = None
        self.fault = ""
        self._client = client
        self._answered = answered
        self._added = fields
        self._fields: tuple[tuple[bytes, bytes], ...] = ()
        self._era = Era.LEGACY
        self._number = 0

    async def handshake(self, incarnation: str) -> Handshake:
        """Return what the server says of itself, in each era that it speaks.

        :raises Refused: when it refuses both ``initialize`` and ``server/discover``.
        :raises Broken: when it does not answer as a server that is ready.
        :raises Busy: when there is no connection for it.
        :raises OSError: when it accepts none.
        """
        discover = discover_request(incarnation)
        try:
            handshake = await self._open(_anonymous(incarnation))
        except Unauthorized:
            raise
        except Refused as refused:
            return await self._discovered(discover, refused)
        try:
            handshake.tools = await self._tools() if handshake.offers("tools") else ()
            handshake.stateful = bool(self.session)
        finally:
            await self._leave()
        with contextlib.suppress(Broken, Busy, OSError, Refused, TimeoutError):
            # Whoever speaks the era of handshakes alone may answer anything, or nothing.
            async with asyncio.timeout(DISCOVER_SECONDS):
                handshake.discovered = discovery_of(await self._stateless(discover)).discovered
        return handshake

    async def _discovered(self, discover: Message, refused: Refused) -> Handshake:
        """Ask a server that refused to initialize whether it knows the other era alone."""
        try:
            async with asyncio.timeout(DISCOVER_SECONDS):
                handshake = discovery_of(await self._stateless(discover))
        except (Broken, Refused, TimeoutError):
            # What it said to initialize is the reason, whatever it makes of a revision that it does not know.
            raise refused from None
        handshake.tools = await self._tools() if handshake.offers("tools") else ()
        return handshake

    async def _stateless(self, request: Message) -> Message:
        self._era, self._fields = Era.MODERN, _MODERN
        return await self._exchange(request)

    @property
    def session(self) -> str:
        """The id of the session, empty when the server keeps none."""
        return dict(self._fields).get(b"mcp-session-id", b"").decode("latin-1")

    async def introduce(self, params: dict[str, bytes]) -> Handshake:
        """Open a session in the name of a client with its own parameters, for the client to go on with.

        :raises Refused: and others, as :meth:`handshake` does.
        """
        return await self._open(
            Message(kind=Kind.REQUEST, id=b"0", method="initialize", params=params, has_params=True)
        )

    async def ping(self, incarnation: str, eras: frozenset[Era]) -> None:
        """Ask for a sign of life, in a session that stays open for the next ping, or without any.

        :raises Refused: when the server answers that it does not know the session, or has none for us.
        :raises Broken: when it does not answer as a server that is ready; also ``Busy`` and ``OSError``.
        """
        if Era.LEGACY not in eras:
            await self._stateless(discover_request(incarnation))
            return
        try:
            if self._fields:
                await self.ask("ping", {})
            else:
                await self._open(_anonymous(incarnation))
        except Refused:
            await self._leave()
            self._fields = ()
            raise

    async def _open(self, request: Message) -> Handshake:
        handshake = handshake_of(await self._exchange(request))
        self._fields += ((b"mcp-protocol-version", handshake.version.encode()),)
        await self._exchange(_INITIALIZED)
        return handshake

    async def _tools(self) -> tuple[str, ...]:
        try:
            return await list_tools(self.ask)
        except Refused:
            return ()

    async def ask(self, method: str, params: dict[str, bytes]) -> Message:
        """Send a request and return the response."""
        self._number += 1
        identifier = b"%d" % self._number
        if self._era is Era.MODERN:
            params = enveloped(params, Envelope())
        return await self._exchange(
            Message(kind=Kind.REQUEST, id=identifier, method=method, params=params, has_params=bool(params))
        )

    async def _exchange(self, message: Message) -> Message:
        mirrored = mirroring(message) if self._era is Era.MODERN else ()
        request = self._client.request(b"POST", (*POST_HEAD, *self._added, *self._fields, *mirrored), assemble(message))
        try:
            connection, head = await self._client.ask(self, request, again=True)
            self._answered()
            if head.status >= 300:
                await self._refused(head, connection)
            if message.method == "initialize" and b"mcp-session-id" in head.fields:
                self._fields = ((b"mcp-session-id", head.fields[b"mcp-session-id"]),)
            if message.kind is Kind.NOTIFICATION:
                await connection.body(MAX_ANSWER)
                return message
            if is_events(head):
                return await _response(connection, message.id)
            return _whole(await connection.body(MAX_ANSWER))
        finally:
            self._client.release(self)

    async def _refused(self, head: Head, connection: Connection) -> None:
        body = await connection.body(MAX_ANSWER)
        if head.status >= 500 or head.status in (408, 425, 429):
            raise Broken(f"answered HTTP {head.status}")
        if is_redirection(head):
            where = urlsplit(head.fields.get(b"location", b"").decode("latin-1"))
            elsewhere = printable(f"{where.scheme}://{where.netloc}")
            raise Refused(f"it sends everyone to {elsewhere}, where nobody is followed to")
        answer = parse_line(body)
        text = text_of(members(answer.error).get("message", b"")) if answer is not None else ""
        kind = Unauthorized if head.status in (401, 403) else Refused
        raise kind(printable(text) or f"it answered HTTP {head.status} at {self._client.path}")

    async def _leave(self) -> None:
        if not any(name == b"mcp-session-id" for name, _ in self._fields):
            return
        with contextlib.suppress(Broken, Busy, OSError):
            async with asyncio.timeout(_LEAVE_SECONDS):
                try:
                    request = self._client.request(b"DELETE", (*self._added, *self._fields))
                    connection, _ = await self._client.ask(self, request, again=True)
                    await connection.body(MAX_ANSWER)
                finally:
                    self._client.release(self)


def _anonymous(incarnation: str) -> Message:
    request = initialize_request(incarnation)
    # Nobody reads what the server might ask in this session.
    return msgspec.structs.replace(request, params={**request.params, "capabilities": b"{}"})


def is_events(head: Head) -> bool:
    """Tell whether an answer is a stream of server-sent events."""
    media = head.fields.get(b"content-type", b"")
    if media == b"application/json":
        return False
    return media.partition(b";")[0].strip().lower() == b"text/event-stream"


async def _response(connection: Connection, identifier: bytes) -> Message:
    try:
        async for message in _messages(connection):
            if message.kind is Kind.RESPONSE and message.id == identifier:
                return message
    except TooLong:
        raise Broken("answered with an event that does not end") from None
    raise Broken("ended its stream without an answer")


async def _messages(connection: Connection) -> AsyncIterator[Message]:
    reader = EventReader()
    while data := await connection.read():
        for event in reader.feed(data):
            if (message := parse_line(event.data)) is not None:
                yield message


def _whole(body: bytes) -> Message:
    message = parse_line(body)
    if message is None or message.kind is not Kind.RESPONSE:
        raise Broken("answered with what is not MCP")
    return message
