"""The HTTP of one connection, on a transport that only takes notes."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Awaitable, Callable
from typing import Any

import pytest

from thv_core.spi import Reply
from thv_gateway.web.limits import Limits
from thv_gateway.web.lobby import Lobby, Site
from thv_gateway.web.peer import Gone
from thv_gateway.web.protocol import Connection
from thv_gateway.web.request import Request

HEAD = b"POST /mcp HTTP/1.1\r\nHost: x\r\n"
SHORT = Limits(
    head_seconds=0.2, body_seconds=0.2, whole_body_seconds=0.5, idle_seconds=0.2, write_seconds=0.2, linger_seconds=0.1
)


class FakeTransport:
    """A client that reads everything, unless it is told not to."""

    def __init__(self) -> None:
        self.sent: list[bytes] = []
        self.trickles = False
        self.waiting = 0
        self.is_closed = self.is_aborted = self.is_ended = self.is_paused = False

    def get_extra_info(self, name: str) -> object:
        return ("192.0.2.1", 1)

    def write(self, data: bytes) -> None:
        self.sent.append(data)

    def get_write_buffer_size(self) -> int:
        """Return what waits; a client that trickles has read a byte since."""
        self.waiting -= self.trickles
        return self.waiting

    def pause_reading(self) -> None:
        assert not self.is_paused
        self.is_paused = True

    def resume_reading(self) -> None:
        assert self.is_paused
        self.is_paused = False

    def can_write_eof(self) -> bool:
        return True

    def write_eof(self) -> None:
        self.is_ended = True

    def close(self) -> None:
        self.is_closed = True

    def abort(self) -> None:
        self.is_aborted = True


class Meeting:
    """A connection, its transport, and the requests that came."""

    def __init__(self, site: Site | None = None, limits: Limits = SHORT) -> None:
        self.requests: list[Request] = []
        self.lobby = Lobby(site or self.answer, limits)
        self.transport = FakeTransport()
        self.connection = self.connected(self.transport)

    def connected(self, transport: FakeTransport) -> Connection:
        connection = Connection(self.lobby)
        connection.connection_made(transport)  # type: ignore[arg-type] # it is as much of a transport as is asked for
        return connection

    async def answer(self, request: Request) -> None:
        self.requests.append(request)
        body = await request.body(1_000)
        request.reply(Reply(200, b"none" if body is None else body, ()))

    async def say(self, *pieces: bytes) -> bytes:
        """Send pieces and return what is answered soon."""
        before = len(self.transport.sent)
        for piece in pieces:
            self.connection.data_received(piece)
            await settled()
        return b"".join(self.transport.sent[before:])


async def settled() -> None:
    for _ in range(8):
        await asyncio.sleep(0)


def run(work: Callable[[], Awaitable[None]]) -> None:
    async def bounded() -> None:
        async with asyncio.timeout(10):
            await work()

    asyncio.run(bounded())


async def until(condition: Callable[[], object]) -> None:
    while not condition():  # noqa: ASYNC110 - it is anything that can be asked
        await asyncio.sleep(0.01)


def sized(body: bytes, *lines: bytes) -> bytes:
    return HEAD + b"".join(line + b"\r\n" for line in lines) + b"Content-Length: %d\r\n\r\n" % len(body) + body


def test_a_small_request_is_answered_with_one_write() -> None:
    async def work() -> None:
        meeting = Meeting()
        await meeting.say(sized(b"hello", b"X-A: 1"))
        (written,) = meeting.transport.sent
        assert written.startswith(b"HTTP/1.1 200 OK\r\ndate: ")
        assert written.endswith(b"\r\ncontent-length: 5\r\n\r\nhello")
        (request,) = meeting.requests
        assert (request.method, request.target.path, request.client) == ("POST", "/mcp", "192.0.2.1")
        assert request.headers == ((b"host", b"x"), (b"x-a", b"1"), (b"content-length", b"5"))

    run(work)


@pytest.mark.parametrize("size", [1, 2, 7, 1000])
def test_a_request_is_the_same_however_it_is_cut(size: int) -> None:
    async def work() -> None:
        raw = sized(b"hello") + HEAD + b"Transfer-Encoding: chunked\r\n\r\n2\r\nab\r\n1\r\nc\r\n0\r\nX: y\r\n\r\n"
        meeting = Meeting()
        answers = await meeting.say(*[raw[at : at + size] for at in range(0, len(raw), size)])
        assert [part.rpartition(b"\r\n\r\n")[2] for part in answers.split(b"HTTP/1.1 ")[1:]] == [b"hello", b"abc"]
        assert [request.fields.get(b"x") for request in meeting.requests] == [None, None]

    run(work)


def test_a_body_is_given_without_a_copy_of_its_pieces() -> None:
    async def work() -> None:
        received: list[bytes | None] = []

        async def site(request: Request) -> None:
            received.append(await request.body(10_000_000))
            request.reply(Reply(202, b"", ()))

        meeting = Meeting(site)
        body = bytes(range(256)) * 20_000
        raw = sized(body)
        await meeting.say(*[raw[at : at + 60_000] for at in range(0, len(raw), 60_000)])
        assert received == [body]

    run(work)


def test_a_body_is_given_up_as_soon_as_it_is_too_large() -> None:
    async def work() -> None:
        meeting = Meeting()
        chunk = b"100\r\n" + b"x" * 256 + b"\r\n"
        answer = await meeting.say(HEAD + b"Transfer-Encoding: chunked\r\n\r\n", *[chunk] * 4)
        assert answer.endswith(b"none")
        assert await meeting.say(*[chunk] * 50, b"0\r\n\r\n", sized(b"next")) != b""
        assert len(meeting.requests) == 2

    run(work)


def test_a_body_that_nobody_asked_for_is_not_read_on() -> None:
    async def work() -> None:
        asked = asyncio.Event()

        async def site(request: Request) -> None:
            await asked.wait()
            body = await request.body(1 << 30)
            request.reply(Reply(200, b"%d" % len(body or b""), ()))

        meeting = Meeting(site)
        raw = sized(b"x" * 600_000)
        await meeting.say(raw[:300_000])
        assert meeting.transport.is_paused
        asked.set()
        await settled()
        assert not meeting.transport.is_paused
        assert (await meeting.say(raw[300_000:])).endswith(b"600000")

    run(work)


def test_what_comes_during_an_exchange_waits_within_bounds() -> None:
    async def work() -> None:
        go_on = asyncio.Event()

        async def site(request: Request) -> None:
            await go_on.wait()
            request.reply(Reply(200, b"", ()))

        meeting = Meeting(site)
        await meeting.say(sized(b""), *[sized(b"x" * 1_000)] * 70)
        assert meeting.transport.is_paused
        assert meeting.transport.sent == []
        go_on.set()
        await until(lambda: len(meeting.transport.sent) == 71)
        assert not meeting.transport.is_paused

    run(work)


def test_a_client_that_goes_away_is_noticed_once_and_only_before_the_answer() -> None:
    async def work() -> None:
        gone: list[str] = []
        go_on = asyncio.Event()

        async def site(request: Request) -> None:
            forget = request.on_gone(lambda: gone.append("forgotten"))
            request.on_gone(lambda: gone.append("left"))
            forget()
            await go_on.wait()
            request.on_gone(lambda: gone.append("after"))
            request.reply(Reply(200, b"", ()))

        meeting = Meeting(site)
        await meeting.say(sized(b""))
        meeting.connection.connection_lost(None)
        assert gone == ["left"]
        go_on.set()
        await settled()
        assert gone == ["left", "after"]
        assert meeting.transport.sent == []
        answered = Meeting()
        await answered.say(sized(b""))
        answered.requests[0].on_gone(lambda: gone.append("never"))
        answered.connection.connection_lost(None)
        assert gone == ["left", "after"]

    run(work)


def test_a_body_that_never_comes_to_its_end_is_gone() -> None:
    async def work() -> None:
        ended: list[type[BaseException]] = []

        async def site(request: Request) -> None:
            try:
                await request.body(10)
            except Gone as error:
                ended.append(type(error))

        meeting = Meeting(site)
        await meeting.say(sized(b"hello")[:-1])
        meeting.connection.connection_lost(None)
        await settled()
        assert ended == [Gone]
        assert len(meeting.lobby) == 0

    run(work)


async def _pieces(request: Request) -> None:
    request.begin(200, [(b"content-type", b"text/event-stream")])
    await request.write(b"one")
    await request.write(b"")
    await request.write(b"x" * 100_000)
    request.finish()


def test_pieces_are_chunks_and_an_empty_one_is_no_end() -> None:
    async def work() -> None:
        meeting = Meeting(_pieces)
        answer = await meeting.say(sized(b""))
        head, _, rest = answer.partition(b"\r\n\r\n")
        assert b"transfer-encoding: chunked" in head
        assert b"content-length" not in head
        assert rest == b"3\r\none\r\n186a0\r\n" + b"x" * 100_000 + b"\r\n0\r\n\r\n"
        assert not meeting.transport.is_closed

    run(work)


def test_the_older_http_is_told_the_end_by_the_closing() -> None:
    async def work() -> None:
        meeting = Meeting(_pieces)
        answer = await meeting.say(sized(b"", b"Connection: keep-alive").replace(b"1.1", b"1.0", 1))
        head, _, rest = answer.partition(b"\r\n\r\n")
        assert b"connection: close" in head
        assert rest == b"one" + b"x" * 100_000
        assert meeting.transport.is_closed

    run(work)


def test_an_answer_without_an_end_is_cut_off_so_that_the_client_sees_it() -> None:
    async def work() -> None:
        async def site(request: Request) -> None:
            request.begin(200, [])
            await request.write(b"half")

        meeting = Meeting(site)
        await meeting.say(sized(b""))
        assert meeting.transport.is_aborted

    run(work)


def test_a_failure_is_500_and_the_connection_serves_on() -> None:
    async def work() -> None:
        async def site(request: Request) -> None:
            raise ZeroDivisionError

        meeting = Meeting(site)
        answer = await meeting.say(sized(b""))
        assert answer.startswith(b"HTTP/1.1 500 ")
        assert json.loads(answer.partition(b"\r\n\r\n")[2])["error"]["code"] == -32603
        assert (await meeting.say(sized(b""))).startswith(b"HTTP/1.1 500 ")

    run(work)


@pytest.mark.parametrize("field", [(b"x", b"a\r\nSet-Cookie: b"), (b"x", b"a\nb"), (b"x\r\n\r\n", b"a"), (b"x", b"\r")])
def test_a_field_with_a_line_break_never_leaves(field: tuple[bytes, bytes]) -> None:
    async def work() -> None:
        async def site(request: Request) -> None:
            request.reply(Reply(200, b"", (field,)))

        answer = await Meeting(site).say(sized(b""))
        assert answer.startswith(b"HTTP/1.1 500 ")
        assert b"Set-Cookie" not in answer

    run(work)


def test_writing_waits_for_a_client_that_reads_slowly_and_gives_up_one_that_does_not() -> None:
    async def work() -> None:
        written: list[int] = []
        ended: list[type[BaseException]] = []

        async def site(request: Request) -> None:
            request.begin(200, [])
            try:
                for number in range(100):
                    await request.write(b"x")
                    written.append(number)
            except Gone:
                ended.append(Gone)
                raise

        meeting = Meeting(site)
        meeting.transport.trickles = True
        meeting.transport.waiting = 1_000
        meeting.connection.pause_writing()
        await meeting.say(sized(b""))
        assert written == []
        # It reads, though little: it is not given up.
        await until(lambda: ended or meeting.transport.waiting < 994)
        assert ended == []
        meeting.connection.resume_writing()
        await until(lambda: len(written) == 100 or ended)
        assert (len(written), ended) == (100, [])

        deaf = Meeting(site)
        deaf.connection.pause_writing()
        await deaf.say(sized(b""))
        await until(lambda: ended)
        assert deaf.transport.is_aborted

    run(work)


async def swept(meeting: Meeting, condition: Callable[[], object]) -> float:
    """Let the time pass as a listener does; return how much it was."""
    loop = asyncio.get_running_loop()
    began = loop.time()
    while not condition():
        await asyncio.sleep(0.01)
        meeting.lobby.expire(loop.time())
    return loop.time() - began


def test_a_head_that_trickles_is_refused_in_time() -> None:
    async def work() -> None:
        meeting = Meeting()

        def trickle() -> bool:
            if not meeting.transport.sent:
                meeting.connection.data_received(b"a")
            return bool(meeting.transport.sent)

        meeting.connection.data_received(b"GET /")
        assert await swept(meeting, trickle) > 0.1
        assert meeting.transport.sent[0].startswith(b"HTTP/1.1 408 ")
        await until(lambda: meeting.transport.is_aborted)

    run(work)


@pytest.mark.parametrize(
    ("trickles", "limits"),
    [(False, Limits(body_seconds=0.2)), (True, Limits(whole_body_seconds=0.2))],
    ids=["stalled", "trickling"],
)
def test_a_body_that_stalls_or_trickles_is_refused_in_time(trickles: bool, limits: Limits) -> None:
    async def work() -> None:
        meeting = Meeting(limits=limits)
        meeting.connection.data_received(HEAD + b"Content-Length: 1000\r\n\r\n")

        def trickle() -> bool:
            if trickles and not meeting.transport.sent:
                meeting.connection.data_received(b"a")
            return bool(meeting.transport.sent)

        assert await swept(meeting, trickle) > 0.1
        assert meeting.transport.sent[0].startswith(b"HTTP/1.1 408 ")
        assert b"connection: close" in meeting.transport.sent[0]

    run(work)


def test_an_idle_connection_is_closed_and_a_busy_one_is_not() -> None:
    async def work() -> None:
        never = asyncio.Event()

        async def site(request: Request) -> None:
            await never.wait()

        idle, busy = Meeting(), Meeting(site)
        await busy.say(sized(b""))
        await swept(idle, lambda: idle.transport.is_closed)
        busy.lobby.expire(asyncio.get_running_loop().time() + 1_000)
        assert (busy.transport.is_closed, busy.transport.is_aborted) == (False, False)
        assert idle.transport.sent == []
        busy.connection.connection_lost(None)
        never.set()
        await settled()

    run(work)


def test_a_connection_that_was_closed_and_is_not_read_is_cut_off() -> None:
    async def work() -> None:
        meeting = Meeting()
        await meeting.say(sized(b"", b"Connection: close"))
        assert meeting.transport.is_closed
        await swept(meeting, lambda: meeting.transport.is_aborted)

    run(work)


def test_a_connection_too_many_is_told_so_and_makes_room_when_it_leaves() -> None:
    async def work() -> None:
        meeting = Meeting(limits=Limits(connections=1))
        late, much_later = FakeTransport(), FakeTransport()
        turned_away = meeting.connected(late)
        answer = b"".join(late.sent)
        assert answer.startswith(b"HTTP/1.1 503 ")
        assert b"retry-after: 1\r\n" in answer
        assert json.loads(answer.partition(b"\r\n\r\n")[2])["error"]["code"] == -32603
        assert late.is_ended
        for _ in range(256):
            meeting.connected(FakeTransport())
        meeting.connected(much_later)
        assert (much_later.sent, much_later.is_aborted) == ([], True)
        assert (await meeting.say(sized(b"still"))).endswith(b"still")
        turned_away.connection_lost(None)
        assert len(meeting.lobby) == 258

    run(work)


def test_a_drain_refuses_what_comes_and_finishes_what_is_there() -> None:
    async def work() -> None:
        go_on = asyncio.Event()

        async def site(request: Request) -> None:
            await go_on.wait()
            request.reply(Reply(200, b"done", ()))

        busy, idle = Meeting(site), Meeting()
        await busy.say(sized(b""))
        busy.lobby.is_draining = idle.lobby.is_draining = True
        refused = await idle.say(sized(b""))
        assert refused.startswith(b"HTTP/1.1 503 ")
        assert b"retry-after: 1\r\n" in refused
        assert b"connection: close\r\n" in refused
        assert idle.transport.is_closed
        go_on.set()
        await settled()
        finished = b"".join(busy.transport.sent)
        assert finished.startswith(b"HTTP/1.1 200 OK\r\n")
        assert b"connection: close\r\n" in finished
        assert busy.transport.is_closed

    run(work)


def test_whoever_is_dismissed_finishes_its_answer_first() -> None:
    async def work() -> None:
        go_on = asyncio.Event()

        async def site(request: Request) -> None:
            await go_on.wait()
            request.reply(Reply(200, b"done", ()))

        busy, idle = Meeting(site), Meeting()
        await busy.say(sized(b""))
        busy.lobby.dismiss()
        idle.lobby.dismiss()
        assert (busy.transport.is_closed, idle.transport.is_closed) == (False, True)
        go_on.set()
        await settled()
        assert b"".join(busy.transport.sent).endswith(b"done")
        assert busy.transport.is_closed

    run(work)


def test_an_idle_connection_keeps_no_buffers() -> None:
    async def work() -> None:
        meeting: Any = Meeting()
        await meeting.say(sized(b"x" * 900))
        connection, reader = meeting.connection, meeting.connection._reader
        assert [hasattr(each, "__dict__") for each in (connection, reader)] == [False, False]
        assert (connection._current, connection._held, connection._room) == (None, b"", None)
        assert (list(reader.queue), reader.reading, reader._headers, reader._target) == ([], None, [], b"")

    run(work)
