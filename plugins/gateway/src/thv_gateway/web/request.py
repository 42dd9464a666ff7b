"""One request on one connection, and its answer: the peer of one exchange."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from functools import partial
from io import BytesIO
from typing import Protocol

from thv_core.spi.middleware import Reply
from thv_gateway.messages.answers import LEGACY_ERROR, refusal
from thv_gateway.web.heads import Heading, Target, judged
from thv_gateway.web.limits import Limits
from thv_gateway.web.peer import Fields, Gone
from thv_gateway.web.writing import CONTINUE, LAST_CHUNK, SPLIT, chunk, head

__all__ = ["Line", "Request"]

_UNASKED = 256 * 1024
"""So much of a body is kept before anyone has asked for it; then the connection is read no further."""

_TOGETHER = 64 * 1024

_CLOSE = (b"connection", b"close")
_HEADLESS = Heading()
_ALLOW = ((b"allow", b"POST, GET, DELETE"),)


class Line(Protocol):
    """The connection, as far as one request needs it."""

    limits: Limits
    client: str
    is_lost: bool

    @property
    def secure(self) -> bool:
        """Whether it is TLS."""
        ...

    @property
    def is_closing(self) -> bool:
        """Whether no other request is answered on it."""
        ...

    def send(self, *parts: bytes) -> None:
        """Hand bytes to the transport, which keeps what the client does not read."""
        ...

    async def drained(self) -> None:
        """Wait until the client has read enough; :class:`Gone` when it does not."""
        ...

    async def news(self) -> None:
        """Wait until something came, or the connection was lost."""
        ...

    def pause(self) -> None:
        """Read no further for now."""
        ...

    def resume(self) -> None:
        """Read on."""
        ...


class Request:
    """What a client sent, and where its answer goes; see :class:`thv_gateway.web.peer.Peer`.

    ``keep`` tells whether another request may follow. ``refusal`` is what is wrong with the request itself: it takes
    the place of any other answer. ``is_complete`` tells that its body has come, ``is_answered`` that the answer is
    written.
    """

    __slots__ = (
        *("_acts", "_begun", "_body", "_chunked", "_gathered", "_limit", "_line", "_old", "_size", "_soon", "_waiting"),
        *("began", "heading", "is_answered", "is_complete", "is_gone", "keep", "refusal"),
    )

    def __init__(self, line: Line, heading: Heading = _HEADLESS, *, keep: bool, old: bool = False) -> None:
        self.keep = keep
        self.heading = heading
        self.refusal: Reply | None = None
        self.began = 0.0
        self.is_complete = self.is_answered = self.is_gone = False
        self._line = line
        self._old = old
        self._begun = self._chunked = False
        self._soon: list[bytes] = []
        self._waiting = 0
        self._body = b""
        self._gathered: BytesIO | None = None
        self._size = 0
        self._limit = -1
        self._acts: dict[object, Callable[[], None]] | None = None

    @property
    def method(self) -> str:
        """The method."""
        return self.heading.method

    @property
    def target(self) -> Target:
        """What is asked for."""
        return self.heading.target

    @property
    def headers(self) -> tuple[tuple[bytes, bytes], ...]:
        """All fields, with lower-case names."""
        return self.heading.headers

    @property
    def fields(self) -> Mapping[bytes, bytes]:
        """The last value of each field."""
        return self.heading.fields

    @property
    def client(self) -> str:
        """The address of the client; empty on a Unix socket."""
        return self._line.client

    @property
    def secure(self) -> bool:
        """Whether it came over TLS."""
        return self._line.secure

    @property
    def is_begun(self) -> bool:
        """Whether anything of the answer is written."""
        return self._begun

    @property
    def missing(self) -> int:
        """How much of its body has still to come, as far as it was announced; negative when it was not."""
        length = self.fields.get(b"content-length", b"")
        return int(length) - self._size if length.isdigit() else -1

    @property
    def hears_continue(self) -> bool:
        """Whether the client waits for leave to send the body."""
        return b"expect" in self.fields and not (self._size or self.is_complete)

    def aim(self, target: Target | None, version: str) -> None:
        """Take its target, and note what is wrong with its head; an authority is its ``Host`` (RFC 9112, 3.2.2)."""
        method, headers, fields = self.method, self.headers, self.fields
        if method == "CONNECT":
            self.refuse(refusal(405, LEGACY_ERROR, "Method not allowed", headers=_ALLOW))
            return
        refused = judged(target, version, headers, fields)
        if refused is not None:
            self.refuse(refused)
        elif target is not None and target.authority:
            rest = tuple(field for field in headers if field[0] != b"host")
            self.heading = Heading(method, target, (*rest, (b"host", target.authority)))
        elif target is not None:
            self.heading = Heading(method, target, headers, fields)

    def whole(self) -> bytes | None:
        """Return a small body that has come as a whole; ``None`` for any other."""
        return self._body if self.is_complete and self._gathered is None and self._limit < 0 else None

    def come(self, body: bytes) -> None:
        """Take the whole body at once, which nobody has asked for yet."""
        self._body = body
        self._size = len(body)
        self.is_complete = True

    def on_gone(self, act: Callable[[], None]) -> Callable[[], None]:
        """See :meth:`thv_gateway.web.peer.Peer.on_gone`."""
        if self.is_gone:
            act()
            return _nothing
        key = object()
        if self._acts is None:
            self._acts = {}
        self._acts[key] = act
        return partial(self._forget, key)

    def _forget(self, key: object) -> None:
        if self._acts is not None:
            self._acts.pop(key, None)

    async def body(self, limit: int) -> bytes | None:
        """See :meth:`thv_gateway.web.peer.Peer.body`."""
        self._limit = limit
        if not self.is_complete:
            if self.hears_continue:
                self._line.send(CONTINUE)
            self._line.resume()
            await self._come(limit)
        if self._size > limit:
            self.discard()
            return None
        gathered, self._gathered = self._gathered, None
        # Not copied: a BytesIO gives its own buffer away.
        return self._body if gathered is None else gathered.getvalue()

    async def _come(self, limit: int) -> None:
        while not self.is_complete and self._size <= limit:
            if self.is_gone or self.refusal is not None:
                raise Gone
            await self._line.news()

    def take(self, piece: bytes) -> None:
        """Take a piece of the body."""
        first = not self._size
        self._size += len(piece)
        if self._limit == 0:
            return
        if first:
            self._body = piece
            return
        if 0 < self._limit < self._size:
            return
        if self._gathered is None:
            self._gathered = BytesIO()
            self._gathered.write(self._body)
            self._body = b""
        self._gathered.write(piece)
        if self._limit < 0 and self._size > _UNASKED:
            self._line.pause()

    def discard(self) -> None:
        """Keep nothing of the body, and take the rest for nothing."""
        self._limit = 0
        self._body = b""
        self._gathered = None

    def refuse(self, reply: Reply) -> None:
        """Take note of what is wrong with it; nothing more of it comes."""
        self.refusal = self.refusal or reply
        self.keep = False

    def lose(self) -> None:
        """Take note that the client has gone."""
        self.is_gone = True
        acts, self._acts = self._acts, None
        if not self.is_answered:
            for act in list((acts or {}).values()):
                act()

    def reply(self, reply: Reply) -> None:
        """See :meth:`thv_gateway.web.peer.Peer.reply`."""
        if self.is_answered or self._begun:
            return
        reply = self.refusal or reply
        body, status = reply.body, reply.status
        more = b"" if status == 204 else b"content-length: %d\r\n" % len(body)
        fields = reply.headers
        if status >= 400 and _CLOSE in fields:
            fields = tuple(field for field in fields if field != _CLOSE)
            self.keep = False
        written = head(status, fields, more + self._connection_line())
        self._begun = self.is_answered = True
        if self.method == "HEAD" or status == 204:
            self._line.send(written)
        elif len(body) < SPLIT:
            self._line.send(written + body)
        else:
            self._line.send(written, body)

    def begin(self, status: int, fields: Fields) -> None:
        """See :meth:`thv_gateway.web.peer.Peer.begin`; HTTP/1.0 knows no pieces and is told the end by the closing."""
        self._begun = True
        self._chunked = not self._old
        self.keep = self.keep and self._chunked
        more = b"transfer-encoding: chunked\r\n" if self._chunked else b""
        self._send_soon(head(status, fields, more + self._connection_line()))

    async def write(self, piece: bytes) -> None:
        """See :meth:`thv_gateway.web.peer.Peer.write`."""
        if self.is_gone or self.is_answered:
            raise Gone
        if piece and self.method != "HEAD":
            self._send_soon(*(chunk(piece) if self._chunked else (piece,)))
        await self._line.drained()

    def finish(self) -> None:
        """See :meth:`thv_gateway.web.peer.Peer.finish`."""
        if self._begun and not self.is_answered:
            self.is_answered = True
            if self._chunked and self.method != "HEAD":
                self._soon.append(LAST_CHUNK)
            self._flush()

    def _send_soon(self, *parts: bytes) -> None:
        """Send whatever is written in one turn of the event loop at once: each system call costs as much as a parse."""
        if not self._soon:
            asyncio.get_running_loop().call_soon(self._flush)
        self._soon += parts
        self._waiting += sum(map(len, parts))
        if self._waiting > _TOGETHER:
            self._flush()

    def _flush(self) -> None:
        parts, self._soon, size, self._waiting = self._soon, [], self._waiting, 0
        if parts:
            self._line.send(*((b"".join(parts),) if size <= _TOGETHER else parts))

    def _connection_line(self) -> bytes:
        # Whoever was not told to continue may send its body or not: nobody knows where the next request begins.
        self.keep = self.keep and not (self._line.is_closing or self.hears_continue)
        if not self.keep:
            return b"connection: close\r\n"
        return b"connection: keep-alive\r\n" if self._old else b""


def _nothing() -> None:
    """Forget nothing."""
