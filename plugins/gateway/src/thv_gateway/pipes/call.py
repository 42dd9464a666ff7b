"""One request to a server, from when it is sent until it is answered or given up."""

from __future__ import annotations

import math

from thv_core.model.message import Message
from thv_gateway.pipes.mailbox import Mailbox
from thv_gateway.sessions.sessions import Session

__all__ = ["Call"]


class Call:
    """One request to the server: ``identifier`` is the client's raw id, ``key`` ours, ``token`` its progress token.

    ``name`` is what it asks for, a tool or a URI, and ``user`` who does. ``listener`` is set where the call itself asks
    for logs (MCP 2026-07-28), and tells whose they are. ``session`` is ``None`` for a request of
    the gateway itself. ``status`` is the HTTP status if the answer is the first thing that comes back; ``deadline``
    is on the clock of the event loop, as is ``impatient``, when its client is to hear at least that it is at work.
    ``parked`` tells that the server waits for the client, which was asked something, ``settled`` that it has read that
    nobody waits for it any more.
    """

    __slots__ = (
        "cancelled",
        "deadline",
        "fault",
        "identifier",
        "impatient",
        "key",
        "listener",
        "mailbox",
        "method",
        "name",
        "parked",
        "session",
        "settled",
        "status",
        "token",
        "user",
    )

    def __init__(self, key: bytes, message: Message, session: Session | None, mailbox: Mailbox) -> None:
        self.key = key
        self.identifier = message.id
        self.method = message.method
        self.name = message.name
        self.session = session
        self.deadline = self.impatient = math.inf
        self.token = b""
        self.user = ""
        self.listener: object = None
        self.mailbox = mailbox
        self.status = 200
        self.fault = ""
        self.cancelled = self.parked = self.settled = False
