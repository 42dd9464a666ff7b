"""Cut what a client sends into requests, within bounds (RFC 9112), on httptools."""

from __future__ import annotations

import re
from collections import deque
from collections.abc import Callable

import httptools

from thv_core.spi.middleware import Reply
from thv_gateway.messages.answers import INVALID_REQUEST, PARSE_ERROR, refusal
from thv_gateway.web.heads import Heading, parsed
from thv_gateway.web.request import Line, Request

__all__ = ["Reader"]

_SLICE = 8 * 1024
"""So much is read at once, so that few requests come out of it before the first of them is answered."""

_UNREADABLE = refusal(400, PARSE_ERROR, "This is not HTTP/1.1")
_HEAD_TOO_LARGE = refusal(431, INVALID_REQUEST, "The head of the request is too large")

_FRAMING = frozenset({b"content-length", b"transfer-encoding"})
_PLAIN = re.compile(rb"[A-Z]+ [^ \r\n]+ HTTP/1\.1\r\n")
_OTHER_FRAMING = frozenset({b"transfer-encoding", b"expect", b"upgrade"})


class _Refused(Exception):
    """What follows on the connection may be anything."""


class _Known:
    """A head as it was written, what it says, and the ``size`` of a request with it and its body."""

    __slots__ = ("heading", "raw", "size")

    def __init__(self, raw: bytes, size: int, heading: Heading) -> None:
        self.raw = raw
        self.size = size
        self.heading = heading


