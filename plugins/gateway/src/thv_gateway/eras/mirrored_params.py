"""Hold the header fields ``Mcp-Param-*`` of a call to what its body says (MCP 2026-07-28, transports, SEP-2243).

A tool names in its ``inputSchema`` which of its arguments are mirrored, by ``x-mcp-header``. A server of the era of
handshakes checks nothing of it, so the gateway does, as far as it knows the tool.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Protocol
from weakref import WeakKeyDictionary

import msgspec

from thv_core.model.message import Message
from thv_core.spi.middleware import Reply
from thv_gateway.eras.mirrored import decoded
from thv_gateway.eras.tool_schemas import Mirror, mirrors_of
from thv_gateway.messages.answers import HEADER_MISMATCH, refusal
from thv_gateway.messages.parsing import members
from thv_gateway.pipes.pipe import ServerAbsent
from thv_gateway.servers.handshake import UNREADABLE

__all__ = ["MirroredParams"]

_PREFIX = b"mcp-param-"
_SECONDS = 10.0
_MAX_PAGES = 100
_MAX_TOOLS = 10_000

Headers = Sequence[tuple[bytes, bytes]]


class _Tool(msgspec.Struct):
    name: str = ""
    inputSchema: msgspec.Raw = msgspec.Raw(b"")  # noqa: N815 - as MCP spells it


_tools = msgspec.json.Decoder(list[_Tool])


class Listing(Protocol):
    """A conversation that can be asked for its tools, and says when they have changed."""

    on_tools_changed: Callable[[], None]

    async def ask(self, method: str, params: dict[str, bytes]) -> Message:
        """Send a request of the gateway's own and return the response."""
        ...


@dataclass(eq=False)
class _Known:
    """What a conversation told of its tools; ``learning`` is set as soon as it was asked."""

    tools: dict[str, tuple[Mirror, ...]] = field(default_factory=dict[str, tuple[Mirror, ...]])
    learning: asyncio.Task[None] | None = None


class MirroredParams:
    """Knows which arguments of which tools are mirrored, by conversation."""

    def __init__(self) -> None:
        self._known: WeakKeyDictionary[Listing, _Known] = WeakKeyDictionary()

    async def judged(self, talk: Listing, message: Message, headers: Headers) -> Reply | None:
        """Return why a call is refused whose header fields say something else than its body."""
        given = [(name, value) for name, value in headers if name.startswith(_PREFIX)]
        if message.method != "tools/call" or not (given or message.params.get("arguments", b"{}") != b"{}"):
            return None
        mirrors = (await self._tools(talk)).get(message.name, ())
        if not mirrors:
            return None
        try:
            arguments = msgspec.json.decode(message.params.get("arguments", b"{}"))
        except UNREADABLE:
            return None
        broken = next((each for each in mirrors if not _agrees(each, arguments, given)), None)
        if broken is None:
            return None
        text = f"The header Mcp-Param-{broken.header} does not match the argument {'.'.join(broken.path)}"
        return refusal(400, HEADER_MISMATCH, text, message.id)

    async def _tools(self, talk: Listing) -> Mapping[str, tuple[Mirror, ...]]:
        known = self._known.get(talk)
        if known is None:
            known = self._known[talk] = _Known()
            talk.on_tools_changed = _forgetting(known, talk.on_tools_changed)
        if known.learning is None:
            known.learning = asyncio.get_running_loop().create_task(_learn(talk, known))
        await asyncio.shield(known.learning)
        return known.tools


def _forgetting(known: _Known, told: Callable[[], None]) -> Callable[[], None]:
    """Return what asks again before the next call when the tools have changed, and tells who was told so far."""

    def changed() -> None:
        known.learning = None
        told()

    return changed


async def _learn(talk: Listing, known: _Known) -> None:
    tools: dict[str, tuple[Mirror, ...]] = {}
    # A server that does not list its tools mirrors nothing.
    with contextlib.suppress(TimeoutError, ServerAbsent, *UNREADABLE):
        async with asyncio.timeout(_SECONDS):
            await _collect(talk, tools)
    known.tools = tools


async def _collect(talk: Listing, tools: dict[str, tuple[Mirror, ...]]) -> None:
    params: dict[str, bytes] = {}
    for _ in range(_MAX_PAGES):
        page = members((await talk.ask("tools/list", params)).result)
        tools |= _mirroring(page.get("tools", b"[]"))
        if page.get("nextCursor", b"null") == b"null" or len(tools) > _MAX_TOOLS:
            return
        params = {"cursor": page["nextCursor"]}


def _mirroring(raw: bytes) -> dict[str, tuple[Mirror, ...]]:
    # Most tools mirror nothing, and their schemas need not be read.
    if b"x-mcp-header" not in raw:
        return {}
    return {tool.name: mirrors for tool in _tools.decode(raw) if (mirrors := mirrors_of(bytes(tool.inputSchema)))}


def _agrees(mirror: Mirror, arguments: object, given: Headers) -> bool:
    name = _PREFIX + mirror.header.lower().encode()
    values = [value for key, value in given if key == name]
    rendered = mirror.rendered(arguments)
    if rendered is None or not values:
        return rendered is None and not values
    said = decoded(values[0])
    return len(values) == 1 and said is not None and mirror.matches(arguments, rendered, said)
