"""Send server-sent events: a call's messages up to its response, or a session's messages until it goes away.

Source: MCP 2025-11-25, transports; WHATWG HTML, server-sent events.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable

from thv_core.model.message import Kind, Message
from thv_gateway.messages.answers import INTERNAL_ERROR, failure
from thv_gateway.messages.assembly import assemble
from thv_gateway.pipes.mailbox import Mailbox
from thv_gateway.web.peer import Gone, Peer

__all__ = ["EVENT_HEADERS", "KEEPALIVE", "KEEPALIVE_SECONDS", "WRITE_SECONDS", "as_event", "pump"]

KEEPALIVE_SECONDS = 30.0
WRITE_SECONDS = 30.0
KEEPALIVE = b": keep-alive\r\n\r\n"

EVENT_HEADERS = [
    (b"content-type", b"text/event-stream"),
    (b"cache-control", b"no-cache, no-transform"),
    (b"x-accel-buffering", b"no"),
]


async def pump(
    mailbox: Mailbox,
    first: Message | None,
    outward: Callable[[Message], Awaitable[Message | None]],
    peer: Peer,
    identifier: bytes,
) -> None:
    """Send events until the response was sent or the mailbox is closed.

    A mailbox that overflowed ends with an error event; a client that does not read for :data:`WRITE_SECONDS` is
    given up, and the server closes its connection because the response stays incomplete.

    :param identifier: the raw id of the call whose stream this is; empty for a session's own stream.
    """
    try:
        message = first or await _next(mailbox, peer)
        while message is not None:
            answer = await outward(message)
            if answer is not None:
                await peer.write(as_event(answer))
            if message.kind is Kind.RESPONSE:
                break
            message = await _next(mailbox, peer)
        if mailbox.overflowed:
            await peer.write(as_event(failure(identifier, INTERNAL_ERROR, "The client reads too slowly")))
        peer.finish()
    except Gone:
        return


def as_event(message: Message) -> bytes:
    """Return a message as one event."""
    return b"event: message\r\ndata: " + assemble(message) + b"\r\n\r\n"


async def _next(mailbox: Mailbox, peer: Peer) -> Message | None:
    while True:
        try:
            async with asyncio.timeout(KEEPALIVE_SECONDS):
                return await mailbox.take()
        except TimeoutError:
            await peer.write(KEEPALIVE)
