from __future__ import annotations

import pytest

from thv_gateway.messages import events
from thv_gateway.messages.events import Event, EventReader, TooLong, written

STREAM = (
    b"\xef\xbb\xbf: hello\n\n"
    b"id: 1\nevent: message\nretry:5\ndata: one\n\n"
    b"data:two\ndata: lines\r\n\r\n"
    b"id\r\rdata: \r\n\r\n\n"
    b"unknown: x\ndata: last\n\n"
    b"data: unfinished"
)
EVENTS = [
    Event((), b""),
    Event((b"id: 1", b"event: message", b"retry:5"), b"one"),
    Event((), b"two\nlines"),
    Event((b"id",), b""),
    Event((), b""),
    Event((), b"last"),
]


def test_a_stream_is_cut_into_events() -> None:
    assert list(EventReader().feed(STREAM)) == EVENTS


@pytest.mark.parametrize("size", [1, 2, 3, 5, 7])
def test_pieces_make_no_difference(size: int) -> None:
    reader = EventReader()
    found = [event for at in range(0, len(STREAM), size) for event in reader.feed(STREAM[at : at + size])]
    assert found == EVENTS


def test_an_event_is_written_with_its_fields_and_other_data() -> None:
    assert written(Event((b"id: 1", b"retry: 5"), b"one"), b"two") == b"id: 1\r\nretry: 5\r\ndata: two\r\n\r\n"


def test_an_event_that_does_not_end_is_too_long(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(events, "MAX_EVENT", 100)
    reader = EventReader()
    assert list(reader.feed(b"data: x\n\ndata: " + b"x" * 80)) == [Event((), b"x")]
    with pytest.raises(TooLong):
        list(reader.feed(b"x" * 80))


def test_an_event_of_too_many_lines_is_too_long(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(events, "MAX_LINES", 100)
    found = EventReader().feed(b"data: x\n\n" + b"id: 1\n" * 200 + b"\n")
    assert next(found) == Event((), b"x")
    with pytest.raises(TooLong):
        next(found)
