"""The first words with a server on pipes: ``initialize``, and what it speaks instead if it refuses that.

A process is spoken to in one era, and the era of handshakes is tried first: servers that know both lock themselves to
the one in which they are greeted.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable

from thv_core.model.message import Kind, Message
from thv_gateway.pipes.conversation import Conversation
from thv_gateway.servers.handshake import (
    Handshake,
    Refused,
    discover_request,
    discovery_of,
    handshake_of,
    initialize_request,
)

__all__ = ["INITIALIZED", "introduced"]

INITIALIZED = Message(kind=Kind.NOTIFICATION, method="notifications/initialized")

DISCOVER_SECONDS = 10.0
"""How long a server that refused ``initialize`` may take to say what it speaks instead."""


async def introduced(talk: Conversation, incarnation: str, hinder: Callable[[str], None]) -> Handshake:
    """Return what a server says of itself; one that knows neither era has said why to ``initialize``.

    :param hinder: told, as the end of a sentence, what keeps the server from being ready; raises when it is gone.
    :raises Refused: when it is of no use.
    :raises ServerAbsent: when the conversation ends meanwhile.
    """
    try:
        handshake = handshake_of(await _answer(talk, initialize_request(incarnation)))
    except Refused as refused:
        hinder(f"refused initialize: {refused}")
        return await _discovered(talk, incarnation, refused)
    talk.send(INITIALIZED)
    return handshake


async def _discovered(talk: Conversation, incarnation: str, refused: Refused) -> Handshake:
    try:
        async with asyncio.timeout(DISCOVER_SECONDS):
            return discovery_of(await _answer(talk, discover_request(incarnation)))
    except (Refused, TimeoutError):
        raise refused from None


async def _answer(talk: Conversation, request: Message) -> Message:
    """Send one of the first requests, with the id that it has."""
    call, outgoing = talk.calls.begin(request, None, request.id)
    return await talk.exchange(call, outgoing)
