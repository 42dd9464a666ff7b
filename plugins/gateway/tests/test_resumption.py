"""Streams that break: what they said and go on to say is there for the client that comes back."""

from __future__ import annotations

import http.client
import json
from collections.abc import Callable, Iterator
from typing import Any, cast

import pytest

from thv_gateway.sessions import tapes as tapes_module
from thv_gateway.sessions.tapes import Tapes
from thv_testkit.gateways import McpClient

ACCEPT = {"accept": "application/json, text/event-stream", "content-type": "application/json"}
SLEEP = {
    "jsonrpc": "2.0",
    "id": "mine",
    "method": "tools/call",
    "params": {"name": "sleep", "arguments": {"seconds": 0.6, "steps": 3}, "_meta": {"progressToken": 1}},
}


class Events:
    """An answer, event by event."""

    def __init__(self, client: McpClient, method: str, body: Any = None, **fields: str) -> None:
        self.connection = http.client.HTTPConnection("127.0.0.1", client.port, timeout=20)
        headers = ACCEPT | {"mcp-session-id": client.session}
        headers |= {name.replace("_", "-"): value for name, value in fields.items()}
        self.connection.request(method, "/mcp", json.dumps(body).encode() if body else None, headers)
        self.response = self.connection.getresponse()

    def next(self) -> tuple[str, Any]:
        """Return the id of the next event, and its message, ``None`` when it has none."""
        identifier = ""
        for line in self.response:
            name, _, value = line.decode().strip().partition(": ")
            identifier = value if name == "id" else identifier
            if name in ("data", "data:"):
                return identifier, json.loads(value) if value else None
        raise EOFError

    def rest(self) -> list[tuple[str, Any]]:
        """Return every event up to the end."""
        found = []
        try:
            while True:
                found.append(self.next())
        except (EOFError, http.client.IncompleteRead):
            return found

    def close(self) -> None:
        """Hang up."""
        self.response.close()
        self.connection.close()


Listen = Callable[..., Events]


@pytest.fixture
def listen() -> Iterator[Listen]:
    """Open answers that are read event by event."""
    opened: list[Events] = []

    def open_answer(client: McpClient, method: str = "GET", body: Any = None, **fields: str) -> Events:
        opened.append(Events(client, method, body, **fields))
        return opened[-1]

    yield open_answer
    for each in opened:
        each.close()


@pytest.fixture
def client(gateway: Any, start_server: Any, connect: Any) -> McpClient:
    return connect(gateway, start_server())


def test_a_call_whose_connection_broke_is_resumed_and_nothing_is_lost(client: McpClient, listen: Listen) -> None:
    first = listen(client, "POST", SLEEP)
    assert first.next()[1] is None
    identifier, message = first.next()
    assert message["params"]["progress"] == 1
    first.close()
    again = listen(client, last_event_id=identifier)
    messages = [message for _, message in again.rest()]
    assert [each["params"]["progress"] for each in messages[:-1]] == [2, 3]
    assert messages[-1]["id"] == "mine"
    assert "result" in messages[-1]
    # As often as the client asks.
    assert len(listen(client, last_event_id=identifier).rest()) == 3


def test_a_stream_is_read_by_whoever_came_last(client: McpClient, listen: Listen) -> None:
    first = listen(client, "POST", SLEEP)
    prime, _ = first.next()
    second = listen(client, last_event_id=prime)
    assert [message["method"] for _, message in second.rest()[:-1]] == ["notifications/progress"] * 3
    assert len(first.rest()) <= 1


def test_ids_are_those_of_one_session(client: McpClient, another: Any, listen: Listen) -> None:
    other = another(client)
    identifier, _ = listen(client, "POST", SLEEP).next()
    # It learns nothing of a stream that is not its own, not even that there is one.
    stolen, unknown = (listen(other, last_event_id=each).rest() for each in (identifier, f"0{identifier}"))
    assert stolen == unknown
    assert "id" not in stolen[0][1]


@pytest.mark.parametrize(
    ("version", "primed", "numbered"),
    [
        ("2025-11-25", True, True),
        ("2025-06-18", False, True),
        ("2025-03-26", False, True),
        ("2024-11-05", False, False),
    ],
)
def test_each_revision_gets_the_ids_that_it_knows(
    client: McpClient, listen: Listen, version: str, *, primed: bool, numbered: bool
) -> None:
    older = McpClient(client.port)
    older.initialize(version)
    events = listen(older, "POST", SLEEP).rest()
    assert (events[0][1] is None) is primed
    assert all(bool(identifier) is numbered for identifier, _ in events)
    assert len({identifier for identifier, _ in events}) == (len(events) if numbered else 1)
    older.close()


