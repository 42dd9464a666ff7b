"""The application of a control, asked without a socket."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Awaitable, Callable, Mapping
from typing import Any

import pytest
from starlette.applications import Starlette

from thv_core.errors import ThvError
from thv_supervisor.control.api import application
from thv_supervisor.control.reconciler import Reconciler

LIMIT = 10.0


class Reply:
    """An answer of an ASGI application."""

    def __init__(self) -> None:
        self.status = 0
        self.headers: dict[str, str] = {}
        self.body = b""

    def json(self) -> Any:
        return json.loads(self.body)

    def lines(self) -> list[Any]:
        return [json.loads(line) for line in self.body.splitlines()]


async def ask(
    app: Starlette, method: str, target: str, body: bytes = b"", headers: Mapping[str, str] | None = None
) -> Reply:
    """Send one request to an ASGI application on this event loop."""
    path, _, query = target.partition("?")
    scope = {
        "type": "http",
        "asgi": {"version": "3.0"},
        "http_version": "1.1",
        "method": method,
        "scheme": "http",
        "path": path,
        "raw_path": path.encode(),
        "root_path": "",
        "query_string": query.encode(),
        "headers": [(name.encode(), value.encode()) for name, value in (headers or {}).items()],
        "client": None,
        "server": ("control", 80),
    }
    reply, answered, pieces = Reply(), asyncio.Event(), [body]

    async def receive() -> dict[str, Any]:
        if pieces:
            return {"type": "http.request", "body": pieces.pop(), "more_body": False}
        await answered.wait()
        return {"type": "http.disconnect"}

    async def send(message: Mapping[str, Any]) -> None:
        if message["type"] == "http.response.start":
            reply.status = message["status"]
            reply.headers = {name.decode(): value.decode() for name, value in message["headers"]}
            return
        reply.body += message.get("body", b"")
        if not message.get("more_body"):
            answered.set()

    await asyncio.wait_for(app(scope, receive, send), LIMIT)
    return reply


class FakeSettlement:
    """Serves every caller, or refuses each with one error; remembers the headers."""

    def __init__(self) -> None:
        self.notice = ""
        self.refusal: ThvError | None = None
        self.headers: list[str | None] = []
        self.networks: list[Mapping[str, str] | None] = []
        self.objection: ThvError | None = None

    def adopt_network(self, wanted: Mapping[str, str] | None) -> None:
        self.networks.append(wanted)
        if self.objection:
            raise self.objection

    def settle(self, header: str | None) -> str:
        self.headers.append(header)
        if self.refusal:
            raise self.refusal
        return self.notice


@pytest.fixture
def asked() -> Callable[..., Awaitable[Reply]]:
    """Send a request to the application of a control."""
    return ask


@pytest.fixture
def settlement() -> FakeSettlement:
    return FakeSettlement()


@pytest.fixture
def play(rig: Any, settlement: FakeSettlement) -> Callable[..., None]:
    """Play a story with the application of a control."""

    def played(story: Callable[[Starlette, Reconciler], Awaitable[None]]) -> None:
        async def once() -> None:
            async with rig.control() as control:
                await story(application(control, settlement), control)

        asyncio.run(once())

    return played
