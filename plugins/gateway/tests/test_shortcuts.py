"""What is not parsed again, and what is answered without a task: it has to come to the same."""

from __future__ import annotations

import pytest

from thv_gateway.messages.answers import PARSE_ERROR
from thv_gateway.relays.swift import only_answer
from thv_gateway.web.limits import LIMITS
from thv_gateway.web.reading import Reader
from thv_gateway.web.request import Request

HEAD = b"POST /mcp HTTP/1.1\r\nhost: x\r\ncontent-length: 2\r\n\r\n"
ANSWER = b'{"jsonrpc":"2.0","id":1,"result":{}}'


class Line:
    """A connection that nobody reads."""

    limits = LIMITS
    client = ""
    is_lost = secure = is_closing = False

    def send(self, *parts: bytes) -> None:
        """Drop it."""

    async def drained(self) -> None:
        """Do not wait."""

    async def news(self) -> None:
        """Do not wait."""

    def pause(self) -> None:
        """Do nothing."""

    def resume(self) -> None:
        """Do nothing."""


def read(*pieces: bytes) -> list[Request]:
    reader = Reader(Line(), lambda: 0.0)
    for piece in pieces:
        reader.feed(piece)
    return list(reader.queue)


def test_the_same_head_again_is_the_same_object_with_another_body() -> None:
    first, second, third = read(HEAD + b"ab", HEAD + b"cd", HEAD + b"ef")
    assert first.heading is second.heading is third.heading
    assert [each.whole() for each in (first, second, third)] == [b"ab", b"cd", b"ef"]


@pytest.mark.parametrize("other", [HEAD.replace(b"mcp", b"sse"), HEAD.replace(b": 2", b": 3") + b"x"])
def test_another_head_is_parsed(other: bytes) -> None:
    first, second = read(HEAD + b"ab", other + b"cd")
    assert first.heading is not second.heading
    assert second.is_complete


def test_what_follows_the_beginning_of_another_request_belongs_to_that() -> None:
    """The second piece looks like a request of its own, and is the body of the one that has begun."""
    size = len(HEAD) + 2
    begun = b"POST /a HTTP/1.1\r\nhost: x\r\ncontent-length: %d\r\n\r\n" % size
    requests = read(HEAD + b"ab", begun, HEAD + b"cd", HEAD + b"ef")
    assert [each.target.path for each in requests] == ["/mcp", "/a", "/mcp"]
    assert requests[1].whole() == HEAD + b"cd"


def test_a_part_of_a_head_behind_a_request_is_not_forgotten() -> None:
    requests = read(HEAD + b"ab", HEAD + b"cdPOST /other HT", HEAD + b"ef")
    assert requests[-1].refusal is not None
    assert b"%d" % PARSE_ERROR in requests[-1].refusal.body


def test_what_was_read_in_pieces_is_followed_by_what_is_known() -> None:
    requests = read(HEAD + b"ab", HEAD, b"cd", HEAD + b"ef")
    assert [each.whole() for each in requests] == [b"ab", b"cd", b"ef"]
    assert requests[0].heading is requests[2].heading


@pytest.mark.parametrize("end", [b"\n", b"\r\n"])
def test_the_only_event_of_a_stream_is_found(end: bytes) -> None:
    assert only_answer(b"data: " + ANSWER + end * 2) == ANSWER
    assert only_answer(b"event: message" + end + b"data: " + ANSWER + end * 2) == ANSWER


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"data: " + ANSWER,
        b"data: " + ANSWER + b"\n",
        b"id: 1\ndata: " + ANSWER + b"\n\n",
        b"event: other\ndata: " + ANSWER + b"\n\n",
        b"data: 1\ndata: 2\n\n",
        b"data: 1\n\ndata: 2\n\n",
        b": comment\n\n",
        b"data: " + ANSWER + b"\r\r",
    ],
)
def test_whatever_else_is_in_a_stream_is_left_to_those_who_relay_it(body: bytes) -> None:
    assert only_answer(body) is None
