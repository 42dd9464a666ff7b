"""The server held to one era, as servers are that know no other: over HTTP and on pipes."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import anyio
import mcp_types as types
from anyio.streams.memory import MemoryObjectReceiveStream
from mcp.server.lowlevel import Server
from mcp.server.runner import serve_loop
from mcp.server.stdio import stdio_server
from mcp.shared.message import SessionMessage
from mcp_types.version import HANDSHAKE_PROTOCOL_VERSIONS, MODERN_PROTOCOL_VERSIONS
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.types import ASGIApp, Receive, Scope, Send

ERAS = ("legacy", "modern", "dual")

BAD_REQUEST = 400


def unsupported(requested: object) -> types.ErrorData:
    """Return the error of a server of the modern era about another version."""
    data = {"supported": list(MODERN_PROTOCOL_VERSIONS), "requested": str(requested)}
    return types.ErrorData(code=types.UNSUPPORTED_PROTOCOL_VERSION, message="Unsupported protocol version", data=data)


class OnlyLegacy:
    """Refuses requests that name a version of another era, in the way of servers that know no other."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        version = Request(scope).headers.get("mcp-protocol-version") if scope["type"] == "http" else None
        if version is None or version in HANDSHAKE_PROTOCOL_VERSIONS:
            await self._app(scope, receive, send)
            return
        error = types.ErrorData(code=-32000, message=f"Bad Request: Unsupported protocol version: {version}")
        await _refusal(None, error)(scope, receive, send)


class OnlyModern:
    """Refuses everything that is not of the modern era."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        version = Request(scope).headers.get("mcp-protocol-version") if scope["type"] == "http" else ""
        if version is not None and version not in HANDSHAKE_PROTOCOL_VERSIONS:
            await self._app(scope, receive, send)
            return
        await (await _answer(Request(scope, receive), version))(scope, receive, send)


async def _answer(request: Request, version: str | None) -> Response:
    if request.method != "POST":
        return Response(status_code=405, headers={"allow": "POST"})
    message = json.loads(await request.body())
    if "id" not in message:
        return Response(status_code=202)
    requested = version or message.get("params", {}).get("protocolVersion", "")
    return _refusal(message["id"], unsupported(requested))


def _refusal(number: Any, error: types.ErrorData) -> Response:
    body = {"jsonrpc": "2.0", "id": number, "error": error.model_dump(exclude_none=True)}
    return JSONResponse(body, status_code=BAD_REQUEST)


HELD: dict[str, type[OnlyLegacy] | type[OnlyModern]] = {"legacy": OnlyLegacy, "modern": OnlyModern}


async def serve_pipes(server: Server[Any], era: str) -> None:
    """Serve on standard streams, in one era or in that of the first request."""
    async with stdio_server() as (incoming, outgoing):
        if era == "legacy":
            options = server.create_initialization_options()
            await serve_loop(server, incoming, outgoing, lifespan_state={}, init_options=options)
        elif era == "modern":
            async with _without_handshake(incoming, outgoing) as rest:
                await server.run(rest, outgoing, server.create_initialization_options())
        else:
            await server.run(incoming, outgoing, server.create_initialization_options())


@asynccontextmanager
async def _without_handshake(incoming: Any, outgoing: Any) -> AsyncIterator[MemoryObjectReceiveStream[Any]]:
    send, receive = anyio.create_memory_object_stream[Any](0)

    async def sift() -> None:
        async with send:
            async for item in incoming:
                message = getattr(item, "message", None)
                if isinstance(message, types.JSONRPCRequest) and message.method == "initialize":
                    error = unsupported((message.params or {}).get("protocolVersion"))
                    refusal = types.JSONRPCError(jsonrpc="2.0", id=message.id, error=error)
                    await outgoing.send(SessionMessage(refusal))
                else:
                    await send.send(item)

    async with anyio.create_task_group() as group:
        group.start_soon(sift)
        yield receive
        group.cancel_scope.cancel()
