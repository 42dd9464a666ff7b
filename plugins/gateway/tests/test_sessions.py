"""Sessions of the gateway's own: whose they are, how long they live, and how many there may be."""

from __future__ import annotations

import json
import os
import time
from typing import Any

import pytest
from msgspec import structs

from thv_core.model.identity import LOCAL_USER, Identity
from thv_core.model.route import RouteState, Terms
from thv_core.spi import MiddlewareConfig
from thv_gateway.sessions import sessions as module
from thv_gateway.sessions.memory import Recollection, Stay
from thv_gateway.sessions.sessions import Abilities, Session, Sessions
from thv_testkit.fakes import FakeClock
from thv_testkit.gateways import McpClient, free_port
from thv_testkit.waiting import eventually

PING = {"jsonrpc": "2.0", "id": 1, "method": "ping"}
PARAMS = {"protocolVersion": b'"2025-06-18"', "capabilities": b"{}"}


def sessions(clock: FakeClock, known: Recollection | None = None) -> Sessions:
    return Sessions("w", b"k" * 32, os.urandom, lambda: clock.now, known)


def opened(at: Sessions, owner: str = "") -> Session:
    session = at.open("2025-11-25", Abilities.NONE, owner)
    assert session is not None
    return session


# Whose they are


@pytest.mark.parametrize("transport", ["stdio", "streamable-http"])
def test_a_session_is_that_of_the_principal_that_opened_it(
    staged_gateway: Any, start_server: Any, connect: Any, http_server: Any, reach: Any, transport: str
) -> None:
    namer = MiddlewareConfig(type="namer")
    if transport == "stdio":
        client = connect(staged_gateway, start_server(), namer)
    else:
        client = reach(staged_gateway, http_server(), middleware=(namer,))
    status, _, body = client.send("POST", PING, x_user="mallory")
    assert (status, json.loads(body)["error"]["code"]) == (404, -32001)
    assert client.send("DELETE", None, x_user="mallory")[0] == 404
    assert client.send("POST", PING)[0] == 200
    client.session = ""
    status, headers, _ = client.send(
        "POST",
        {"jsonrpc": "2.0", "id": 1, "method": "initialize", "params": {"protocolVersion": "2025-11-25"}},
        x_user="ada",
    )
    assert status == 200
    client.session = headers["mcp-session-id"]
    assert client.send("POST", PING, x_user="ada")[0] == 200
    assert client.send("POST", PING)[0] == 404
    assert client.send("POST", PING, x_user="mallory")[0] == 404


def test_an_owner_is_told_by_a_digest_that_says_nothing_of_it(clock: FakeClock) -> None:
    some = sessions(clock)
    ada, eve = Identity(subject="ada", issuer="x"), Identity(subject="eve", issuer="x")
    assert some.owner_of(None) == some.owner_of(LOCAL_USER) == ""
    assert some.owner_of(ada) == some.owner_of(Identity(subject="ada", issuer="x"))
    assert len({some.owner_of(each) for each in (ada, eve, Identity(subject="ada", issuer="y"))}) == 3
    assert "ada" not in some.owner_of(ada)
    found = sessions(clock).find(opened(some, some.owner_of(ada)).id)
    assert found is not None
    assert found.owner == some.owner_of(ada)


def test_a_session_of_a_server_is_open_to_its_visitor_alone(clock: FakeClock) -> None:
    known = Recollection()
    some = sessions(clock, known)
    known.admit("theirs", PARAMS, "w.1", Stay("theirs"), "ada")
    assert some.visit("theirs", "ada")
    assert not some.visit("theirs", "eve")
    assert not some.visit("theirs", "")
    # Of what nobody remembers the server is the judge, as long as there is but one principal.
    assert some.visit("unknown", "")
    assert not some.visit("unknown", "eve")


# How long they live


def test_a_session_ends_when_it_is_idle_for_too_long(clock: FakeClock) -> None:
    some = sessions(clock)
    some.ttl = 100
    session = opened(some)
    for _ in range(5):
        clock.advance(90)
        assert some.find(session.id) is session
    clock.advance(101)
    assert some.find(session.id) is None
    assert some.find(session.id) is None


def test_a_session_at_work_is_not_idle(clock: FakeClock) -> None:
    some = sessions(clock)
    some.ttl = 100
    session = opened(some)
    session.calls = 1
    clock.advance(1000)
    assert some.find(session.id) is session


def test_the_next_gateway_knows_when_a_session_was_last_in_use(clock: FakeClock) -> None:
    known = Recollection()
    some = sessions(clock, known)
    written: list[float] = []
    some.ttl, some.on_use = 100, lambda: written.append(clock.now)
    used, idle = opened(some), opened(some)
    for _ in range(20):
        clock.advance(9)
        some.find(used.id)
    assert len(written) == 20
    later = sessions(clock, known)
    later.ttl = 100
    assert later.find(used.id) is not None
    assert later.find(idle.id) is None


def test_uses_are_written_down_seldom(clock: FakeClock) -> None:
    some = sessions(clock)
    written: list[float] = []
    some.on_use = lambda: written.append(clock.now)
    session = opened(some)
    for _ in range(1000):
        clock.advance(1)
        some.find(session.id)
    assert len(written) == 2


def test_a_visitor_that_is_idle_for_too_long_is_forgotten(clock: FakeClock) -> None:
    known = Recollection()
    some = sessions(clock, known)
    some.ttl = 100
    known.admit("theirs", PARAMS, "w.1", Stay("theirs"))
    assert some.visit("theirs", "")
    clock.advance(101)
    assert not some.visit("theirs", "")
    assert known.visitors == {}


def test_an_idle_session_is_answered_404(gateway: Any, start_server: Any) -> None:
    client = McpClient(free_port())
    gateway.start()
    gateway.serve(structs.replace(start_server().route(client.port), terms=Terms(session_ttl=0.3)))
    gateway.until(RouteState.READY, "echo.1")
    client.initialize()
    assert client.send("POST", PING)[0] == 200
    ends = time.monotonic() + 0.6
    eventually(lambda: time.monotonic() > ends)
    status, _, body = client.send("POST", PING)
    assert (status, json.loads(body)["error"]["code"]) == (404, -32001)
    client.close()


# How many there may be


def test_too_many_sessions_at_work_are_refused_and_idle_ones_make_room(
    clock: FakeClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "MAX_LIVE", 2)
    some = sessions(clock)
    first, second = opened(some), opened(some)
    first.calls = second.calls = 1
    assert some.full
    assert some.open("v", Abilities.NONE) is None
    second.calls = 0
    assert not some.full
    assert some.open("v", Abilities.NONE) is not None
    assert some.live(second.id) is None


def test_the_one_that_is_idle_for_longest_goes_first(clock: FakeClock, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "MAX_LIVE", 2)
    some = sessions(clock)
    first, second = opened(some), opened(some)
    clock.advance(3000)
    some.find(first.id)
    opened(some)
    assert some.live(first.id) is first
    assert some.live(second.id) is None
