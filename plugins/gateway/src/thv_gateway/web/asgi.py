"""A peer behind an ASGI server."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, MutableMapping
from typing import Any

from thv_core.spi.middleware import Reply
from thv_gateway.web.peer import Fields, Gone

__all__ = ["AsgiPeer", "Receive", "Send"]

Receive = Callable[[], Awaitable[MutableMapping[str, Any]]]
Send = Callable[[MutableMapping[str, Any]], Awaitable[None]]
WRITE_SECONDS = 30.0


class AsgiPeer:
    """See :class:`thv_gateway.web.peer.Peer`."""

    def __init__(self, receive: Receive, send: Send) -> None:
        self.is_gone = False
        self._receive = receive
        self._send = send
        self._pending: list[MutableMapping[str, Any]] = []
        self._acts: dict[object, Callable[[], None]] = {}
        self._watcher: asyncio.Task[None] | None = None

    def on_gone(self, act: Callable[[], None]) -> Callable[[], None]:
        """Watch the client."""
        key = object()
        self._acts[key] = act
        if self._watcher is None:
            self._watcher = asyncio.create_task(self._watch())

        def forget() -> None:
            self._acts.pop(key, None)
            if not self._acts and self._watcher is not None:
                self._watcher.cancel()
                self._watcher = None

        return forget

    async def body(self, limit: int) -> bytes | None:
        """Read the body."""
        chunks, size, more = list[bytes](), 0, True
        while more:
            event = await self._receive()
            chunks.append(event.get("body", b""))
            size += len(chunks[-1])
            if size > limit:
                return None
            more = event.get("more_body", False)
        return b"".join(chunks)

    def reply(self, reply: Reply) -> None:
        """Note what is to be sent by :meth:`settle`."""
        fields = [*reply.headers, (b"content-length", b"%d" % len(reply.body))] if reply.status != 204 else []
        self._pending += [
            {"type": "http.response.start", "status": reply.status, "headers": fields},
            {"type": "http.response.body", "body": reply.body, "more_body": False},
        ]

    def begin(self, status: int, fields: Fields) -> None:
        """Note what is to be sent before the first piece."""
        self._pending.append({"type": "http.response.start", "status": status, "headers": list(fields)})
        self._settling = asyncio.ensure_future(self.settle())

    async def write(self, piece: bytes) -> None:
        """Send a piece."""
        try:
            async with asyncio.timeout(WRITE_SECONDS):
                await self.settle()
                await self._send({"type": "http.response.body", "body": piece, "more_body": True})
        except TimeoutError:
            raise Gone from None

    def finish(self) -> None:
        """Note that the end is to be sent."""
        self._pending.append({"type": "http.response.body", "body": b"", "more_body": False})

    async def settle(self) -> None:
        """Send what was noted."""
        while self._pending:
            await self._send(self._pending.pop(0))

    async def _watch(self) -> None:
        while (await self._receive())["type"] != "http.disconnect":
            pass
        self.is_gone = True
        for act in list(self._acts.values()):
            act()