def test_a_sessions_own_stream_goes_on_where_it_broke(
    gateway: Any, start_server: Any, connect: Any, listen: Listen
) -> None:
    client = connect(gateway, start_server("scripted_server.py", {}))
    own = listen(client)
    identifier, _ = own.next()
    own.close()
    client.tool("x", emit=['{"jsonrpc":"2.0","method":"notifications/tools/list_changed"}'])
    again = listen(client, last_event_id=identifier)
    assert again.next()[1]["method"] == "notifications/tools/list_changed"
    client.tool("x", emit=['{"jsonrpc":"2.0","method":"notifications/prompts/list_changed"}'])
    assert again.next()[1]["method"] == "notifications/prompts/list_changed"


# Tapes


class Owner:
    tapes: Any = None


def test_a_client_learns_that_a_gap_is_in_what_it_resumes(
    gateway: Any, start_server: Any, connect: Any, listen: Listen
) -> None:
    client = connect(gateway, start_server("scripted_server.py", {}))
    note = '{"jsonrpc":"2.0","method":"notifications/message","params":{"level":"info","data":1}}'
    emit = [note] * (tapes_module.MAX_EVENTS + 2)
    body = {"jsonrpc": "2.0", "id": 7, "method": "tools/call", "params": {"name": "x", "arguments": {"emit": emit}}}
    calling = listen(client, "POST", body)
    identifier, _ = calling.next()
    events = calling.rest()
    assert events[-1][1]["id"] == 7
    resumed = listen(client, last_event_id=identifier).rest()
    assert (resumed[0][0], "dropped" in resumed[0][1]["error"]["message"]) == ("", True)
    assert "id" not in resumed[0][1]
    assert resumed[1:] == events[-tapes_module.MAX_EVENTS :]
    assert all("error" not in message for _, message in listen(client, last_event_id=events[5][0]).rest()[1:])
    assert listen(client, last_event_id=events[-3][0]).rest() == events[-2:]


def test_a_client_learns_that_nothing_is_kept_of_a_call(client: McpClient, listen: Listen) -> None:
    identifier, _ = listen(client, "POST", SLEEP).next()
    (lost,) = listen(client, last_event_id=f"0{identifier}").rest()
    assert "send the request again" in lost[1]["error"]["message"]


def test_an_erased_tape_keeps_nothing_more_and_costs_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tapes_module, "MAX_TAPES", 1)
    tapes, owner = Tapes(), Owner()
    first = tapes.begin(owner)
    first.record(b"x" * 50)
    assert not first.has_lost(0)
    second = tapes.begin(owner)
    for _ in range(100):
        assert first.record(b"x" * 50).startswith(b"id: ")
    assert first.has_lost(0)
    assert not second.has_lost(0)
    assert (first.after(0), cast("Any", tapes)._size) == ([], 0)


def test_a_tape_keeps_the_last_events(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tapes_module, "MAX_EVENTS", 3)
    tape = Tapes().begin(Owner())
    for each in range(5):
        tape.record(b"data: %d\r\n\r\n" % each)
    assert [number for number, _ in tape.after(0)] == [3, 4, 5]
    assert tape.after(4)[0][1].endswith(b".5\r\ndata: 4\r\n\r\n")
    assert tape.after(5) == []


def test_tapes_are_bounded_in_bytes_and_in_number(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tapes_module, "MAX_SIZE", 100)
    monkeypatch.setattr(tapes_module, "MAX_KEPT", 250)
    monkeypatch.setattr(tapes_module, "MAX_TAPES", 2)
    tapes, one, two = Tapes(), Owner(), Owner()
    first = tapes.begin(one)
    for _ in range(10):
        first.record(b"x" * 50)
    assert len(first.after(0)) == 1
    others = [tapes.begin(two) for _ in range(3)]
    assert tapes.find(two, others[0].name + b".1") is None
    for each in others[1:]:
        each.record(b"x" * 90)
    assert tapes.find(one, first.name + b".1") is None or first.after(0) == []
    tapes.forget(two)
    assert len(tapes) <= 1


@pytest.mark.parametrize("event", [b"", b"x", b"x.1", b".", b"NAME.", b"NAME.x", b"NAME." + b"9" * 40, b"NAME.-1"])
def test_what_is_no_id_of_an_event_is_found_nowhere(event: bytes) -> None:
    tapes, owner = Tapes(), Owner()
    tape = tapes.begin(owner)
    assert tapes.find(owner, tape.name + b".7") == (tape, 7)
    assert tapes.find(owner, event.replace(b"NAME", tape.name)) is None
    assert tapes.find(Owner(), tape.name + b".7") is None
