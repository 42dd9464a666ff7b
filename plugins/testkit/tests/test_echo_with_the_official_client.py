"""The echo server is a server in the eyes of the official SDK: both eras, both transports."""

import asyncio
import subprocess
import sys

import pytest
from mcp import Client, StdioServerParameters
from mcp.client.stdio import stdio_client
from mcp.types import ElicitResult

from thv_testkit.fakes import ECHO_PROGRAM

COMMAND = ["-I", "-S", str(ECHO_PROGRAM)]


async def who_is_there(context, params):
    return ElicitResult(action="accept", content={"name": "a client"})


async def conversation(target, mode):
    progress = []

    async def report(done, total, message):
        progress.append((done, total))

    async with Client(target, mode=mode, elicitation_callback=who_is_there) as client:
        assert "echo" in [tool.name for tool in (await client.list_tools()).tools]
        assert (await client.call_tool("echo", {"text": "hello"})).content[0].text == "hello"
        assert (await client.call_tool("count", {})).structured_content["count"] == 1
        await client.call_tool("sleep", {"seconds": 0.01, "steps": 2}, progress_callback=report)
        answer = await client.call_tool("ask", {"kind": "elicitation"})
        assert answer.structured_content["content"] == {"name": "a client"}
        return client.protocol_version, progress


@pytest.mark.parametrize(("mode", "version"), [("legacy", "2025-11-25"), ("auto", "2026-07-28")])
def test_it_converses_over_standard_input_and_output(mode, version):
    target = stdio_client(StdioServerParameters(command=sys.executable, args=COMMAND))
    assert asyncio.run(conversation(target, mode)) == (version, [(1, 2), (2, 2)])


@pytest.mark.parametrize(("mode", "version"), [("legacy", "2025-11-25"), ("auto", "2026-07-28")])
def test_it_converses_over_http(mode, version):
    with subprocess.Popen([sys.executable, *COMMAND, "--http", "0"], stderr=subprocess.PIPE, text=True) as server:
        try:
            url = server.stderr.readline().split()[-1]
            assert asyncio.run(conversation(url, mode)) == (version, [(1, 2), (2, 2)])
        finally:
            server.kill()
