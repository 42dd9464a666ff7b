"""A server on the real MCP SDK: progress, logging, sampling, elicitation."""

import asyncio
import sys

from mcp.server import MCPServer
from mcp.server.mcpserver import Context
from mcp_types import SamplingMessage, TextContent
from pydantic import BaseModel

server = MCPServer("sdk")


class Name(BaseModel):
    name: str


@server.tool()
async def climb(steps: int, ctx: Context) -> str:
    for step in range(1, steps + 1):
        await ctx.report_progress(step, steps)
        await asyncio.sleep(0)
    return f"climbed {steps}"


@server.tool()
async def tell(text: str, ctx: Context) -> str:
    await ctx.info(text)
    return "told"


@server.tool()
async def greet(ctx: Context) -> str:
    answer = await ctx.elicit("Who is there?", Name)
    return f"hello {answer.data.name}" if answer.action == "accept" else answer.action


@server.tool()
async def think(ctx: Context) -> str:
    question = SamplingMessage(role="user", content=TextContent(type="text", text="Say something."))
    answer = await ctx.session.create_message([question], max_tokens=10)
    return answer.content.text


if __name__ == "__main__":
    if len(sys.argv) > 1:
        sys.stderr.write(f"http://127.0.0.1:{sys.argv[1]}/mcp\n")
        sys.stderr.flush()
        server.run("streamable-http", host="127.0.0.1", port=int(sys.argv[1]))
    else:
        server.run("stdio")