class Reader:
    """Reads one connection.

    Where one request has certainly ended with what came (``_between``), the next one need not be parsed when its head
    is byte for byte that of the one before, and the parser need not know of it.

    ``queue`` holds the requests that nobody has taken yet, ``reading`` is the one whose body comes. ``unheard`` is how
    much came since the last thing that says anything, ``since`` when that was. A reader that ``is_deaf`` takes nothing
    any more.

    :param clock: that of the event loop.
    """

    __slots__ = (
        *("_between", "_clock", "_headers", "_known", "_line", "_parser", "_target", "_upgrading"),
        *("is_deaf", "queue", "reading", "since", "unheard"),
    )

    def __init__(self, line: Line, clock: Callable[[], float]) -> None:
        self.queue: deque[Request] = deque()
        self.reading: Request | None = None
        self.is_deaf = False
        self.unheard = 0
        self.since = clock()
        self._clock = clock
        self._line = line
        self._parser = httptools.HttpRequestParser(self)
        self._upgrading: Request | None = None
        self._headers: list[tuple[bytes, bytes]] = []
        self._target = b""
        self._known: _Known | None = None
        self._between = True

    def feed(self, data: bytes) -> bytes:
        """Take bytes, as long as no whole request waits; return the rest."""
        if len(data) <= _SLICE:
            known = self._known
            if self._between and known is not None and len(data) == known.size and data.startswith(known.raw):
                self._take(known, data)
            else:
                self._feed_one(data)
            return b""
        view = memoryview(data)
        for at in range(0, len(view), _SLICE):
            if self.is_deaf:
                break
            if self.queue and self.reading is None:
                return bytes(view[at:])
            self._feed_one(view[at : at + _SLICE])
        return b""

    def _take(self, known: _Known, data: bytes) -> None:
        """Take a whole request with the head of the one before."""
        self.since = self._clock()
        request = Request(self._line, known.heading, keep=True)
        request.began = self.since
        request.come(data[len(known.raw) :])
        self.queue.append(request)

    def _feed_one(self, data: bytes | memoryview) -> None:
        """Parse what came, and find out whether one request ends with it."""
        begins, reading, waiting = self._between, self.reading, len(self.queue)
        missing = reading.missing if reading is not None else -1
        self._between = False
        self._feed(data)
        if self.is_deaf or self.reading is not None or self._upgrading is not None:
            return
        if begins and len(self.queue) == waiting + 1:
            self._learn(bytes(data), self.queue[-1])
        else:
            self._between = missing == len(data)

    def _learn(self, data: bytes, request: Request) -> None:
        """Keep the head of a request if that is all that came, with its body; one that can be read in one way only."""
        end = data.find(b"\r\n\r\n") + 4
        raw, fields = data[:end], request.fields
        length = fields.get(b"content-length", b"0")
        is_plain = _PLAIN.match(raw) is not None and raw.count(b"\n") == raw.count(b"\r\n")
        is_whole = length.isdigit() and end + int(length) == len(data)
        if is_plain and is_whole and request.keep and fields.keys().isdisjoint(_OTHER_FRAMING):
            self._between = True
            self._known = _Known(raw, len(data), request.heading)

    def fail(self, reply: Reply) -> None:
        """Refuse what is being read, after what was asked before, and read no further."""
        if self.is_deaf:
            return
        self.is_deaf = True
        request = self.reading
        if request is None:
            request = Request(self._line, keep=False)
            self.queue.append(request)
        request.refuse(reply)

    # What the parser tells.

    def on_url(self, url: bytes) -> None:
        """Take the target, or a part of it."""
        self._target += url

    def on_header(self, name: bytes, value: bytes) -> None:
        """Take one field of the head, or of a trailer, which says nothing here (RFC 9110, 6.5.1)."""
        self._headers.append((name.lower(), value))

    def on_headers_complete(self) -> None:
        """Begin a request, or go on with the body of one that asked for another protocol."""
        parser, headers, target = self._parser, tuple(self._headers), self._target
        self._headers, self._target = [], b""
        if self._upgrading is not None:
            self.reading, self._upgrading = self._upgrading, None
            return
        version, limit = parser.get_http_version(), self._line.limits.head_bytes
        heading = Heading(parser.get_method().decode("ascii"), headers=headers)
        request = Request(self._line, heading, keep=parser.should_keep_alive(), old=version == "1.0")
        request.began = self.since
        request.aim(parsed(target), version)
        if self.unheard > limit and _size(target, headers) > limit:
            request.refuse(_HEAD_TOO_LARGE)
        self.unheard = 0
        self.reading = request
        self.queue.append(request)
        if request.refusal is not None:
            raise _Refused
        if b"upgrade" in request.fields and parser.should_upgrade():
            self.reading, self._upgrading = None, request

    def on_body(self, body: bytes) -> None:
        """Take a piece of the body."""
        if self.reading is not None:
            self.unheard = 0
            self.reading.take(body)

    def on_message_complete(self) -> None:
        """Take note of the end of the body."""
        if self.reading is not None:
            self.reading.is_complete = True
            self.reading = None
        if self._headers:
            self._headers = []
        self.unheard = 0

    def _feed(self, data: bytes | memoryview) -> None:
        if not self.unheard:
            self.since = self._clock()
        self.unheard += len(data)
        try:
            self._parser.feed_data(data)
        except httptools.HttpParserUpgrade as upgrade:
            self._go_on(bytes(data[upgrade.args[0] :]))
        except httptools.HttpParserError:
            # Either it is none, or a callback has refused it and said why.
            self.fail(_UNREADABLE)
        if self.unheard > self._line.limits.head_bytes:
            self.fail(_HEAD_TOO_LARGE)

    def _go_on(self, rest: bytes) -> None:
        """Read on behind the head of a request for another protocol, which is not spoken here (RFC 9110, 7.8).

        The parser takes such a request for one without a body, and its body for the next request. So another parser
        is told the framing alone.
        """
        request = self._upgrading
        if request is None:
            return
        self._parser = httptools.HttpRequestParser(self)
        framing = [b"%b: %b\r\n" % field for field in request.headers if field[0] in _FRAMING]
        self._feed(b"POST / HTTP/1.1\r\n" + b"".join(framing) + b"\r\n" + rest)


def _size(target: bytes, headers: tuple[tuple[bytes, bytes], ...]) -> int:
    return len(target) + sum(len(name) + len(value) + 4 for name, value in headers)
