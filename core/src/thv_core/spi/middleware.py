"""The contract of middleware: what may look at, change or refuse an MCP exchange, and where in the one order.

A recipe is handed over through the hook ``thv_middleware``; a workload asks for it by name in
``additional_middleware_configs``. The gateway calls it on its event loop: never block.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from enum import IntEnum
from typing import Protocol

from thv_core.model.identity import Identity
from thv_core.model.message import Message

__all__ = ["Exchange", "Middleware", "MiddlewareRecipe", "Outcome", "Reply", "Stage"]


class Stage(IntEnum):
    """The one order. A plugin names its stage; it cannot slip before authentication."""

    RECOVER = 0
    AUDIT = 10
    TELEMETRY = 20
    ORIGIN = 30
    BODY_LIMIT = 40
    AUTHENTICATE = 50
    PARSE = 60
    SCOPES = 70
    RATE_LIMIT = 80
    TOOL_NAMES = 90
    MUTATE = 100
    TOOL_GATE = 110
    VALIDATE = 120
    AUTHORIZE = 130
    APPROVE = 140
    CREDENTIALS = 150
    HEADERS = 160


@dataclass(frozen=True)
class Reply:
    """An HTTP answer that ends the exchange before the server is asked."""

    status: int
    body: bytes = b""
    headers: tuple[tuple[bytes, bytes], ...] = ((b"content-type", b"application/json"),)


@dataclass(frozen=True)
class Outcome:
    """How an exchange ended: ``status`` is the HTTP status, ``seconds`` its duration, ``error`` a word or empty."""

    status: int
    seconds: float
    error: str = ""


@dataclass(slots=True)
class Exchange:
    """One HTTP request to a workload and everything that stages learnt of it.

    ``headers`` are lower-case names with their values in order. ``body`` is complete after ``BODY_LIMIT``; ``message``
    is set by ``PARSE`` for a POST and replaced, never mutated, by a stage that changes it. ``session`` is the
    verified session id, or empty.
    """

    workload: str
    method: str
    path: str
    headers: tuple[tuple[bytes, bytes], ...]
    client: str = ""
    body: bytes = field(default=b"", repr=False)
    message: Message | None = None
    identity: Identity | None = None
    session: str = ""
    notes: dict[str, object] = field(default_factory=dict[str, object], repr=False)


class Middleware(Protocol):
    """One stage of the chain of one workload. Subclass it to inherit the empty methods that you do not need."""

    stage: Stage

    async def on_request(self, exchange: Exchange) -> Reply | None:
        """Look at the request on its way in; a reply ends the exchange. An exception is a 500 and fails closed."""
        return None

    async def on_message(self, exchange: Exchange, message: Message) -> Message:
        """Look at one JSON-RPC message on its way back, and return it or another in its place."""
        return message

    async def on_end(self, exchange: Exchange, outcome: Outcome) -> None:
        """Take note of the end, exactly once per exchange for which :meth:`on_request` was called."""


@dataclass(frozen=True)
class MiddlewareRecipe:
    """How to build one middleware: ``build`` receives the workload's parameters and raises ``SettingsError``."""

    name: str
    stage: Stage
    build: Callable[[Mapping[str, object]], Middleware]
