"""List the names of a server's tools, page by page, within bounds."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Awaitable, Callable
from itertools import accumulate

import msgspec

from thv_core.model.message import Message
from thv_gateway.messages.parsing import members

__all__ = ["list_tools"]

MAX_PAGES = 100
MAX_TOOLS = 10_000
MAX_TEXT = 256 * 1024
"""So many bytes the names have together, as they are reported to control."""

SECONDS = 20.0


class _Tool(msgspec.Struct):
    name: str = ""


_tools = msgspec.json.Decoder(list[_Tool])


Ask = Callable[[str, dict[str, bytes]], Awaitable[Message]]


async def list_tools(ask: Ask) -> tuple[str, ...]:
    """Return the names in the server's order; what was listed so far when it stops answering.

    :param ask: sends a request and returns the response.
    """
    names: list[str] = []
    # Only the report misses names: calls do not depend on them.
    with contextlib.suppress(TimeoutError, msgspec.DecodeError):
        async with asyncio.timeout(SECONDS):
            await _collect(ask, names)
    sizes = accumulate(len(msgspec.json.encode(name)) + 1 for name in names)
    return tuple(name for name, size in zip(names[:MAX_TOOLS], sizes, strict=False) if size <= MAX_TEXT)


async def _collect(ask: Ask, names: list[str]) -> None:
    params: dict[str, bytes] = {}
    for _ in range(MAX_PAGES):
        page = members((await ask("tools/list", params)).result)
        names += [tool.name for tool in _tools.decode(page.get("tools", b"[]")) if tool.name]
        if page.get("nextCursor", b"null") == b"null" or len(names) >= MAX_TOOLS:
            return
        params = {"cursor": page["nextCursor"]}
