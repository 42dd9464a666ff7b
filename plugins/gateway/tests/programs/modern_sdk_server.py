"""A server on the real MCP SDK that is held to the stateless era, on pipes or, with a port, over HTTP."""

import json
import sys
from typing import Annotated

import anyio
import mcp_types as types
import uvicorn
from mcp.server import MCPServer
from mcp.server.mcpserver import Context, Elicit, Resolve
from mcp.server.stdio import stdio_server
from mcp.shared.message import SessionMessage
from pydantic import BaseModel

REFUSAL = types.ErrorData(code=types.UNSUPPORTED_PROTOCOL_VERSION, message="Unsupported protocol version")

server = MCPServer("modern-sdk", instructions="Be brief.")


class Name(BaseModel):
    name: str


async def ask_name() -> Elicit[Name]:
    return Elicit("Who is there?", Name)


@server.tool()
async def climb(steps: int, ctx: Context) -> str:
    for step in range(1, steps + 1):
        await ctx.report_progress(step, steps)
    return f"climbed {steps}"


@server.tool()
async def greet(who: Annotated[Name, Resolve(ask_name)]) -> str:
    return f"hello {who.name}"


@server.tool()
async def tell(text: str, ctx: Context) -> str:
    await ctx.info(text)
    return "told"


@server.tool()
async def change(ctx: Context) -> str:
    await ctx.notify_tools_changed()
    await ctx.notify_resource_updated("note://one")
    return "changed"


@server.resource("note://one")
def note() -> str:
    return "one"


class OnlyModern:
    """Refuses HTTP requests that do not name the stateless revision."""

    def __init__(self, app):
        self.app = app

    async def __call__(self, scope, receive, send):
        if scope["type"] != "http" or dict(scope["headers"]).get(b"mcp-protocol-version") == b"2026-07-28":
            await self.app(scope, receive, send)
            return
        identifier = json.loads((await receive()).get("body") or b"{}").get("id")
        error = {"jsonrpc": "2.0", "id": identifier, "error": REFUSAL.model_dump(exclude_none=True)}
        head = [(b"content-type", b"application/json")]
        await send({"type": "http.response.start", "status": 400, "headers": head})
        await send({"type": "http.response.body", "body": json.dumps(error).encode()})


async def pipes():
    lowlevel = server._lowlevel_server
    send, rest = anyio.create_memory_object_stream(0)

    async def sift(incoming, outgoing):
        async with send:
            async for item in incoming:
                message = getattr(item, "message", None)
                if isinstance(message, types.JSONRPCRequest) and message.method == "initialize":
                    refusal = types.JSONRPCError(jsonrpc="2.0", id=message.id, error=REFUSAL)
                    await outgoing.send(SessionMessage(refusal))
                else:
                    await send.send(item)

    async with stdio_server() as (incoming, outgoing), anyio.create_task_group() as group:
        group.start_soon(sift, incoming, outgoing)
        await lowlevel.run(rest, outgoing, lowlevel.create_initialization_options())


if __name__ == "__main__":
    if len(sys.argv) > 1:
        sys.stderr.write(f"http://127.0.0.1:{sys.argv[1]}/mcp\n")
        sys.stderr.flush()
        app = OnlyModern(server.streamable_http_app())
        uvicorn.run(app, host="127.0.0.1", port=int(sys.argv[1]), log_level="critical")
    else:
        anyio.run(pipes)
