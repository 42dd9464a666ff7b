"""Serve the fixture: ``python -m harness.dual_era --era ERA --transport TRANSPORT [--port PORT]``.

Over HTTP the first line on standard error is the address.
"""

from __future__ import annotations

import argparse
import asyncio
import logging
import socket
import sys
import warnings
from typing import Any

import anyio
import uvicorn
from mcp.server.lowlevel import Server
from mcp.server.sse import SseServerTransport
from mcp.shared.exceptions import MCPDeprecationWarning
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Mount, Route
from starlette.types import ASGIApp

from harness.dual_era.eras import ERAS, HELD, serve_pipes
from harness.dual_era.events import RecentEvents
from harness.dual_era.server import build

PATHS = {"streamable-http": "/mcp", "sse": "/sse"}
SOON = 100


def streamable(server: Server[Any], era: str) -> ASGIApp:
    """Return the application of streamable HTTP."""
    app = server.streamable_http_app(event_store=RecentEvents(), retry_interval=SOON)
    return HELD[era](app) if era in HELD else app


def events(server: Server[Any], _: str) -> ASGIApp:
    """Return the application of the transport of 2024-11-05, which is legacy whatever the era."""
    transport = SseServerTransport("/messages/")

    async def stream(request: Request) -> Response:
        async with transport.connect_sse(request.scope, request.receive, request._send) as streams:
            await server.run(*streams, server.create_initialization_options())
        return Response()

    return Starlette(routes=[Route("/sse", stream), Mount("/messages/", app=transport.handle_post_message)])


def serve_http(app: ASGIApp, port: int, path: str) -> None:
    """Listen on a port of loopback, of the system's choice when it is 0."""
    listener = socket.create_server(("127.0.0.1", port))
    sys.stderr.write(f"http://127.0.0.1:{listener.getsockname()[1]}{path}\n")
    sys.stderr.flush()
    # Of the parsers of uvicorn, only this one takes the space around the value of a field away.
    config = uvicorn.Config(app, http="h11", log_level="error", timeout_graceful_shutdown=1)
    asyncio.run(uvicorn.Server(config).serve(sockets=[listener]))


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--era", choices=ERAS, default="dual")
    parser.add_argument("--transport", choices=["stdio", *PATHS], default="streamable-http")
    parser.add_argument("--port", type=int, default=0)
    chosen = parser.parse_args()
    logging.basicConfig(level=logging.ERROR, stream=sys.stderr)
    warnings.simplefilter("ignore", MCPDeprecationWarning)
    server = build()
    if chosen.transport == "stdio":
        anyio.run(serve_pipes, server, chosen.era)
        return
    make = streamable if chosen.transport == "streamable-http" else events
    serve_http(make(server, chosen.era), chosen.port, PATHS[chosen.transport])


if __name__ == "__main__":
    main()
